"""Runs as the steps leave them, made in a second: real artifacts, records, verdicts, outcomes and ledger, invented numbers."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sightline.config.store import StoreConfig
from sightline.evaluate.verdict import Case, Check, Confusion, Flips, Override, Verdict, write_verdict
from sightline.models.bundle import ModelBundle
from sightline.registry.ledger import Ledger
from sightline.store.artifact import commit_artifact, write_file
from sightline.store.outcomes import Outcome, OutcomeKind, record_outcome
from sightline.store.records import StepRecord
from tests.datasets import tiny_dataset

PROPERTIES = ("brightness", "contrast", "sharpness", "saturation", "highlights", "confidence")
HEADLINES = {
    "ingest": "2 391 images · 3 classes · 90 golden · 9 quarantined",
    "tune": "6 trials · best 91.7 % (trial 4)",
    "train": "10 epochs · val 92.8 % · warm start",
    "gate-trained": "PASS · accuracy 0.931 vs 0.889 (+4.2 pts)",
    "compile": "openvino-int8 · 3.1 ms · 6.8× as fast",
    "gate-compiled": "PASS · accuracy 0.929 vs 0.889 (+4.0 pts)",
    "deploy": "promoted after 1 204 requests",
    "monitor": "RETRAIN · 3 of 8 signals drifted",
}


class World:
    """A store in a folder, and what is needed to put runs into it."""

    def __init__(self, root: Path, classes: tuple[str, ...] = ("ring", "stripes", "blob")) -> None:
        self.root = root
        self.classes = classes
        self.store = StoreConfig(cache=str(root / "cache"), registry=str(root / "registry"), runs=str(root / "runs"), tracking="")
        # What the gates of this world's runs find instead, and what they leave besides the verdict.
        self.change: Callable[[Verdict], Verdict] = lambda verdict: verdict
        self.gate_files: dict[str, Any] = {}
        self._clock = 1_795_000_000.0
        self._rng = np.random.default_rng(3)

    def record(self, run_id: str, name: str, **fields: Any) -> StepRecord:
        """A step's record; ``folder`` and ``digest`` as given."""
        seconds = float(fields.pop("seconds", round(float(self._rng.uniform(1, 14)), 1)))
        record = StepRecord(
            name=name, started_at=self._clock, seconds=seconds, **{"status": "done", "headline": HEADLINES.get(name, ""), **fields}
        )
        self._clock += seconds + 1
        path = Path(self.store.runs) / run_id / "steps" / f"{time.time_ns()}-{name}.json"
        write_file(path, record.model_dump_json().encode())
        return record

    def step(self, run_id: str, name: str, kind: str, files: Mapping[str, Any], **fields: Any) -> Path:
        """A committed artifact with these files (JSON values, or bytes) and its record."""
        target = Path(self.store.cache) / name / f"{run_id}-{time.time_ns()}"

        def write(folder: Path) -> dict[str, Any]:
            for file, content in files.items():
                (folder / file).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
            return {"inputs": {"data": "ab" * 32, "model": "cd" * 32}, "code": "ef" * 32, "config": fields.pop("config", {})}

        artifact = commit_artifact(target, kind, write)
        self.record(run_id, name, folder=str(target), digest=artifact.digest, **fields)
        return target

    def ingest(self, run_id: str, **fields: Any) -> None:
        """A real dataset of shapes."""
        counts = {"train": 150, "val": 45, "golden": 90}
        folder = self.root / "cache" / "ingest" / "key"
        version = tiny_dataset(folder, counts=counts, classes=self.classes)
        self.golden = version.split("golden")
        self.record(run_id, "ingest", folder=str(folder), digest=version.artifact.digest, **fields)

    def tune(self, run_id: str) -> None:
        """A search of six trials."""
        trials = [
            {
                "trial": i,
                "lr": 3e-3 * (i + 1) / 2,
                "weight_decay": 1e-4 * (i + 1),
                "augment": (0.3, 0.6, 1.0)[i % 3],
                "epochs": 2 + (i % 3) * 2,
            }
            | {"val_accuracy": 0.8 + 0.02 * ((i * 5 + 3) % 7), "stopped_early": i % 3 == 0}
            for i in range(6)
        ]
        train = {"lr": 3e-3, "weight_decay": 1e-3, "augment": 0.6, "epochs": 10}
        best = {**train, "lr": 7.5e-3, "weight_decay": 5e-4, "augment": 0.6}
        self.step(run_id, "tune", "tuned", {"trials.json": trials, "best.json": best}, config={"train": train})

    def train(self, run_id: str) -> None:
        """A model of ten epochs."""
        epochs = [
            {
                "epoch": e,
                "train_loss": 1.1 * 0.8**e + 0.35,
                "val_loss": 1.0 * 0.78**e + 0.3,
                "val_accuracy": 0.93 - 0.5 * 0.7**e,
                "lr": 1e-3,
            }
            for e in range(1, 11)
        ]
        self.step(run_id, "train", "model", {"history.json": epochs, "model.json": self._model(), "weights.safetensors": b"\0" * 200})

    def gate(self, run_id: str, stage: str, outcome: str = "pass", champion: int = 1) -> None:
        """A real signed verdict over the golden split, with its predictions."""
        verdict = self.change(self.verdict(stage, outcome, champion))

        def write(folder: Path) -> dict[str, Any]:
            write_verdict(folder, verdict)
            for file, content in self.gate_files.items():
                (folder / file).write_text(json.dumps(content))
            self._predictions(champion).to_parquet(folder / "predictions.parquet", index=False)
            return {"config": {"alpha": 0.05}}

        target = Path(self.store.cache) / f"gate-{stage}" / f"{run_id}-{time.time_ns()}"
        artifact = commit_artifact(target, "verdict", write)
        self.record(run_id, f"gate-{stage}", folder=str(target), digest=artifact.digest, outcome=outcome)

    def verdict(self, stage: str, outcome: str, champion: int) -> Verdict:
        """A verdict as the gate writes it."""
        loss = -0.081 if outcome == "fail" else 0.042
        checks = [_paired("overall", "overall", "", 720, 0.889, loss, 0.016, "fail" if outcome == "fail" else "pass")]
        slices = [*(f"class={name}" for name in self.classes), "light=day", "light=night", "site=A", "site=B", "site=C"]
        for place, name in enumerate(slices):
            bad = outcome == "fail" and name == "light=night"
            estimate = -0.14 if bad else 0.06 - place * 0.011
            word = "fail" if bad else "warn" if name == "site=C" else "pass"
            checks.append(_paired(name, "slice", name, 240 - place * 17, 0.88, estimate, 0.03 + place * 0.004, word))
        if not champion:
            checks = [check.model_copy(update={"reference": None, "estimate": check.value, "interval": (0.9, 0.95)}) for check in checks]
        if stage == "compiled":
            checks.append(_paired("parity with the trained model", "parity", "", 720, 0.931, -0.002, 0.008, "pass"))
            checks += [_budget("model size", "size", "MB", 0.41, 200.0), _budget("latency p95", "latency", "ms", 3.9, 100.0)]
        reason = "light=night lost 14.0 points" if outcome == "fail" else "overall accuracy rose by 4.2 points and no slice is worse"
        return Verdict(
            stage="compiled" if stage == "compiled" else "trained",
            outcome=outcome,
            candidate="cd" * 32,
            variant="openvino-int8" if stage == "compiled" else "eager",
            champion="99" * 32 if champion else "none",
            champion_generation=champion,
            golden_digest="77" * 32,
            num_images=720,
            looks=4,
            checks=tuple(checks),
            flips=Flips(num_broken=9, num_fixed=39),
            reason=reason,
        )

    def compile(self, run_id: str) -> None:
        """A benchmark of five variants, one of them unavailable."""
        variants = [
            _variant("eager", 21.2, 24.9, 61, 1_520_000, 0.931, 1.0),
            _variant("onnxruntime-fp32", 6.4, 7.7, 240, 1_490_000, 0.931, 1.0),
            _variant("openvino-fp32", 5.2, 6.1, 301, 1_480_000, 0.931, 0.9986),
            _variant("openvino-int8", 3.1, 3.9, 655, 410_000, 0.929, 0.9917),
            {"name": "tensorrt-fp16", "status": "unavailable", "reason": "no NVIDIA GPU on this machine"},
        ]
        machine = {"cpu": "Example CPU @ 2.70GHz", "cores": 2, "threads": 1, "versions": {"torch": "2.15.0", "openvino": "2026.4.1"}}
        benchmark = {"variants": variants, "chosen": "openvino-int8", "machine": machine}
        self.step(run_id, "compile", "compiled-model", {"benchmark.json": benchmark, "model.json": self._model(chosen="openvino-int8")})

    def deploy(self, run_id: str, outcome: str = "promoted") -> None:
        """A canary of half a minute."""
        bad = outcome == "rolled-back"
        names = ("errors/promote", "slow/promote", "errors/rollback", "slow/rollback", "split")
        speeds = (0.14, 0.11, 0.4, 0.01, 0.0) if bad else (0.14, 0.11, -0.2, -0.1, 0.02)
        timeline = [
            {"t": 2.0 + t, "state": "canary", "requests": 43 * t, "canary_requests": 21 * t, "canary_share": 0.5, "errors": 2 * t * bad}
            | {"e_values": {name: float(np.exp(speed * t)) for name, speed in zip(names, speeds, strict=True)}}
            for t in range(29)
        ]
        thresholds = {name: 20.0 if name.endswith("promote") else 250.0 for name in names}
        canary = {"requests": 588, "errors": 61 if bad else 0, "slow": 3, "p50_ms": 8.3, "p95_ms": 14.8}
        arms = {"incumbent": {"requests": 616, "errors": 0, "slow": 2, "p50_ms": 8.9, "p95_ms": 15.2}, "canary": canary}
        reason = "the canary failed 61 of 588 requests" if bad else "healthy on every guardrail"
        deployment = {
            "outcome": outcome,
            "reason": reason,
            "timeline": timeline,
            "arms": arms,
            "fallbacks": 61 if bad else 0,
            "client_errors": 0,
        }
        deployment |= {"thresholds": thresholds, "e_values": timeline[-1]["e_values"], "decided_after_s": 28.0, "sentinels": 72}
        wrong = ["ring/golden-0004.png: blob, the gate saw ring"] if bad else []
        deployment |= {"wrong_sentinels": wrong, "fault": "errors" if bad else "none"}
        deployment |= {"registered": "" if bad else "sightline version 2"}
        self.step(run_id, "deploy", "deployment", {"deployment.json": deployment}, outcome=outcome)

    def monitor(self, run_id: str, decision: str = "retrain") -> None:
        """A look at drift in which three signals moved."""
        edges = np.linspace(0, 1, 21)
        signals = []
        for place, name in enumerate(PROPERTIES):
            drifted = place in {0, 2, 5}
            reference, served = self._rng.normal(0.5, 0.1, 360), self._rng.normal(0.5 - 0.14 * drifted, 0.12, 400)
            counts = [np.histogram(values, edges)[0].tolist() for values in (reference, served)]
            signals.append(_signal(name, drifted, float(reference.mean()), float(served.mean())))
            signals[-1]["histogram"] = {"edges": edges.tolist(), "reference": counts[0], "served": counts[1]}
        label = _signal("label", False, 0.34, 0.36)
        label["histogram"] = {
            "categories": list(self.classes),
            "reference": [120, 118, 122][: len(self.classes)],
            "served": [130, 141, 129][: len(self.classes)],
        }
        drift = {"decision": decision, "reason": "brightness, sharpness and confidence moved", "signals": [*signals, label]}
        self.step(run_id, "monitor", "drift", {"drift.json": drift | {"num_reference": 360, "num_served": 400}}, outcome=decision)

    def outcome(self, run_id: str, kind: OutcomeKind, reason: str = "healthy on every guardrail") -> None:
        """How the run ended."""
        record_outcome(self.store, run_id, Outcome(kind=kind, reason=reason))

    def promote(self, run_id: str, generation: int) -> None:
        """A generation in the real ledger."""
        target = self.root / "bundles" / str(generation)

        def write(folder: Path) -> dict[str, Any]:
            (folder / "model.json").write_text(json.dumps(self._model(chosen="openvino-int8")))
            (folder / "preprocessing.json").write_text('{"size_px": 32}')
            (folder / "weights.safetensors").write_bytes(bytes([generation]) * 100)
            return {}

        commit_artifact(target, "compiled-model", write)
        Ledger(self.store.registry).promote(
            ModelBundle.open(target), expected_generation=generation - 1, run_id=run_id, verdict_digest=f"{generation}a" * 32
        )

    def retrain(self, run_id: str, end: OutcomeKind = "promoted", champion: int = 1) -> None:
        """A whole retraining run that ends in this way."""
        self.ingest(run_id, cached=champion > 0)
        self.tune(run_id)
        self.train(run_id)
        if end == "rejected":
            self.gate(run_id, "trained", "fail", champion)
            self.outcome(run_id, "rejected", "light=night lost 14.0 points")
            return
        self.gate(run_id, "trained", "pass", champion)
        self.compile(run_id)
        self.gate(run_id, "compiled", "pass", champion)
        self.deploy(run_id, end)
        if end == "promoted":
            self.promote(run_id, champion + 1)
        self.outcome(run_id, end, "healthy on every guardrail" if end == "promoted" else "the canary failed 61 of 588 requests")

    def _model(self, chosen: str = "") -> dict[str, Any]:
        names = {"classes": list(self.classes), "backbone": "compact", "width": 16, "embedding_dim": 64, "dataset_digests": {}}
        return names | {"chosen": chosen, "parent": "99" * 32, "variants": {}}

    def _predictions(self, champion: int) -> pd.DataFrame:
        labels = [self.classes[label] for label in self.golden.labels_N]
        wrong = [self.classes[(label + 1) % len(self.classes)] for label in self.golden.labels_N]
        before = [other if place % 6 == 0 else label for place, (label, other) in enumerate(zip(labels, wrong, strict=True))]
        after = [other if place % 20 == 1 else label for place, (label, other) in enumerate(zip(labels, wrong, strict=True))]
        models = {
            "candidate": pd.array(after, dtype="string"),
            "champion": pd.array(before if champion else [None] * len(labels), dtype="string"),
        }
        return pd.DataFrame({"sample_id": self.golden.sample_ids, "label": labels, **models})


