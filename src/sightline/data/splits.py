"""Assigns images to train, val and golden so that nothing leaks and nothing ever moves.

The rules:

1. A group goes where a keyed hash of its name sends it. The name is the values of ``group_by``; without ``group_by`` a group is a set of
   near copies, named by its smallest sample id. So adding groups never moves one.
2. An image that was assigned by an earlier run stays there, and new images of its group join it. A new image may connect old groups of
   several splits; they stay where they are. The golden set is frozen, a golden image is golden for ever.
3. No image may face a near copy of itself across two splits. One of the two is refused, with the reason ``leaks-golden`` or ``leaks-val``,
   because moving it could turn an old training image into a golden one. The one that stays: assigned earlier before new, then golden before
   val before train.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from sightline.config.ingest import IngestConfig
from sightline.data.duplicates import Hashes, near_groups, near_pairs
from sightline.data.version import SPLITS, SplitName
from sightline.errors import DataError
from sightline.store.digest import sha256_bytes

_RANKS: dict[SplitName, int] = {"train": 0, "val": 1, "golden": 2}
_ASSIGNED_EARLIER = 3


@dataclass(frozen=True)
class Sample:
    """What splitting needs to know about one image: its id, class and the values of ``group_by`` (empty without it)."""

    sample_id: str
    class_name: str
    group: tuple[str, ...]


@dataclass(frozen=True)
class Assignment:
    """The split and the group of each image, or the reason why it is in none.

    Attributes:
        splits: per image train, val or golden; empty for a refused one.
        group_ids: per image the name of its group.
        reasons: per image ``leaks-golden`` or ``leaks-val``; empty for one that is used.
    """

    splits: tuple[SplitName | Literal[""], ...]
    group_ids: tuple[str, ...]
    reasons: tuple[str, ...]


def group_key(values: Sequence[str]) -> str:
    """The name of the group with these values of ``group_by``; white space around them and upper case make no difference."""
    return "/".join(value.strip().casefold() for value in values)


def split_of(group_key_: str, config: IngestConfig) -> SplitName:
    """The split that the hash gives a group that was never assigned before.

    Args:
        group_key_: the group's name, as ``group_key`` makes it; a single value may be given as it is in the table.
        config: gives the key of the hash and the shares.
    """
    digest = sha256_bytes(f"{config.split_salt}\n{group_key_.strip().casefold()}".encode())
    position = int(digest[:13], 16) / 16**13
    if position < config.golden_share:
        return "golden"
    return "val" if position < config.golden_share + config.val_share else "train"


def assign(samples: Sequence[Sample], hashes: Hashes, config: IngestConfig, previous: Mapping[str, SplitName]) -> Assignment:
    """Assigns every image by the rules of this module.

    Args:
        samples: the images.
        hashes: (N, 4), uint64: their difference hashes.
        config: shares, salt, ``group_by`` and the radius.
        previous: sample id to split, from earlier runs; ids that are not among the samples make no difference.
    """
    groups, names = _groups(samples, hashes, config)
    ranks = _ranks(samples, groups, names, config, previous)
    known = np.asarray([sample.sample_id in previous for sample in samples], dtype=bool)
    reasons = _conflicts(groups, ranks) if config.group_by else [""] * len(samples)
    _refuse_near_copies(hashes, ranks, known, reasons, config.near_duplicate_bits)
    splits: tuple[SplitName | Literal[""], ...] = tuple(
        "" if reason else _split(rank) for reason, rank in zip(reasons, ranks.tolist(), strict=True)
    )
    return Assignment(splits, _group_ids(samples, groups, names, splits), tuple(reasons))


def check_splits(samples: Sequence[Sample], assignment: Assignment, config: IngestConfig) -> None:
    """Makes sure that the splits can be used.

    Raises:
        DataError: a group in two splits, a class with fewer than ``min_images_per_class`` images or without any in one of the splits.
    """
    homes: dict[str, set[str]] = {}
    counts: dict[str, dict[str, int]] = {sample.class_name: dict.fromkeys(SPLITS, 0) for sample in samples}
    for sample, split, group in zip(samples, assignment.splits, assignment.group_ids, strict=True):
        if split:
            homes.setdefault(group, set()).add(split)
            counts[sample.class_name][split] += 1
    problems = [f"group '{group}' is in {' and '.join(sorted(splits))}" for group, splits in homes.items() if len(splits) > 1]
    for name, per_split in sorted(counts.items()):
        text = ", ".join(f"{count} in {split}" for split, count in per_split.items())
        if sum(per_split.values()) < config.min_images_per_class:
            problems.append(
                f"class '{name}' has {sum(per_split.values())} usable images, at least {config.min_images_per_class} are needed ({text})"
            )
        elif min(per_split.values()) == 0:
            empty = " and ".join(split for split, count in per_split.items() if count == 0)
            problems.append(f"class '{name}' has no image in {empty} ({text}; {len(homes)} groups in all)")
    if not counts:
        problems.append("there is no usable image")
    if problems:
        raise DataError(
            "the images cannot be split",
            problems=problems,
            remedy="add images of these classes in new groups, use finer groups (ingest.group_by, ingest.near_duplicate_bits), or change "
            "ingest.golden_share, val_share or split_salt before anything is frozen",
        )


def _groups(samples: Sequence[Sample], hashes: Hashes, config: IngestConfig) -> tuple[npt.NDArray[np.int64], list[str]]:
    """The group number of each image, and the groups' names."""
    if config.group_by:
        keys = [group_key(sample.group) for sample in samples]
    else:
        ids = [sample.sample_id for sample in samples]
        labels = near_groups(hashes, config.near_duplicate_bits)
        smallest: dict[int, str] = {}
        for label, sample_id in zip(labels.tolist(), ids, strict=True):
            smallest[label] = min(sample_id, smallest.get(label, sample_id))
        keys = [smallest[label] for label in labels.tolist()]
    names = sorted(set(keys))
    numbers = {name: number for number, name in enumerate(names)}
    return np.asarray([numbers[key] for key in keys], dtype=np.int64), names


