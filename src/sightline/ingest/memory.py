"""What earlier runs assigned, kept in the registry: no image ever changes its split, and the golden set stays what it was."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sightline.config.ingest import IngestConfig
from sightline.config.store import StoreConfig
from sightline.data.version import SPLITS, SplitName
from sightline.errors import DataError
from sightline.registry.golden import freeze, frozen_ids
from sightline.store.code import code_digest
from sightline.store.digest import sha256_value
from sightline.store.objects import MissingObjectError, open_store

GOLDEN: SplitName = "golden"
# One record per image: split and path, so that a lost golden image can be named and an image stays where it was.
_ASSIGNED = "assigned"


@dataclass(frozen=True)
class Memory:
    """What the registry knows.

    Attributes:
        golden: ids of the frozen golden images.
        splits: id to split, the golden ones included.
        paths: id to the path it had, relative to its source.
        records: the raw records.
        prefix: what the records of this way of splitting begin with.
    """

    golden: frozenset[str]
    splits: Mapping[str, SplitName]
    paths: Mapping[str, str]
    records: frozenset[str]
    prefix: str

    @property
    def digest(self) -> str:
        """Covers everything that assignments depend on."""
        return sha256_value([sorted(self.golden), sorted(self.records)])


@dataclass(frozen=True)
class Key:
    """The memory's part of the step key, and what equal keys are noted under."""

    memory: str
    subject: tuple[str, str, str]


def recall(registry: str, config: IngestConfig) -> Memory:
    """What earlier runs assigned with the same salt and shares; the golden set whatever they were."""
    golden = frozen_ids(registry, GOLDEN)
    # Other shares or another salt are meant to move images: only golden ones stay then.
    prefix = sha256_value([config.split_salt, config.val_share, config.golden_share])[:8]
    records = frozenset(record for record in frozen_ids(registry, _ASSIGNED) if record.startswith(prefix))
    splits: dict[str, SplitName] = {}
    paths: dict[str, str] = {}
    for record in sorted(records):
        _, split, sample_id, path = _parsed(record)
        splits[sample_id] = split
        paths[sample_id] = path
    splits.update((sample_id, GOLDEN) for sample_id in golden)
    return Memory(golden, splits, paths, records, prefix)


def _parsed(record: str) -> tuple[str, SplitName, str, str]:
    prefix, _, rest = record.partition(" ")
    name, _, rest = rest.partition(" ")
    sample_id, _, path = rest.partition(" ")
    split = next((split for split in SPLITS if split == name), None)
    if split is None or not path:
        raise DataError(f"the registry's record of an assigned image is damaged: {record[:80]!r}")
    return prefix, split, sample_id, path


def resolved_key(memory: Memory, files: str, config: IngestConfig, store: StoreConfig) -> Key:
    """The memory's digest as it was when the same files were ingested first.

    A run adds its own assignments to the memory, so the same run again would see another memory and find nothing in the cache, although
    nothing can change: everything that it would assign is assigned already. So a run notes that the memory after it stands for the one
    before.
    """
    subject = (files, sha256_value(config.model_dump(mode="json")), code_digest("sightline.ingest.step"))
    try:
        return Key(open_store(store.cache).read(_note(subject, memory.digest)).decode("ascii"), subject)
    except MissingObjectError:
        return Key(memory.digest, subject)


def remember(key: Key, before: Memory, assigned: Iterable[tuple[str, SplitName, str]], store: StoreConfig) -> None:
    """Freezes golden images and records all assignments (id, split, path); does nothing when they are known."""
    rows = list(assigned)
    golden = frozenset(sample_id for sample_id, split, _ in rows if split == GOLDEN)
    records = frozenset(f"{before.prefix} {split} {sample_id} {path}" for sample_id, split, path in rows if sample_id not in before.paths)
    if not golden <= before.golden:
        freeze(store.registry, GOLDEN, golden)
    if records:
        freeze(store.registry, _ASSIGNED, records)
    after = sha256_value([sorted(before.golden | golden), sorted(before.records | records)])
    if after != key.memory:
        open_store(store.cache).write(_note(key.subject, after), key.memory.encode())


def _note(subject: tuple[str, str, str], memory: str) -> str:
    return f"ingest-memory/{sha256_value([*subject, memory])}"