def _paired(name: str, kind: Any, slice_name: str, num_images: int, reference: float, estimate: float, half: float, outcome: Any) -> Check:
    return Check(
        name=name,
        kind=kind,
        slice=slice_name,
        required=True,
        outcome=outcome,
        num_images=num_images,
        reference=reference,
        value=reference + estimate,
        estimate=estimate,
        interval=(estimate - half, estimate + half),
        p_value=0.0004 if outcome == "pass" else 0.03,
        margin=0.03,
        test="Tango score, non-inferiority",
        num_broken=9,
        num_fixed=39,
        detail={"pass": "a loss as large as the margin is ruled out", "warn": "a regression is likely"}.get(
            outcome, "worse: 31 images broken, 4 fixed"
        ),
    )


def _budget(name: str, kind: Any, unit: Any, value: float, limit: float) -> Check:
    shown = {"value": value, "estimate": value, "margin": limit, "metric": name}
    return Check(name=name, kind=kind, unit=unit, lower_is_better=True, required=True, outcome="pass", **shown)


def waived(verdict: Verdict, *names: str, who: str = "A. Person") -> Verdict:
    """The verdict with these checks bad, and waived by one person."""
    fields = {"candidate": verdict.candidate, "champion": verdict.champion, "golden_digest": verdict.golden_digest}
    times = {"made_at": 1_795_000_000.0, "until": 1_796_000_000.0}
    override = Override(**fields, checks=names, who=who, why="the night camera is replaced on <Monday>", **times, verdict="55" * 32)
    checks = tuple(
        check.model_copy(update={"outcome": "waived", "detail": "it was fail: worse"}) if check.name in names else check
        for check in verdict.checks
    )
    return verdict.model_copy(update={"checks": checks, "overrides": (override,)})


