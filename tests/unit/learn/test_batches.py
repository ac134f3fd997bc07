import numpy as np
import pytest

from sightline.errors import DataError
from sightline.learn.batches import TrainingOrder, ValidationOrder

ROWS = np.arange(100, 210)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_the_processes_together_see_the_batches_that_one_process_sees(world):
    alone = list(TrainingOrder(ROWS, batch_size=16, seed=3))
    shares = [list(TrainingOrder(ROWS, batch_size=16, seed=3, rank=rank, world=world)) for rank in range(world)]
    for step, batch in enumerate(alone):
        np.testing.assert_array_equal(np.concatenate([share[step] for share in shares]), batch)


@pytest.mark.parametrize("num", [2, 3, 15, 16, 17, 110])
def test_every_process_gets_as_many_batches_of_the_same_size(num):
    shares = [[len(batch) for batch in TrainingOrder(ROWS[:num], batch_size=16, seed=3, rank=rank, world=2)] for rank in range(2)]
    assert shares[0] == shares[1]
    assert shares[0]
    assert len(set(shares[0])) == 1


def test_fewer_images_than_processes_are_refused():
    with pytest.raises(DataError, match="1 training images cannot be shared by 2 processes"):
        TrainingOrder(ROWS[:1], batch_size=16, seed=3, rank=0, world=2)


def test_each_epoch_has_another_order_and_the_same_epoch_the_same():
    order = TrainingOrder(ROWS, batch_size=16, seed=3)
    first = np.concatenate(list(order))
    order.set_epoch(1)
    second = np.concatenate(list(order))
    order.set_epoch(0)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(np.concatenate(list(order)), first)
    assert len(np.unique(first)) == len(first)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_validation_sees_every_image_exactly_once(world):
    seen = np.concatenate([np.concatenate(list(ValidationOrder(ROWS, batch_size=7, rank=rank, world=world))) for rank in range(world)])
    np.testing.assert_array_equal(np.sort(seen), ROWS)
