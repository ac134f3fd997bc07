"""Scores candidate, champion and sentinels: from folders to evidence."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sightline.errors import DataError, UsageError
from sightline.evaluate.predict import Answers, aligned, answer_split
from sightline.evaluate.slices import near_matches, slice_masks
from sightline.gate.decide import require_known_slices
from sightline.gate.evidence import BoolArray, Evidence, Sentinel
from sightline.gate.measured import latency, size_bytes
from sightline.models.bundle import ModelBundle
from sightline.runtimes.base import EAGER
from sightline.store.digest import sha256_value

if TYPE_CHECKING:
    import pandas as pd

    from sightline.config.gate import GateConfig
    from sightline.data.version import DatasetVersion, Split
    from sightline.evaluate.verdict import Stage
    from sightline.registry.ledger import Champion
    from sightline.store.steps import Progress


def policy_inputs(version: DatasetVersion, policy: GateConfig) -> dict[str, str]:
    """Digests of what the gate reads besides the golden split: class names, and the sentinels wherever they are."""
    inputs = {"classes": sha256_value(list(version.info.classes))}
    if policy.sentinels:
        rows = version.samples[version.samples["location"].map(lambda location: any(_names(name, location) for name in policy.sentinels))]
        inputs["sentinels"] = sha256_value(sorted(rows["sample_id"] + ":" + rows["class_name"]))
    return inputs


def _names(name: str, location: str) -> bool:
    return location == name or location.endswith(f"/{name.removeprefix('./')}")


@dataclass(frozen=True)
class Case:
    """A candidate bundle, the data it is judged on, and the champion, if there is one."""

    bundle: ModelBundle
    version: DatasetVersion
    stage: Stage
    champion: Champion | None

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

    def check_policy(self, policy: GateConfig) -> None:
        """Stops before anything is scored when the policy or the data cannot give a verdict."""
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

    def collect(self, policy: GateConfig, progress: Progress) -> Evidence:
        """The evidence; cost: one pass of each model over the golden images."""
        candidate = self._answers("candidate", self.bundle, self.variant, progress)
        same_model = self.champion is not None and self.champion.digest == self.bundle.digest and self.stage == "compiled"
        champion = candidate if same_model else self._champion_answers(progress)
        eager = self._answers("trained weights", self.bundle, EAGER, progress) if self.stage == "compiled" else None
        progress(f"deciding on {len(self.golden)} golden images")
        return Evidence(
            stage=self.stage,
            labels_N=self.golden.labels_N,
            masks=self._masks(policy),
            candidate=candidate,
            champion=champion,
            eager=eager,
            same_model=same_model,
            sentinels=self._sentinels(policy),
            size_bytes=size_bytes(self.bundle, self.variant),
            latency=latency(self.bundle, self.variant) if self.stage == "compiled" else None,
        )

    def predictions(self, evidence: Evidence) -> pd.DataFrame:
        """One row per golden image: sample_id, label, and per model its class and confidence; null where there is no answer."""
        import pandas as pd

        def columns(name: str, answers: Answers | None) -> dict[str, object]:
            if answers is None:
                return {name: pd.array([None] * len(self.golden), dtype="string"), f"{name}_confidence": np.full(len(self.golden), np.nan)}
            return {name: pd.array(self._class_names(answers), dtype="string"), f"{name}_confidence": answers.confidence_N}

        labels = [self.classes[label] for label in evidence.labels_N]
        models = columns("candidate", evidence.candidate) | columns("champion", evidence.champion)
        return pd.DataFrame({"sample_id": self.golden.sample_ids, "label": labels, **models})

    def _class_names(self, answers: Answers) -> list[str | None]:
        return [self.classes[index] if index >= 0 else None for index in answers.predicted_N]

    def _answers(self, who: str, bundle: ModelBundle, variant: str, progress: Progress) -> Answers:
        progress(f"scoring {who} ({variant}) on {len(self.golden)} golden images")
        return aligned(answer_split(bundle, variant, self.golden, self.classes), self.golden.sample_ids)

    def _champion_answers(self, progress: Progress) -> Answers | None:
        if self.champion is None:
            return None
        bundle = ModelBundle.open(self.champion.folder)
        return self._answers(f"champion {self.champion.generation}", bundle, bundle.info.chosen or EAGER, progress)

    def _masks(self, policy: GateConfig) -> dict[str, BoolArray]:
        nothing = np.zeros(len(self.golden), dtype=np.bool_)
        return dict.fromkeys(policy.critical_slices, nothing) | slice_masks(self.golden, self.classes)

    def _all_slices(self) -> set[str]:
        names = {f"class={name}" for name in self.classes}
        for attribute in self.version.info.attributes:
            names |= {f"{attribute}={value}" for value in self.version.samples[f"slice_{attribute}"].dropna().astype(str).unique()}
        return names

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

    def _sentinels(self, policy: GateConfig) -> tuple[Sentinel, ...]:
        rows = self._sentinel_rows(policy)
        sentinels = []
        for name in dict.fromkeys(rows["split"]):
            part = _subset(self.version.split(name), set(rows["sample_id"]))
            answers = answer_split(self.bundle, self.variant, part, self.classes)
            answered = zip(part.locations, part.labels_N, self._class_names(answers), strict=True)
            sentinels += [Sentinel(location, self.classes[label], predicted or "") for location, label, predicted in answered]
        return tuple(sentinels)


def _rows_called(name: str, samples: pd.DataFrame, source: str) -> pd.DataFrame:
    whole = samples[samples["location"] == f"{source.rstrip('/')}/{name}"]
    return whole if len(whole) else samples[samples["location"].map(lambda location: _names(name, location))]


def _problem(name: str, rows: pd.DataFrame, samples: pd.DataFrame, source: str) -> str:
    if len(rows):
        return f"'{name}' names {len(rows)} images: {', '.join(rows['location'].head(3))}"
    close = near_matches(name, {location.removeprefix(f"{source.rstrip('/')}/") for location in samples["location"]})
    return f"no usable image is called '{name}'" + (f" (did you mean {', '.join(close)}?)" if close else "")


def _subset(split: Split, sample_ids: set[str]) -> Split:
    from dataclasses import replace

    rows = np.flatnonzero([sample_id in sample_ids for sample_id in split.sample_ids])
    return replace(
        split,
        sample_ids=tuple(split.sample_ids[row] for row in rows),
        labels_N=split.labels_N[rows],
        attributes=split.attributes.iloc[rows].reset_index(drop=True),
        locations=tuple(split.locations[row] for row in rows),
        pixels_NHWC=split.pixels_NHWC[rows],
    )