def detection(verdict: Verdict) -> Verdict:
    """The verdict as one of detectors, with every other family of checks."""
    score = {"metric": "AP", "num_broken": 0, "num_fixed": 0, "num_clusters": 31}
    checks = [check.model_copy(update=score if check.kind in {"overall", "slice"} else {}) for check in verdict.checks]
    rise = {"reference": 0.031, "value": 0.052, "estimate": 0.021, "interval": (0.012, 0.03), "margin": 0.02, "lower_is_better": True}
    checks.append(
        Check(name="calibration", kind="calibration", required=True, outcome="inconclusive", metric="ECE", num_images=720, **rise)
    )
    slower = {"reference": 3.1, "value": 3.42, "estimate": 0.32, "interval": (0.21, 0.44), "unit": "ms", "lower_is_better": True}
    name = "latency against the current model"
    checks.append(Check(name=name, kind="latency", required=False, outcome="info", metric="latency p50", **slower))
    cost = {"value": 0.00042, "estimate": 0.00042, "unit": "USD", "lower_is_better": True}
    checks.append(Check(name="cost per 1 000 images", kind="cost", required=False, outcome="info", metric="cost", **cost))
    weak = {"reference": 0.7, "value": 0.2, "estimate": -0.5, "interval": (-0.6, -0.4), "num_images": 44, "metric": "AP"}
    checks.append(
        Check(
            name="weight > 3",
            kind="discovered-slice",
            slice="weight > 3",
            required=False,
            outcome="info",
            **weak,
            detail="found by looking",
        )
    )
    cases = (Case(location="a.png", wanted="no error", given="missed"), Case(location="b.png", wanted="no error", given="no error"))
    errors = (Confusion(name="missed", reference=12, candidate=19), Confusion(name="duplicate", reference=9, candidate=4))
    update = {"task": "detection", "metric": "AP", "checks": tuple(checks), "cases": cases, "errors": errors, "attempt": 3, "alpha": 0.0125}
    return verdict.model_copy(update=update)


