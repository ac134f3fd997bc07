"""The compile step: from trained weights to what ships."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from sightline.compile.benchmark import describe_machine, measure
from sightline.compile.calibration import Calibration, choose_calibration
from sightline.compile.export import export_onnx
from sightline.compile.parity import compare
from sightline.compile.records import write_golden, write_reference
from sightline.compile.report import headline, speedup, write_report
from sightline.compile.select import Benchmark, Row, choose, judge
from sightline.compile.variants import MODEL, build_variant, needs_calibration, open_variant
from sightline.config.compile import CompileConfig, Variant
from sightline.config.store import StoreConfig
from sightline.data.version import DatasetVersion
from sightline.errors import DataError
from sightline.evaluate.predict import predict_split
from sightline.models.bundle import COMPILED, ModelBundle
from sightline.models.weights import WEIGHTS, load_network
from sightline.runtimes.base import EAGER, Prediction, Predictor, UnavailableError
from sightline.runtimes.eager import EagerPredictor
from sightline.store.steps import Progress, Step, StepOutput, StepResult, run_name, run_step


def run(*, model: str, dataset: str, config: CompileConfig, store: StoreConfig, run_id: str, output: str) -> StepOutput:
    """A compiled bundle: the trained one plus ``model.onnx``, its variants, their measurements and the choice.

    Args:
        model: folder of a trained bundle.
        dataset: folder of the dataset version that it was trained on; validation calibrates, golden judges.
        config: the compile section.
        store: where the run keeps its things.
        run_id: the run that this belongs to.
        output: where the bundle's folder is put.

    Raises:
        DataError: bundle and dataset do not belong together, the network cannot be exported, or INT8 cannot be calibrated.
        SightlineError: no variant holds the constraints.
    """
    run_id = run_name(run_id)
    bundle, version = ModelBundle.open(model), DatasetVersion.open(dataset)
    _check_fit(bundle, version)
    step = Step(
        name="compile",
        kind=COMPILED,
        module="sightline.compile.step",
        inputs={"model": bundle.digest, "val": version.info.digests["val"], "golden": version.info.digests["golden"]},
        config=config.model_dump(mode="json"),
        seed=config.seed,
    )

    def work(folder: Path, progress: Progress) -> StepResult:
        return _Compilation(bundle, version, config, folder).run(progress)

    return run_step(step, store=store, run_id=run_id, output=Path(output), work=work)


def _check_fit(bundle: ModelBundle, version: DatasetVersion) -> None:
    problems = []
    if bundle.info.classes != version.info.classes:
        problems.append(f"classes: the model has {', '.join(bundle.info.classes)}; the dataset has {', '.join(version.info.classes)}")
    if bundle.preprocessing.size_px != version.info.image_size_px:
        problems.append(f"image size: the model takes {bundle.preprocessing.size_px} px; the dataset packs {version.info.image_size_px} px")
    problems += [f"the {name} split has no images" for name in ("val", "golden") if not version.info.counts[name]]
    if problems:
        raise DataError("the model cannot be compiled with this dataset", problems=problems, remedy="give the version it was trained on")


@dataclass(frozen=True)
class _Candidate:
    """A variant that was built and opened here, and its answers on the golden images."""

    files: tuple[str, ...]
    predictor: Predictor
    golden: Prediction


class _Compilation:
    """One execution of the step, in the folder that becomes the bundle."""

    def __init__(self, bundle: ModelBundle, version: DatasetVersion, config: CompileConfig, folder: Path) -> None:
        self._bundle = bundle
        self._config = config
        self._folder = folder
        self._val = version.split("val")
        self._golden = version.split("golden")

    def run(self, progress: Progress) -> StepResult:
        """Builds, scores, times, chooses and writes everything."""
        calibration = self._calibration()
        progress("exporting to ONNX")
        network = load_network(self._bundle)
        export_onnx(network, self._folder / MODEL, size_px=self._bundle.preprocessing.size_px)
        trained = EagerPredictor(network, self._config.num_threads)
        candidates = {EAGER: _Candidate((WEIGHTS,), trained, predict_split(trained, self._golden))}
        unavailable: dict[str, str] = {}
        for variant in self._config.variants:
            progress(f"building {variant}")
            try:
                candidates[variant] = self._build(variant, calibration)
            except UnavailableError as error:
                unavailable[variant] = error.message
        progress(f"timing {len(candidates)} variants")
        benchmark = self._benchmark(candidates, unavailable)
        self._write(benchmark, candidates, calibration)
        return StepResult(headline=headline(benchmark), metrics=_metrics(benchmark))

    def _calibration(self) -> Calibration | None:
        if not needs_calibration(self._config.variants):
            return None
        num_images, seed = self._config.calibration_images, self._config.seed
        return choose_calibration(self._val, self._golden, self._bundle.info.classes, num_images=num_images, seed=seed)

    def _build(self, variant: Variant, calibration: Calibration | None) -> _Candidate:
        images = self._val.pixels_NHWC[:0] if calibration is None else calibration.images_NHWC
        files = build_variant(variant, self._folder, images)
        predictor = open_variant(variant, self._folder / files[0], num_threads=self._config.num_threads)
        return _Candidate(files, predictor, predict_split(predictor, self._golden))

    def _benchmark(self, candidates: dict[str, _Candidate], unavailable: dict[str, str]) -> Benchmark:
        predictors = {name: candidate.predictor for name, candidate in candidates.items()}
        images, batch = self._val.pixels_NHWC[: self._config.throughput_batch], self._config.throughput_batch
        timings = measure(predictors, images, rounds=self._config.rounds, throughput_batch=batch)
        trained = candidates[EAGER].golden
        scored = {
            name: Row(
                name=name,
                status="ok",
                size_bytes=sum(self._size_bytes(file) for file in candidate.files),
                **asdict(timings[name]),
                **asdict(compare(candidate.golden, trained, self._golden.labels_N)),
            )
            for name, candidate in candidates.items()
        }
        refused = {name: Row(name=name, status="unavailable", reason=reason) for name, reason in unavailable.items()}
        ordered = [{**scored, **refused}[name] for name in (EAGER, *self._config.variants)]
        rows = tuple(judge(row, scored[EAGER], self._config) for row in ordered)
        return Benchmark(variants=rows, chosen=choose(rows).name, machine=describe_machine(self._config.num_threads))

    def _size_bytes(self, file: str) -> int:
        path = self._bundle.artifact.file(file) if file == WEIGHTS else self._folder / file
        return path.stat().st_size

    def _write(self, benchmark: Benchmark, candidates: dict[str, _Candidate], calibration: Calibration | None) -> None:
        for entry in self._bundle.artifact.manifest.files:
            (self._folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._bundle.artifact.folder / entry.path, self._folder / entry.path)
        digests = dict(self._bundle.info.dataset_digests)
        if calibration is not None:
            digests["calibration"] = calibration.record.digest
            (self._folder / "calibration.json").write_text(calibration.record.model_dump_json(indent=1))
        variants = {name: candidate.files[0] for name, candidate in candidates.items() if name != EAGER}
        info = self._bundle.info.model_copy(update={"chosen": benchmark.chosen, "variants": variants, "dataset_digests": digests})
        (self._folder / "model.json").write_text(info.model_dump_json(indent=1))
        (self._folder / "benchmark.json").write_text(benchmark.model_dump_json(indent=1))
        chosen = candidates[benchmark.chosen]
        write_reference(self._folder / "reference.parquet", self._val, predict_split(chosen.predictor, self._val), info.classes)
        write_golden(self._folder / "golden.parquet", self._golden, chosen.golden)
        write_report(self._folder, benchmark, self._config)


def _metrics(benchmark: Benchmark) -> dict[str, float]:
    chosen, trained = benchmark.row(benchmark.chosen), benchmark.row(EAGER)
    return {
        "compile/p50_ms": chosen.p50_ms or 0.0,
        "compile/p95_ms": chosen.p95_ms or 0.0,
        "compile/throughput_ips": chosen.throughput_ips or 0.0,
        "compile/speedup": speedup(benchmark),
        "compile/accuracy_drop": (trained.accuracy or 0.0) - (chosen.accuracy or 0.0),
    }
