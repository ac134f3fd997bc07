"""`sightline demo`: the whole loop on generated images."""

import difflib
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from sightline.cli.display import Display
from sightline.cli.launch import absolute, new_run_id, point_latest, run_pipeline
from sightline.cli.run import close
from sightline.config.gate import GateConfig
from sightline.config.ingest import IngestConfig
from sightline.config.run import RunConfig
from sightline.config.store import StoreConfig
from sightline.config.train import TrainConfig
from sightline.errors import UsageError
from sightline.report.pack import write_pack
from sightline.store.records import StepRecord

Scenario = Literal["ok", "bad-model", "bad-canary"]
Fault = Literal["errors", "slow", "preprocessing"]

_BASE_LOTS = range(120)
_NEW_LOTS = range(500, 540)
_SERVED_LOTS = range(900, 930)
_SEED = 7
_MISLABELLED = "brass"


def demo(scenario: str, *, workspace: Path, as_json: bool) -> int:
    """Runs the scenario; the exit code says how it ended (0 promoted, 3 rejected, 5 rolled back)."""
    if scenario not in get_args(Scenario):
        near = difflib.get_close_matches(scenario, get_args(Scenario), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"--scenario {scenario} is not known{hint}", remedy=f"choose one of {', '.join(get_args(Scenario))}")
    round_ = _Demo(workspace.resolve(), Display(sys.stderr if as_json else sys.stdout))
    {"ok": _ok, "bad-model": _bad_model, "bad-canary": _bad_canary}[scenario](round_)
    return round_.finish(as_json=as_json)


def _ok(demo: "_Demo") -> None:
    demo.retrain("first", "First model", demo.images("base", _BASE_LOTS, flaws=True))
    demo.serve_and_monitor()
    demo.retrain("retrain", "Retraining with images under the aged lamp", demo.grown("grown", _NEW_LOTS, lamp_age=1.0))


def _bad_model(demo: "_Demo") -> None:
    demo.retrain("first", "First model", demo.images("base", _BASE_LOTS, flaws=True))
    demo.retrain(
        "retrain",
        f"Retraining with new lots whose {_MISLABELLED} parts were labelled wrongly",
        demo.grown("mislabelled", _mislabelled_lots(), mislabel=True),
    )


def _bad_canary(demo: "_Demo") -> None:
    demo.retrain("first", "First model", demo.images("base", _BASE_LOTS, flaws=True))
    source = demo.grown("grown", _NEW_LOTS, lamp_age=1.0)
    for fault in get_args(Fault):
        demo.retrain(f"canary-{fault}", f"A model that passes the gate, then misbehaves in production: {fault}", source, fault=fault)


