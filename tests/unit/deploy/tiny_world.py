"""Everything that the deploy step reads, small and real: a dataset artifact, bundles, signed verdicts, a ledger."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sightline.config.store import StoreConfig
from sightline.data.version import KIND, DatasetInfo
from sightline.evaluate.verdict import Check, Verdict, write_verdict
from sightline.models.bundle import ModelBundle
from sightline.registry.ledger import Ledger
from sightline.store.artifact import commit_artifact
from sightline.store.digest import sha256_bytes
from tests.unit.serve.tiny_bundle import CLASSES, SIZE_PX, write_bundle, write_pictures


@dataclass
class World:
    root: Path
    store: StoreConfig
    dataset: Path
    golden: list[Path]
    pictures: list[Path]

    def bundle(self, name: str, *, scale: float = 20.0) -> ModelBundle:
        return write_bundle(self.root / name, golden=self.golden, scale=scale)

    def champion(self, name: str = "champion", *, scale: float = 18.0) -> ModelBundle:
        bundle = self.bundle(name, scale=scale)
        Ledger(self.store.registry).promote(bundle, expected_generation=0, run_id="run-0", verdict_digest="d" * 64)
        return bundle

    def verdict(self, bundle: ModelBundle, *, outcome: str = "pass", stage: str = "compiled", candidate: str = "") -> Path:
        champion = Ledger(self.store.registry).champion()
        check = Check(name="overall", kind="overall", required=True, outcome=outcome, num_images=6)
        verdict = Verdict(
            stage=stage,
            outcome=outcome,
            candidate=candidate or bundle.digest,
            variant=bundle.info.chosen,
            champion=champion.digest if champion else "none",
            champion_generation=champion.generation if champion else 0,
            golden_digest="golden-1",
            num_images=6,
            looks=1,
            checks=(check,),
            reason="because",
        )
        target = self.root / f"verdict-{bundle.digest[:8]}-{outcome}-{stage}-{candidate[:4]}-{verdict.champion_generation}"

        def write(folder: Path) -> dict[str, object]:
            write_verdict(folder, verdict)
            return {}

        return commit_artifact(target, "verdict", write).folder


def make_world(root: Path) -> World:
    pictures = write_pictures(root / "pictures", 36)
    golden = write_pictures(root / "golden", 9)
    store = StoreConfig(
        cache=str(root / "store"), registry=str(root / "registry"), runs=str(root / "runs"), tracking=f"sqlite:///{root}/mlflow.db"
    )
    return World(root, store, _dataset(root / "dataset", pictures), golden, pictures)


def _dataset(folder: Path, pictures: list[Path]) -> Path:
    info = DatasetInfo(
        task="classification",
        classes=CLASSES,
        attributes=(),
        counts={"train": 18, "val": 18},
        class_counts={},
        digests={"train": "t", "val": "v", "golden": "golden-1"},
        quarantined={},
        num_groups=len(pictures),
        image_size_px=SIZE_PX,
        source="pictures",
    )

    def write(target: Path) -> dict[str, object]:
        (target / "dataset.json").write_text(info.model_dump_json())
        table = {
            "sample_id": [sha256_bytes(path.read_bytes()) for path in pictures],
            "location": [str(path) for path in pictures],
            "split": ["val" if index % 2 else "train" for index in range(len(pictures))],
        }
        pq.write_table(pa.table(table), target / "samples.parquet")
        return {}

    return commit_artifact(folder, KIND, write).folder
