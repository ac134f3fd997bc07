"""`sightline gate run`: the gate between two models, outside the pipeline."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.cli.display import Display, emit
from sightline.cli.launch import new_run_id
from sightline.errors import UsageError

if TYPE_CHECKING:
    from sightline.config.gate import GateConfig
    from sightline.evaluate.verdict import Verdict
    from sightline.store.steps import Progress

NONE, CHAMPION = "none", "champion"
REJECTED = 3


@dataclass(frozen=True)
class Request:
    """The command's arguments: two bundles and ``dataset``, or two prediction files and ``truth``."""

    current: str
    new: Path
    dataset: Path | None = None
    truth: Path | None = None
    attributes: Path | None = None
    images: Path | None = None
    classes: tuple[str, ...] = ()
    endpoint: str = ""
    output: Path | None = None
    registry: str = ""


def run_command(request: Request, policy: GateConfig, *, as_json: bool) -> int:
    """Judges and prints where the page is; 0 when the new model may ship, 3 when not.

    Raises:
        UsageError: arguments that do not belong together, or a policy that does not fit the data.
        DataError: inputs that are damaged, incomplete or for other images.
    """
    if (request.dataset is None) == (request.truth is None):
        raise UsageError(
            "give either --dataset or --truth",
            remedy="--dataset with two model bundles, --truth with two files (or folders) of predictions",
        )
    output = request.output or Path("runs") / f"gate-{new_run_id()}"
    display = Display(sys.stderr if as_json else sys.stdout)

    def progress(text: str) -> None:
        display.text(f"  … {text}\n")

    judge = _judge_bundles if request.dataset is not None else _judge_files
    verdict = judge(request, policy, output, progress)
    if as_json:
        emit(verdict.model_dump(mode="json"))
    else:
        from sightline.gate.explain import describe, explain

        sys.stdout.write(describe(explain(output)))
    display.text(f"\n  page     {output / 'report.html'}\n  verdict  {output / 'verdict.json'}\n")
    if not request.registry:
        display.text("  this look was not counted: give --registry to keep the odometer and the alpha ledger\n")
    return 0 if verdict.outcome == "pass" else REJECTED


def _judge_files(request: Request, policy: GateConfig, output: Path, progress: Progress) -> Verdict:
    from sightline.gate.compare import Files, compare

    if request.endpoint:
        raise UsageError("--endpoint judges a bundle that is served", remedy="give --dataset and two bundles")
    if request.current == CHAMPION:
        raise UsageError(
            f"'{CHAMPION}' is a bundle of the registry, not a file of predictions", remedy="name the current model's predictions"
        )
    files = Files(
        current=None if request.current == NONE else Path(request.current),
        new=request.new,
        truth=request.truth or Path(),
        attributes=request.attributes,
        images=request.images,
        classes=request.classes,
    )
    return compare(files, policy, output=output, registry=request.registry, progress=progress)


def _judge_bundles(request: Request, policy: GateConfig, output: Path, progress: Progress) -> Verdict:
    from sightline.gate.compare_bundles import Bundles, compare_bundles

    extra = {"--attributes": request.attributes, "--images": request.images, "--classes": request.classes}
    given = [name for name, value in extra.items() if value]
    if given:
        raise UsageError(f"{', '.join(given)}: a dataset version has its own", remedy="leave it out")
    bundles = Bundles(
        current="" if request.current == NONE else request.current,
        new=request.new,
        dataset=request.dataset or Path(),
        endpoint=request.endpoint,
    )
    return compare_bundles(bundles, policy, output=output, registry=request.registry, progress=progress)