def variants_file(num_slices: int = 11) -> dict[str, Any]:
    """``variants.json`` as the gate writes it: the last slice is where a variant loses most."""
    rows = ["overall", *(f"site={place}" for place in range(num_slices))]
    losses = [-0.01 * place for place in range(num_slices + 1)]
    columns = [
        _column("champion", [0.9] * len(rows), [None] * len(rows), ""),
        _column("openvino-int8", [0.9 + loss for loss in losses], losses, "fail"),
        _column("tensorrt-fp16", [None] * len(rows), [None] * len(rows), "inconclusive", status="unavailable: no NVIDIA GPU"),
    ]
    table = {"reference": "champion", "slices": rows, "num_images": [50] * len(rows), "columns": columns}
    return {"schema_version": 1, "candidate": "cd" * 32, "golden_digest": "77" * 32, **table}


def _column(name: str, values: list[Any], estimates: list[Any], outcome: str, status: str = "judged") -> dict[str, Any]:
    found = {"name": name, "status": status, "values": values, "estimates": estimates, "outcome": outcome}
    return found | {"p95_ms": None, "size_mb": None}


def _variant(name: str, p50: float, p95: float, ips: float, size: int, accuracy: float, agreement: float) -> dict[str, Any]:
    timing = {"name": name, "status": "ok", "reason": "", "p50_ms": p50, "p95_ms": p95, "throughput_ips": ips}
    return timing | {"size_bytes": size, "accuracy": accuracy, "agreement": agreement, "max_abs_diff": 0.01}


def _signal(name: str, drifted: bool, reference: float, served: float) -> dict[str, Any]:
    numbers = {
        "statistic": 0.31,
        "effect": 0.31 if drifted else 0.04,
        "p_value": 1e-6 if drifted else 0.4,
        "p_adjusted": 1e-5 if drifted else 1.0,
    }
    means = {"reference_mean": reference, "served_mean": served, "detail": f"{reference:.2f} → {served:.2f}"}
    return {"name": name, "test": "ks", "drifted": drifted, **numbers, **means}
