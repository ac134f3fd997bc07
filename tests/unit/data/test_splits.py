import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.config.ingest import IngestConfig
from sightline.data.splits import Sample, assign, check_splits, group_key, split_of
from sightline.errors import DataError

LOTS = IngestConfig(group_by=("lot",), near_duplicate_bits=3)
PLAIN = IngestConfig(near_duplicate_bits=3)


def _id(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def _hash(name: object, flipped: int = 0) -> np.ndarray:
    """A hash of its own per name; ``flipped`` bits differ from it."""
    bits = np.unpackbits(np.frombuffer(hashlib.sha256(f"h{name}".encode()).digest(), dtype=np.uint8))
    bits[:flipped] ^= 1
    return np.packbits(bits).view(np.uint64)


def _lots(names, per_lot=4):
    samples = [Sample(_id((lot, i)), "ab"[i % 2], (lot,)) for lot in names for i in range(per_lot)]
    return samples, np.stack([_hash(sample.sample_id) for sample in samples])


def _in(split, config, prefix="lot"):
    return next(f"{prefix}{number}" for number in range(1000) if split_of(f"{prefix}{number}", config) == split)


def _remembered(samples, assignment):
    return {sample.sample_id: split for sample, split in zip(samples, assignment.splits, strict=True) if split}


def _leaks(samples, hashes, assignment, bits):
    distances = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(axis=2)
    near = zip(*np.nonzero(distances <= bits), strict=True)
    splits = assignment.splits
    return [(i, j) for i, j in near if splits[i] and splits[j] and splits[i] != splits[j]]


def test_groups_follow_the_shares():
    counts = Counter(split_of(f"lot-{number}", IngestConfig(val_share=0.2, golden_share=0.3)) for number in range(4000))
    assert counts["golden"] / 4000 == pytest.approx(0.3, abs=0.03)
    assert counts["val"] / 4000 == pytest.approx(0.2, abs=0.03)


def test_another_salt_moves_groups_and_a_larger_golden_set_only_takes():
    before, after = IngestConfig(golden_share=0.2), IngestConfig(golden_share=0.4)
    keys = [f"lot-{number}" for number in range(500)]
    assert any(split_of(key, before) != split_of(key, IngestConfig(golden_share=0.2, split_salt="x")) for key in keys)
    assert all(split_of(key, after) == "golden" for key in keys if split_of(key, before) == "golden")


def test_spaces_and_capitals_do_not_make_another_group():
    assert group_key((" Lot7 ", "A")) == group_key(("lot7", "a"))
    assert split_of("L0007", LOTS) == split_of(" l0007 ", LOTS)
    samples = [Sample(_id(1), "a", ("L7",)), Sample(_id(2), "a", (" l7",))]
    assignment = assign(samples, np.stack([_hash(1), _hash(2)]), LOTS, {})
    assert len(set(assignment.group_ids)) == 1


def test_a_lot_goes_where_its_name_says():
    samples, hashes = _lots([f"lot{number}" for number in range(40)])
    assignment = assign(samples, hashes, LOTS, {})
    for sample, split, group in zip(samples, assignment.splits, assignment.group_ids, strict=True):
        assert split == split_of(sample.group[0], LOTS)
        assert group == sample.group[0]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(0, 20), st.integers(0, 1000), st.booleans())
