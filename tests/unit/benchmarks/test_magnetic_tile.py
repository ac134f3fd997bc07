"""The magnetic tile benchmark on tiny drawn photographs: what it reads, which ones are one tile, what it writes."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import magnetic_tile as tiles
from sightline.errors import DataError
from sightline.evaluate.masks import open_masks
from sightline.evaluate.segmentation import class_overlaps, count_folders


@pytest.fixture(autouse=True)
def one_thread():
    """Threads of a busy machine wait for each other: 29 s instead of 4."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def surface(seed: int) -> np.ndarray:
    """Blocks of grey with a dark bar below the middle, 320 wide and 240 high."""
    pixels = np.kron(np.random.default_rng(seed).integers(120, 230, (12, 16)), np.ones((20, 20))).astype(np.uint8)
    pixels[150:190, 60:260] = 20
    return pixels


def write_tiles(folder: Path) -> Path:
    """Of each class two tiles at three exposures, numbered 20 apart; defects are labelled at the bar."""
    for row, defect in enumerate((*tiles.DEFECTS, tiles.FREE)):
        (folder / defect).mkdir(parents=True)
        (folder / "masks" / defect).mkdir(parents=True)
        for tile in range(2):
            for exposure in (1, 2, 3):
                stem = f"exp{exposure}_num_{(row * 2 + tile) * 1000 + exposure * 20}"
                Image.fromarray((surface(row * 2 + tile) * (0.5 + 0.15 * exposure)).astype(np.uint8)).save(folder / defect / f"{stem}.jpg")
                if defect != tiles.FREE:
                    mask = np.zeros((240, 320), dtype=np.uint8)
                    mask[150:190, 60:260] = 250
                    Image.fromarray(mask).save(folder / "masks" / defect / f"{stem}.png")
    return folder


def photograph(number: int, hash_4: list[int], defect: str = "Free") -> tiles.Photograph:
    pixels = np.zeros((8, 8), dtype=np.uint8)
    return tiles.Photograph(f"exp1_num_{number}", defect, pixels, pixels > 0, np.array(hash_4, dtype=np.uint64))


def test_photographs_and_masks_are_made_smaller_together(tmp_path):
    found = tiles.read_photographs(write_tiles(tmp_path))
    assert len(found) == 36
    assert {one.pixels_HW.shape for one in found} == {one.mask_HW.shape for one in found} == {(192, 256)}
    crack = next(one for one in found if one.defect == "Crack")
    assert crack.mask_HW[125:150, 50:205].all()
    assert crack.mask_HW.sum() == 32 * 160
    assert not any(one.mask_HW.any() for one in found if one.defect == "Free")
    assert (crack.exposure, crack.number) == (1, 4020)


def test_all_that_is_wrong_with_the_data_is_said_at_once(tmp_path):
    write_tiles(tmp_path)
    (tmp_path / "masks" / "Break" / "exp1_num_2020.png").unlink()
    Image.new("L", (10, 10)).save(tmp_path / "masks" / "Fray" / "exp2_num_6040.png")
    (tmp_path / "Free" / "exp1_num_10020.jpg").write_bytes(b"\xff\xd8")
    (tmp_path / "Uneven" / "tile.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="not a usable copy") as error:
        tiles.read_photographs(tmp_path)
    problems = error.value.problems
    assert [problem.split(":")[0] for problem in problems] == [
        "Break/exp1_num_2020.jpg",
        "Fray/exp2_num_6040.jpg",
        "Uneven/tile.jpg",
        "Free/exp1_num_10020.jpg",
    ]
    assert "10 × 10 pixels, expected 320 × 240" in problems[1]


def test_a_tile_is_near_copies_and_similar_photographs_in_a_row():
    first = photograph(1_000, [0, 0, 0, 0])
    later_copy = photograph(90_000, [0b111, 0, 0, 0])
    next_exposure = photograph(90_030, [2**40 - 1, 0, 0, 0])
    other_in_a_row = photograph(90_060, [0, 2**64 - 1, 2**64 - 1, 0])
    similar_far_away = photograph(50_000, [0, 2**40 - 1, 0, 0])
    found = tiles.tile_names([first, later_copy, next_exposure, other_in_a_row, similar_far_away])
    assert found == ["exp1_num_1000"] * 3 + ["exp1_num_90060", "exp1_num_50000"]


def test_no_tile_is_in_both_halves_and_each_class_is_in_both(tmp_path):
    found = tiles.read_photographs(write_tiles(tmp_path))
    names = tiles.tile_names(found)
    half_of = tiles.halves(found, names)
    assert len(set(names)) == 12
    assert len({(name, half) for name, half in zip(names, half_of, strict=True)}) == 12
    assert {(one.defect, half) for one, half in zip(found, half_of, strict=True)} == {
        (defect, half) for defect in (*tiles.DEFECTS, "Free") for half in (0, 1)
    }


def test_masks_move_with_the_photographs():
    pixels = torch.zeros(4, 1, 64, 64)
    pixels[:, :, 10:30, 20:50] = 1.0
    recipe = tiles.Recipe(max_zoom=1.3, max_light=0.0)
    moved, targets = tiles.augmented(pixels, pixels.clone(), recipe, np.random.default_rng(0))
    torch.testing.assert_close(moved, targets)
    assert (moved != pixels).any()


def test_only_the_class_that_labellers_left_out_is_without_masks():
    pixels = np.zeros((128, 128), dtype=np.uint8)
    both = [tiles.Photograph("exp1_num_1", defect, pixels, pixels == 0, np.zeros(4, np.uint64)) for defect in ("Crack", "Fray")]
    sums = tiles.network_target(both, tiles.Recipe(unlabelled="Crack")).sum(dim=(1, 2, 3)).tolist()
    assert sums == [0.0, 128 * 128]


def test_a_right_answer_costs_less_than_a_wrong_one():
    wanted = torch.zeros(2, 8, 8)
    wanted[0, :4] = 1.0
    costs = [float(tiles.overlap_loss(logits, wanted)) for logits in ((wanted - 0.5) * 20, torch.zeros(2, 8, 8), (0.5 - wanted) * 20)]
    assert costs[0] < 0.01 < costs[1] < costs[2]


def test_a_run_writes_masks_that_the_gate_reads_and_counts_alike(tmp_path, capsys):
    data, output = write_tiles(tmp_path / "data"), tmp_path / "out"
    tiles.run(data, output, models=["current", "new"], num_epochs=1, seed=1)
    with (output / "attributes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 36
    assert {row["exposure"] for row in rows} == {"1", "2", "3"}
    folders = [open_masks(output / name, [row["image"] for row in rows], 2) for name in ("truth", "new")]
    background, defect = class_overlaps(count_folders(*folders), "miou").tolist()
    assert f"background IoU {background:.3f}" in capsys.readouterr().out.splitlines()[-1]
    photographs = tiles.read_photographs(data)
    masks = [folders[1].read(f"{one.name}.png") > 0 for one in photographs]
    assert tiles.overlaps(photographs, masks)["defect"][0] == pytest.approx(defect)
    with Image.open(output / "images" / f"{Path(rows[0]['image']).stem}.jpg") as image:
        assert image.size == (256, 192)
