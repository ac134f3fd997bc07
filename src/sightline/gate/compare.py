"""The gate on prediction files: for models that were not made by Sightline, of any task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sightline.errors import UsageError
from sightline.evaluate.slices import near_matches
from sightline.evaluate.verdict import KIND, Check, Task, Verdict, write_verdict
from sightline.gate.compare_classes import read_classes, require_images
from sightline.gate.conclude import Findings, Subject, Terms, conclude, spend, valid_overrides
from sightline.gate.report import Page, render
from sightline.gate.words import summary
from sightline.registry.golden import NO_CHAMPION
from sightline.store.artifact import commit_artifact
from sightline.store.digest import sha256_file, sha256_value

if TYPE_CHECKING:
    from collections.abc import Collection

    from sightline.config.gate import GateConfig
    from sightline.gate.drawings import ReliabilityCurve
    from sightline.gate.gallery import Gallery
    from sightline.store.steps import Progress


@dataclass(frozen=True)
class Files:
    """What is compared.

    Attributes:
        current: predictions of the model in production; None: there is none yet.
        new: predictions of the candidate, in the same format.
        truth: the golden set's truth: a table (classification), a COCO file (detection) or a folder of masks (segmentation).
        attributes: a table with slice attributes and groups of the images; None: what the truth has.
        images: the folder of the images, for pictures and image properties; None: without.
        classes: class names in the order of the mask values; for segmentation only.
    """

    current: Path | None
    new: Path
    truth: Path
    attributes: Path | None = None
    images: Path | None = None
    classes: tuple[str, ...] = ()

    @property
    def task(self) -> Task:
        """What the models do, by the truth's format.

        Raises:
            UsageError: it is none of them.
        """
        if self.truth.is_dir():
            return "segmentation"
        tasks: dict[str, Task] = {".json": "detection", ".csv": "classification", ".parquet": "classification"}
        if self.truth.suffix not in tasks or not self.truth.exists():
            raise UsageError(
                f"--truth: {self.truth} is neither a table, a COCO file nor a folder of masks",
                remedy="give a .csv or .parquet table with image and label, a COCO .json, or a folder of PNG masks",
            )
        return tasks[self.truth.suffix]


class Material(Protocol):
    """What is known of two models after their predictions were read; each task has its own."""

    @property
    def task(self) -> Task:
        """What the models do."""
        ...

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the golden images."""
        ...

    @property
    def slices(self) -> Collection[str]:
        """Names of the slices."""
        ...

    def metric(self, policy: GateConfig) -> str:
        """The name of the metric that decides; UsageError for one of another task."""
        ...

    def checks(self, policy: GateConfig, alpha: float) -> Sequence[Check]:
        """Every check of the policy."""
        ...

    def findings(self, policy: GateConfig, checks: Sequence[Check]) -> Findings:
        """Flips, must-pass cases and kinds of errors."""
        ...

    def galleries(self, checks: Sequence[Check]) -> Sequence[Gallery]:
        """Pictures of what changed; none without images."""
        ...

    def curves(self) -> Sequence[ReliabilityCurve]:
        """Reliability curves, where there are confidences."""
        ...

    def write(self, folder: Path, checks: Sequence[Check]) -> None:
        """Writes the rows behind the verdict."""
        ...


def compare(files: Files, policy: GateConfig, *, output: Path, registry: str, progress: Progress) -> Verdict:
    """The signed verdict on ``files.new``, committed to ``output`` with its page, summary and rows.

    Args:
        files: what is compared.
        policy: the gate section.
        output: a folder that is not there yet.
        registry: where looks and overrides are kept; empty: nothing is remembered and this counts as the first look.
        progress: told what is going on.

    Raises:
        UsageError: a file is missing, or the policy does not fit the task or names an unknown slice.
        DataError: predictions that are damaged, incomplete, double, or for other images.
    """
    if output.exists():
        raise UsageError(f"{output} is there already", remedy="a verdict is never overwritten: give another --output")
    _require_present(files)
    progress("reading predictions")
    material = _read(files, policy)
    # A policy that cannot be applied must not cost a look.
    _require_known(policy, material.slices)
    require_images(policy.sentinels, material.images)
    subject = _subject(files, material, policy)
    terms = Terms(policy, spend(subject, policy, registry), valid_overrides(subject, registry))
    progress(f"deciding on {len(subject.images)} golden images")
    checks = material.checks(policy, terms.budget.alpha)
    verdict = conclude(subject, checks, material.findings(policy, checks), terms)

    written: list[Verdict] = []

    def write(folder: Path) -> dict[str, object]:
        signed = write_verdict(folder, verdict)
        written.append(signed)
        material.write(folder, signed.checks)
        progress("drawing the page")
        page = Page(verdict=signed, galleries=material.galleries(signed.checks), reliability=material.curves())
        (folder / "report.html").write_text(render(page), encoding="utf-8")
        (folder / "summary.md").write_text(summary(signed), encoding="utf-8")
        return {"config": {**policy.model_dump(mode="json"), "stage": subject.stage}}

    commit_artifact(output, KIND, write)
    return written[0]


def _read(files: Files, policy: GateConfig) -> Material:
    if files.task == "classification":
        return read_classes(files, policy)
    if files.task == "detection":
        from sightline.gate.compare_boxes import read_boxes

        return read_boxes(files, policy)
    from sightline.gate.compare_masks import read_masks

    return read_masks(files, policy)


def _require_present(files: Files) -> None:
    given = {"CURRENT": files.current, "NEW": files.new, "--truth": files.truth, "--attributes": files.attributes, "--images": files.images}
    missing = [f"{name}: there is no {path}" for name, path in given.items() if path is not None and not path.exists()]
    if missing:
        raise UsageError("; ".join(missing), remedy="check the paths")


def _require_known(policy: GateConfig, slices: Collection[str]) -> None:
    unknown = [name for name in policy.critical_slices if name not in slices]
    if unknown:
        close = "; ".join(f"'{name}' (did you mean {', '.join(near_matches(name, slices)) or 'another one'}?)" for name in unknown)
        raise UsageError(f"gate.critical_slices names slices that the data does not have: {close}", remedy="use attribute=value")


def _subject(files: Files, material: Material, policy: GateConfig) -> Subject:
    return Subject(
        task=material.task,
        metric=material.metric(policy),
        stage="predictions",
        candidate=_digest(files.new),
        variant=files.new.name,
        champion=_digest(files.current) if files.current else NO_CHAMPION,
        generation=0,
        golden_digest=sha256_value([_digest(files.truth), _digest(files.attributes) if files.attributes else "", list(files.classes)]),
        images=material.images,
    )


def _digest(path: Path) -> str:
    if path.is_file():
        return sha256_file(path)
    inside = sorted(child for child in path.rglob("*") if child.is_file())
    return sha256_value({child.relative_to(path).as_posix(): sha256_file(child) for child in inside})