def test_adding_images_never_moves_one(num_old, num_new, seed, grouped):
    """Old and new images are near copies of each other at random; whatever stays in use stays in its split."""
    rng = np.random.default_rng(seed)
    config = LOTS if grouped else PLAIN

    def make(number):
        original = rng.integers(0, 12)
        return Sample(_id((seed, number)), "a", (f"lot{rng.integers(0, 8)}",)), _hash(original, flipped=int(rng.integers(0, 6)))

    made = [make(number) for number in range(num_old + num_new)]
    samples, hashes = [sample for sample, _ in made], np.stack([value for _, value in made])
    first = assign(samples[:num_old], hashes[:num_old], config, {})
    previous = _remembered(samples[:num_old], first)
    second = assign(samples, hashes, config, previous)
    for before, after in zip(first.splits, second.splits[:num_old], strict=True):
        assert after == before or (not before)
    assert not _leaks(samples, hashes, first if num_new == 0 else second, 3)
    homes = {}
    for split, group in zip(second.splits, second.group_ids, strict=True):
        if split:
            assert homes.setdefault(group, split) == split


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(0, 1000), st.booleans())
def test_assigning_again_with_what_was_remembered_changes_nothing(num, seed, grouped):
    rng = np.random.default_rng(seed)
    config = LOTS if grouped else PLAIN
    samples = [Sample(_id((seed, number)), "a", (f"lot{rng.integers(0, 8)}",)) for number in range(num)]
    hashes = np.stack([_hash(rng.integers(0, 12), flipped=int(rng.integers(0, 6))) for _ in range(num)])
    first = assign(samples, hashes, config, {})
    assert assign(samples, hashes, config, _remembered(samples, first)) == first


