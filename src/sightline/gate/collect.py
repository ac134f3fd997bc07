"""Scores candidate, champion, anchor and must-pass cases: from folders to evidence."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import DataError, UsageError
from sightline.evaluate.corruptions import chosen_rows, corrupt, describe
from sightline.evaluate.discover import discover, feature_table
from sightline.evaluate.golden_slices import golden_masks, golden_rows, golden_values, group_indices, known_slices
from sightline.evaluate.predict import Answers, Scorer
from sightline.evaluate.slices import near_matches
from sightline.evaluate.verdict import Case as MustPass
from sightline.gate.budgets import check_budgets
from sightline.gate.decide import require_known_slices
from sightline.gate.evidence import BoolArray, Corrupted, Evidence
from sightline.gate.measured import Incumbent, Measured, measure
from sightline.gate.threshold_table import threshold_table
from sightline.gate.variants import Candidate, live_answers, variant_table
from sightline.models.bundle import ModelBundle
from sightline.runtimes.base import EAGER
from sightline.store.digest import sha256_value

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from sightline.config.gate import Corruption, GateConfig
    from sightline.data.version import DatasetVersion, Split
    from sightline.evaluate.verdict import Stage
    from sightline.gate.threshold_table import ThresholdTable
    from sightline.gate.variant_table import VariantTable
    from sightline.registry.ledger import Champion
    from sightline.runtimes.endpoint import Endpoint, Live
    from sightline.store.steps import Progress


def policy_inputs(version: DatasetVersion, policy: GateConfig) -> dict[str, str]:
    """Digests of what the gate reads besides the golden split: class names, groups, and the must-pass cases wherever they are."""
    golden = version.samples[version.samples["split"] == "golden"]
    groups = golden["sample_id"] + ":" + golden["group_id"].astype(str)
    inputs = {"classes": sha256_value(list(version.info.classes)), "groups": sha256_value(sorted(groups))}
    if policy.sentinels:
        rows = version.samples[version.samples["location"].map(lambda location: any(_names(name, location) for name in policy.sentinels))]
        inputs["sentinels"] = sha256_value(sorted(rows["sample_id"] + ":" + rows["class_name"]))
    return inputs


def _names(name: str, location: str) -> bool:
    return location == name or location.endswith(f"/{name.removeprefix('./')}")


@dataclass(frozen=True)
class Reference:
    """A model that the candidate is compared with; the generation is 0 for one that was never promoted."""

    digest: str
    folder: str
    generation: int = 0

    @classmethod
    def of(cls, champion: Champion | None) -> Reference | None:
        """The reference that a promotion stands for."""
        return None if champion is None else cls(champion.digest, champion.folder, champion.generation)

    @functools.cached_property
    def bundle(self) -> ModelBundle:
        """The opened bundle."""
        return ModelBundle.open(self.folder)

    @property
    def variant(self) -> str:
        """What answers: the variant that ships, or the weights of a bundle that was not compiled."""
        return self.bundle.info.chosen or EAGER


@dataclass(frozen=True)
class Case:
    """A candidate bundle, the data it is judged on, and what it is compared with.

    Attributes:
        anchor: the last audited champion; None without one.
    """

    bundle: ModelBundle
    version: DatasetVersion
    stage: Stage
    champion: Reference | None
    anchor: Reference | None = None
    _scorers: dict[tuple[str, str], Scorer] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """The dataset's class names in label order."""
        return self.version.info.classes

    @property
    def variant(self) -> str:
        """What answers for the candidate: its weights, or the compiled variant that ships."""
        return EAGER if self.stage == "trained" else self.bundle.info.chosen

    @functools.cached_property
    def golden(self) -> Split:
        """The golden images."""
        return self.version.split("golden")

    @functools.cached_property
    def _golden_rows(self) -> pd.DataFrame:
        return golden_rows(self.version)

    @property
    def clusters_N(self) -> npt.NDArray[np.int64]:  # noqa: N802 - the shape is part of the name
        """The index of the group of related images that each golden image belongs to."""
        return group_indices(self._golden_rows)

    def check_policy(self, policy: GateConfig) -> None:
        """Stops before anything is scored when the policy or the data cannot give a verdict."""
        if policy.metric not in {"auto", "accuracy", "macro-f1"}:
            raise UsageError(f"gate.metric: '{policy.metric}' is not for classification", remedy="use auto, accuracy or macro-f1")
        check_budgets(policy)
        if not len(self.golden):
            raise DataError("the dataset has no golden images, so nothing can be judged", remedy="raise ingest.golden_share")
        if not self.variant:
            raise DataError(
                f"{self.bundle.artifact.folder} was not compiled: it names no chosen variant", remedy="run sightline compile on it"
            )
        known = self.version.samples
        seen = set(known.loc[known["split"] != "golden", "sample_id"]) & set(self.golden.sample_ids)
        if seen:
            raise DataError(f"{len(seen)} golden images are also in another split", problems=sorted(seen), remedy="ingest the data again")
        require_known_slices(policy.critical_slices, self._all_slices())
        self._sentinel_rows(policy)

    def collect(self, policy: GateConfig, alpha: float, progress: Progress) -> Evidence:
        """The evidence; cost: one pass of each model over the golden images, and one per corruption over some of them."""
        candidate = self._answers("candidate", self.bundle, self.variant, progress)
        same_model = self.champion is not None and self.champion.digest == self.bundle.digest and self.stage == "compiled"
        champion = candidate if same_model else self._reference_answers("champion", self.champion, progress)
        eager = self._answers("trained weights", self.bundle, EAGER, progress) if self.stage == "compiled" else None
        clusters = self.clusters_N if policy.cluster == "group" else None
        masks = self._masks(policy)
        # A rule that says the same as a declared slice is no discovery, and two checks must not share a name.
        weak = {name: mask for name, mask in self._discovered(candidate, champion, policy).items() if name not in masks}
        return Evidence(
            stage=self.stage,
            labels_N=self.golden.labels_N,
            masks=masks,
            candidate=candidate,
            champion=champion,
            eager=eager,
            same_model=same_model,
            cases=self._cases(policy),
            measured=self._measure(policy, progress),
            clusters_N=clusters,
            anchor=self._anchor_answers(progress),
            anchor_generation=self.anchor.generation if self.anchor else 0,
            corrupted=self._corrupted(policy, progress),
            discovered=weak,
            alpha=alpha,
        )

    def predictions(self, evidence: Evidence) -> pd.DataFrame:
        """One row per golden image: sample_id, location, label, and per model its class and confidence; null where there is no answer."""
        import pandas as pd

        def columns(name: str, answers: Answers | None) -> dict[str, object]:
            if answers is None:
                return {name: pd.array([None] * len(self.golden), dtype="string"), f"{name}_confidence": np.full(len(self.golden), np.nan)}
            return {name: pd.array(self._class_names(answers), dtype="string"), f"{name}_confidence": answers.confidence_N}

        labels = [self.classes[label] for label in evidence.labels_N]
        models = columns("candidate", evidence.candidate) | columns("champion", evidence.champion)
        return pd.DataFrame({"sample_id": self.golden.sample_ids, "location": self.golden.locations, "label": labels, **models})

    def _class_names(self, answers: Answers) -> list[str | None]:
        return [self.classes[index] if index >= 0 else None for index in answers.predicted_N]

    def variants(self, evidence: Evidence, policy: GateConfig, progress: Progress, live: Live | None = None) -> VariantTable | None:
        """Every compiled variant (and the live endpoint) on every slice; None for a model that was not compiled."""
        if self.stage != "compiled":
            return None
        return variant_table(self._variants, evidence, policy, progress=progress, live=live)

    @property
    def _variants(self) -> Candidate:
        return Candidate(self.bundle, self.golden, self.classes, self._answers_of, self.variant)

    def thresholds(self, evidence: Evidence, progress: Progress) -> ThresholdTable | None:
        """Decision thresholds of what ships, chosen on validation images; None without them or for a model not compiled."""
        validation = self.version.split("val")
        if self.stage != "compiled" or not len(validation):
            return None
        progress(f"choosing thresholds on {len(validation)} validation images")
        answers = self.scorer(self.bundle, self.variant).answers(validation)
        return threshold_table(answers, validation.labels_N, evidence.candidate, evidence.labels_N, self.classes)

    def ask(self, endpoint: Endpoint, progress: Progress) -> Live:
        """What a live endpoint answers to the golden images' files; it has to serve this very bundle."""
        progress(f"asking {endpoint.url} for {len(self.golden)} golden images")
        return live_answers(endpoint, self._variants)

    def _answers_of(self, variant: str) -> Answers:
        return self.scorer(self.bundle, variant).answers(self.golden)

    def scorer(self, bundle: ModelBundle, variant: str) -> Scorer:
        """The loaded variant; each is loaded once."""
        key = bundle.digest, variant
        if key not in self._scorers:
            self._scorers[key] = Scorer(bundle, variant, self.classes)
        return self._scorers[key]

    def _answers(self, who: str, bundle: ModelBundle, variant: str, progress: Progress) -> Answers:
        progress(f"scoring {who} ({variant}) on {len(self.golden)} golden images")
        return self.scorer(bundle, variant).answers(self.golden)

    def _reference_answers(self, who: str, reference: Reference | None, progress: Progress) -> Answers | None:
        if reference is None:
            return None
        return self._answers(f"{who} {reference.generation or ''}".strip(), reference.bundle, reference.variant, progress)

    def _anchor_answers(self, progress: Progress) -> Answers | None:
        same = self.anchor is not None and self.champion is not None and self.anchor.digest == self.champion.digest
        return None if same else self._reference_answers("anchor", self.anchor, progress)

    def _masks(self, policy: GateConfig) -> dict[str, BoolArray]:
        return golden_masks(self.golden, self._golden_rows, self.classes, policy)

    @property
    def _class_of_each(self) -> list[str]:
        return [self.classes[label] for label in self.golden.labels_N]

    def _measure(self, policy: GateConfig, progress: Progress) -> Measured:
        progress("measuring size, latency and cost")
        incumbent = Incumbent(self.champion.bundle, self.champion.variant, self.golden.pixels_NHWC) if self.champion else None
        return measure(self.bundle, self.variant, policy, stage=self.stage, incumbent=incumbent)

    def _corrupted(self, policy: GateConfig, progress: Progress) -> tuple[Corrupted, ...]:
        if not policy.robustness or not policy.robustness_images:
            return ()
        rows = chosen_rows(self.golden.sample_ids, policy.robustness_images)
        split, clusters = _rows_of(self.golden, rows), self.clusters_N[rows] if policy.cluster == "group" else None
        models = [self.scorer(self.bundle, self.variant)]
        models += [self.scorer(self.champion.bundle, self.champion.variant)] if self.champion else []
        clean = models[0].answers(split).predicted_N == split.labels_N
        found = []
        for name in policy.robustness:
            progress(f"scoring under corruption: {name}")

            def change(pixels: npt.NDArray[np.uint8], name: Corruption = name) -> npt.NDArray[np.uint8]:
                return corrupt(pixels, name, policy.robustness_severity, split.sample_ids)

            right = [model.answers(split, change).predicted_N == split.labels_N for model in models]
            words = describe(name, policy.robustness_severity)
            found.append(Corrupted(words, clean, right[0], right[1] if len(right) > 1 else None, clusters))
        return tuple(found)

    def _discovered(self, candidate: Answers, champion: Answers | None, policy: GateConfig) -> dict[str, BoolArray]:
        if not policy.discover_slices:
            return {}
        right = (candidate.predicted_N == self.golden.labels_N).astype(np.float64)
        before = 1.0 if champion is None else (champion.predicted_N == self.golden.labels_N).astype(np.float64)
        attributes = self.golden.attributes.assign(**{"class": self._class_of_each})
        features = feature_table(attributes, golden_values(self.golden, self._golden_rows, policy.property_slices))
        return discover(before - right, features, self.clusters_N, self.golden.sample_ids, min_images=policy.min_slice_images)

    def _all_slices(self) -> set[str]:
        return known_slices(self.version.samples, self.version.info.attributes, self.classes)

    def _sentinel_rows(self, policy: GateConfig) -> pd.DataFrame:
        samples, source = self.version.samples, self.version.info.source
        found = {name: _rows_called(name, samples, source) for name in policy.sentinels}
        problems = [_problem(name, rows, samples, source) for name, rows in found.items() if len(rows) != 1]
        if problems:
            raise UsageError(
                f"gate.sentinels: {'; '.join(problems)}", remedy="name each file as in samples.parquet, relative to ingest.source"
            )
        ids = [rows["sample_id"].iloc[0] for rows in found.values()]
        return samples[samples["sample_id"].isin(ids)]

    def _cases(self, policy: GateConfig) -> tuple[MustPass, ...]:
        rows = self._sentinel_rows(policy)
        cases = []
        for name in dict.fromkeys(rows["split"]):
            split = self.version.split(name)
            part = _rows_of(split, np.flatnonzero(np.isin(split.sample_ids, list(rows["sample_id"]))))
            given = self._class_names(self.scorer(self.bundle, self.variant).answers(part))
            answered = zip(part.locations, part.labels_N, given, strict=True)
            cases += [MustPass(location=where, wanted=self.classes[label], given=answer or "") for where, label, answer in answered]
        return tuple(cases)


def _rows_called(name: str, samples: pd.DataFrame, source: str) -> pd.DataFrame:
    whole = samples[samples["location"] == f"{source.rstrip('/')}/{name}"]
    return whole if len(whole) else samples[samples["location"].map(lambda location: _names(name, location))]


def _problem(name: str, rows: pd.DataFrame, samples: pd.DataFrame, source: str) -> str:
    if len(rows):
        return f"'{name}' names {len(rows)} images: {', '.join(rows['location'].head(3))}"
    close = near_matches(name, {location.removeprefix(f"{source.rstrip('/')}/") for location in samples["location"]})
    return f"no usable image is called '{name}'" + (f" (did you mean {', '.join(close)}?)" if close else "")


def _rows_of(split: Split, rows: npt.NDArray[np.int64]) -> Split:
    from dataclasses import replace

    return replace(
        split,
        sample_ids=tuple(split.sample_ids[row] for row in rows),
        labels_N=split.labels_N[rows],
        attributes=split.attributes.iloc[rows].reset_index(drop=True),
        locations=tuple(split.locations[row] for row in rows),
        pixels_NHWC=split.pixels_NHWC[rows],
    )