def _ranks(
    samples: Sequence[Sample], groups: npt.NDArray[np.int64], names: Sequence[str], config: IngestConfig, previous: Mapping[str, SplitName]
) -> npt.NDArray[np.int64]:
    """The split of each image, as its rank, before near copies are refused."""
    known: dict[int, set[SplitName]] = {}
    for sample, group in zip(samples, groups.tolist(), strict=True):
        if sample.sample_id in previous:
            known.setdefault(group, set()).add(previous[sample.sample_id])
    homes: list[SplitName] = []
    for number, name in enumerate(names):
        splits = known.get(number, {split_of(name, config)})
        # Near copies that connect several splits: new ones go to train, where rule 3 refuses them. A declared group is never divided.
        homes.append(max(splits, key=_RANKS.__getitem__) if config.group_by or len(splits) == 1 else "train")
    chosen = [previous.get(sample.sample_id, homes[group]) for sample, group in zip(samples, groups.tolist(), strict=True)]
    return np.asarray([_RANKS[split] for split in chosen], dtype=np.int64)


def _conflicts(groups: npt.NDArray[np.int64], ranks: npt.NDArray[np.int64]) -> list[str]:
    """Refuses images of a declared group that an earlier run put into a less protected split than others of the group."""
    highest = np.zeros(groups.max(initial=0) + 1, dtype=np.int64)
    np.maximum.at(highest, groups, ranks)
    below = ranks < highest[groups]
    return [_reason(int(highest[group])) if is_below else "" for group, is_below in zip(groups.tolist(), below.tolist(), strict=True)]


def _refuse_near_copies(
    hashes: Hashes, ranks: npt.NDArray[np.int64], known: npt.NDArray[np.bool_], reasons: list[str], max_bits: int
) -> None:
    """Applies rule 3: the strongest images protect first, and a refused image protects nothing."""
    unique, inverse = np.unique(hashes, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    strengths = ranks + _ASSIGNED_EARLIER * known
    alive = np.asarray([not reason for reason in reasons], dtype=bool)
    for strength in sorted(set(strengths.tolist()), reverse=True):
        rank = strength % _ASSIGNED_EARLIER
        weaker = (strengths < strength) & (ranks != rank) & alive
        if not weaker.any():
            continue
        protects = np.zeros(len(unique), dtype=bool)
        protects[inverse[alive & (strengths == strength)]] = True
        reached = protects.copy()
        for first, second in near_pairs(unique, max_bits):
            reached[second[protects[first]]] = True
            reached[first[protects[second]]] = True
        for index in np.flatnonzero(weaker & reached[inverse]).tolist():
            reasons[index] = _reason(max(rank, int(ranks[index])))
            alive[index] = False


def _reason(rank: int) -> str:
    return f"leaks-{_split(rank)}"


def _split(rank: int) -> SplitName:
    return SPLITS[rank]


def _group_ids(samples: Sequence[Sample], groups: npt.NDArray[np.int64], names: Sequence[str], splits: Sequence[str]) -> tuple[str, ...]:
    """The name of each image's group; near copies that stay in several splits are a group in each."""
    smallest: dict[tuple[int, str], str] = {}
    divided: dict[int, set[str]] = {}
    for sample, group, split in zip(samples, groups.tolist(), splits, strict=True):
        smallest[group, split] = min(sample.sample_id, smallest.get((group, split), sample.sample_id))
        if split:
            divided.setdefault(group, set()).add(split)
    return tuple(
        smallest[group, split] if len(divided.get(group, ())) > 1 else names[group]
        for group, split in zip(groups.tolist(), splits, strict=True)
    )