def test_without_lots_near_copies_are_one_group():
    samples = [Sample(_id(number), "a", ()) for number in range(60)]
    hashes = np.stack([_hash(number // 3, flipped=number % 3) for number in range(60)])
    assignment = assign(samples, hashes, PLAIN, {})
    for start in range(0, 60, 3):
        assert len({(assignment.splits[start + i], assignment.group_ids[start + i]) for i in range(3)}) == 1
    assert not any(assignment.reasons)


def test_ignoring_near_copies_would_leak():
    """Negative control: the same images with the search switched off (radius 0) are torn apart."""
    samples = [Sample(_id(number), "a", ()) for number in range(60)]
    hashes = np.stack([_hash(number // 3, flipped=number % 3) for number in range(60)])
    blind = assign(samples, hashes, IngestConfig(near_duplicate_bits=0), {})
    assert _leaks(samples, hashes, blind, 3)


def test_a_near_copy_of_a_golden_image_in_another_lot_is_refused():
    golden, train = _in("golden", LOTS), _in("train", LOTS)
    samples, hashes = _lots([golden, train])
    hashes[4] = _hash(samples[0].sample_id, flipped=2)
    assignment = assign(samples, hashes, LOTS, {})
    assert assignment.reasons == ("", "", "", "", "leaks-golden", "", "", "")
    assert assignment.splits[4] == ""
    assert assignment.splits[5:] == ("train",) * 3


def test_a_near_copy_across_val_and_train_is_refused_in_train():
    val, train = _in("val", LOTS), _in("train", LOTS)
    samples, hashes = _lots([train, val])
    hashes[4] = _hash(samples[0].sample_id, flipped=1)
    assert assign(samples, hashes, LOTS, {}).reasons[:5] == ("leaks-val", "", "", "", "")


def test_a_refused_image_does_not_refuse_others():
    golden, val, train = (_in(split, LOTS) for split in ("golden", "val", "train"))
    samples, hashes = _lots([golden, val, train])
    # golden[0] - val[0] - train[0] is a chain: val[0] goes because of golden[0]; train[0] is too far from golden[0] to mind.
    hashes[4] = _hash(samples[0].sample_id, flipped=3)
    hashes[8] = _hash(samples[0].sample_id, flipped=6)
    reasons = assign(samples, hashes, LOTS, {}).reasons
    assert (reasons[0], reasons[4], reasons[8]) == ("", "leaks-golden", "")


def test_an_old_training_image_stays_and_its_new_golden_copy_is_refused():
    golden, train = _in("golden", LOTS), _in("train", LOTS)
    samples, hashes = _lots([train, golden])
    hashes[4] = _hash(samples[0].sample_id, flipped=2)
    previous = {sample.sample_id: "train" for sample in samples[:4]}
    reasons = assign(samples, hashes, LOTS, previous).reasons
    assert (reasons[0], reasons[4]) == ("", "leaks-golden")


def test_a_frozen_golden_image_is_never_refused():
    golden, train = _in("golden", LOTS), _in("train", LOTS)
    samples, hashes = _lots([train, golden])
    hashes[4] = _hash(samples[0].sample_id, flipped=2)
    previous = {sample.sample_id: "golden" if sample.group == (golden,) else "train" for sample in samples}
    reasons = assign(samples, hashes, LOTS, previous).reasons
    assert (reasons[0], reasons[4]) == ("leaks-golden", "")


def test_a_new_image_between_old_groups_of_two_splits_is_refused_and_they_stay():
    samples = [Sample(_id(name), "a", ()) for name in ("golden", "bridge", "train")]
    hashes = np.stack([_hash("tile"), _hash("tile", flipped=3), _hash("tile", flipped=6)])
    previous = {samples[0].sample_id: "golden", samples[2].sample_id: "train"}
    assignment = assign(samples, hashes, PLAIN, previous)
    assert assignment.splits == ("golden", "", "train")
    assert assignment.reasons == ("", "leaks-golden", "")
    assert assignment.group_ids[0] != assignment.group_ids[2]


def test_new_images_of_an_old_lot_join_it_even_when_its_name_would_send_them_elsewhere():
    train = _in("train", LOTS)
    samples, hashes = _lots([train])
    assert set(assign(samples, hashes, LOTS, {samples[0].sample_id: "golden"}).splits) == {"golden"}


def test_lots_drawn_over_a_frozen_golden_set_are_refused_rather_than_torn():
    samples, hashes = _lots(["a"])
    previous = {samples[0].sample_id: "golden", samples[1].sample_id: "train", samples[2].sample_id: "val"}
    assignment = assign(samples, hashes, LOTS, previous)
    assert assignment.splits == ("golden", "", "", "golden")
    assert assignment.reasons == ("", "leaks-golden", "leaks-golden", "")


def test_a_class_that_is_missing_in_a_split_is_an_error_with_its_counts():
    config = IngestConfig(group_by=("lot",), min_images_per_class=2)
    samples = [Sample(_id((split, i)), "good", (_in(split, config),)) for split in ("train", "val", "golden") for i in range(3)]
    samples += [Sample(_id((split, "x")), "crack", (_in(split, config),)) for split in ("train", "golden")]
    assignment = assign(samples, np.stack([_hash(sample.sample_id) for sample in samples]), config, {})
    with pytest.raises(DataError) as caught:
        check_splits(samples, assignment, config)
    assert caught.value.problems == ("class 'crack' has no image in val (1 in train, 0 in val, 1 in golden; 3 groups in all)",)
    assert "ingest.group_by" in caught.value.remedy


def test_a_class_with_too_few_images_is_an_error():
    samples, hashes = _lots([_in(split, LOTS) for split in ("train", "val", "golden")])
    with pytest.raises(DataError) as caught:
        check_splits(samples, assign(samples, hashes, LOTS, {}), LOTS)
    assert len(caught.value.problems) == 2
    assert "class 'a' has 6 usable images, at least 20 are needed" in caught.value.problems[0]


def test_no_images_at_all_are_an_error():
    nothing = assign([], np.zeros((0, 4), dtype=np.uint64), PLAIN, {})
    assert nothing.splits == ()
    with pytest.raises(DataError, match="no usable image"):
        check_splits([], nothing, PLAIN)


def test_a_group_in_two_splits_is_an_error():
    """Negative control: an assignment that tears a group apart does not pass."""
    samples, hashes = _lots([_in(split, LOTS) for split in ("train", "val", "golden")], per_lot=40)
    good = assign(samples, hashes, LOTS, {})
    check_splits(samples, good, LOTS)
    torn = type(good)(("golden", *good.splits[1:]), good.group_ids, good.reasons)
    with pytest.raises(DataError, match="is in golden and train"):
        check_splits(samples, torn, LOTS)