@dataclass
class _Demo:
    """One demo: its own registry, a shared cache of finished steps."""

    workspace: Path
    display: Display
    started: float = field(default_factory=time.monotonic)
    run_ids: list[str] = field(default_factory=list)
    records: list[StepRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = self.workspace / f"demo-{new_run_id()}"
        places = {"cache": "store", "registry": f"{self.folder.name}/registry", "runs": self.folder.name, "tracking": "sqlite:///mlflow.db"}
        self.store = absolute(StoreConfig(**places), self.workspace)

    def images(self, name: str, lots: Sequence[int], *, lamp_age: float = 0.0, flaws: bool = False) -> Path:
        """The folder of generated images, made when it is not there."""
        from sightline.data.synthetic import generate

        folder = self.workspace / "images" / name
        with self._timed(f"images/{name}") as say:
            count = generate(folder, lots=lots, lamp_age=lamp_age, seed=_SEED, flaws=flaws)
            say.append(f"{_made(count)} in {len(lots)} lots" + (", some damaged or double on purpose" if flaws else ""))
        return folder

    def grown(self, name: str, lots: Sequence[int], *, lamp_age: float = 0.0, mislabel: bool = False) -> Path:
        """The base images, linked, and new lots beside them."""
        from sightline.data.synthetic import Mislabel, generate

        folder = self.workspace / "images" / name
        with self._timed(f"images/{name}") as say:
            _link_tree(self.workspace / "images" / "base", folder)
            wrong = Mislabel(material=_MISLABELLED, lots=frozenset(self._trained_on(lots))) if mislabel else None
            count = generate(folder, lots=lots, lamp_age=lamp_age, seed=_SEED, mislabel=wrong)
            say.append(f"{_made(count)} in {len(lots)} new lots beside the {len(_BASE_LOTS)} old ones")
        return folder

    def retrain(self, run_id: str, title: str, source: Path, *, fault: str = "none") -> None:
        """Runs the retrain pipeline on a folder of images; after the first time with the parameters that were found then."""
        config = demo_config(source, fault=fault)
        if (found := self._tuned()) is not None:
            config = config.model_copy(update={"train": found, "tune": config.tune.model_copy(update={"enabled": False})})
        self.display.heading(title)
        sections = ("ingest", "tune", "train", "gate", "compile", "deploy")
        self._run("retrain", run_id, {section: getattr(config, section).model_dump(mode="json", exclude_none=True) for section in sections})

    def serve_and_monitor(self) -> None:
        """Serves the champion images under an ageing lamp, then looks for drift."""
        from sightline.deploy.targets.local import serve_bundle
        from sightline.deploy.traffic import replay
        from sightline.registry.ledger import Ledger

        self.display.heading("Production: the lamp ages")
        files = sorted(self.images("served", _SERVED_LOTS, lamp_age=1.0).glob("*/*.jpg"))
        champion = Ledger(self.store.registry).champion()
        if champion is None:
            return
        log = self.folder / "served"
        with self._timed("serve") as say, serve_bundle(champion.folder, track="stable", log_dir=log) as url:
            report = replay(url, demo_config(self.folder).deploy.model, files, num_requests=len(files), num_clients=4)
            say.append(f"{report.requests - report.errors} images answered over HTTP, {report.errors} errors · p95 {report.p95_ms:.1f} ms")
        monitor = demo_config(self.folder).monitor.model_dump(mode="json")
        self._run("monitor", "monitor", {"monitor": monitor, "served": str(log)})

    def finish(self, *, as_json: bool) -> int:
        """Writes the report of all runs and says how it ended."""
        summary = write_pack(self.folder, store=self.store, run_ids=self.run_ids, title="Demo: a surface-inspection model")
        point_latest(self.folder)
        latest = self.workspace / "latest"
        close(summary, self.records, latest, log=latest / self.run_ids[-1] / "log.txt", display=self.display, as_json=as_json)
        self.display.text(f"  tracking {Path(sys.executable).parent / 'mlflow'} ui --backend-store-uri {self.store.tracking}\n")
        self.display.text(f"  {time.monotonic() - self.started:.0f} s in all\n")
        return summary.exit_code

    def _tuned(self) -> TrainConfig | None:
        folder = next((record.folder for record in self.records if record.name == "tune" and record.status == "done"), None)
        return TrainConfig.model_validate_json((Path(folder) / "best.json").read_bytes()) if folder else None

    def _run(self, pipeline: str, run_id: str, arguments: dict[str, object]) -> None:
        if any(record.status == "failed" for record in self.records):
            return
        self.run_ids.append(run_id)
        self.records += run_pipeline(pipeline, arguments, store=self.store, run_id=run_id, display=self.display)

    @contextmanager
    def _timed(self, name: str) -> Iterator[list[str]]:
        began = time.monotonic()
        said: list[str] = []
        yield said
        self.display.line(name, " ".join(said), time.monotonic() - began)

    def _trained_on(self, lots: Sequence[int]) -> list[int]:
        # The golden labels stay right, as an audited golden set's would: only lots outside it are mislabelled.
        from sightline.data.splits import split_of
        from sightline.data.synthetic import lot_name

        config = demo_config(self.folder).ingest
        return [lot for lot in lots if split_of(lot_name(lot), config) != "golden"]


def demo_config(source: Path, *, fault: str = "none") -> RunConfig:
    """The demo's configuration: small margins are not provable with 800 golden images, so it states what is.

    A lot is kept in one split so that nothing leaks; but its parts are made one by one, and what its parts share (material, lighting, …)
    is a slice of its own. So each image counts for itself, see docs/decisions/0005.
    """
    ingest = IngestConfig(source=str(source), group_by=("lot",), slices=("material", "lighting", "camera", "lamp", "blur", "exposure"))
    gate = GateConfig(margin=0.03, critical_slices=("material=steel",), critical_margin=0.08, cluster="image")
    config = RunConfig(ingest=ingest, gate=gate)
    return config.model_copy(update={"deploy": config.deploy.model_copy(update={"fault": fault})})


def _made(count: int) -> str:
    return f"{count} JPEG files made" if count else "JPEG files were there"


def _mislabelled_lots() -> list[int]:
    from sightline.data.synthetic import material_of

    return [lot for lot in range(_NEW_LOTS.start, _NEW_LOTS.start + 10 * len(_NEW_LOTS)) if material_of(lot) == _MISLABELLED][
        : len(_NEW_LOTS)
    ]


def _link_tree(source: Path, target: Path) -> None:
    # Hard links: the same bytes twice would cost time and space. The table of attributes grows, so it is a copy.
    if target.exists():
        return
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copytree(source, aside, copy_function=lambda a, b: shutil.copy2(a, b) if a.endswith(".csv") else os.link(a, b))
    aside.rename(target)
