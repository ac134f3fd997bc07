"""Three small segmenters of defects, trained on real photographs of magnetic tiles: a report about masks can be tried on real answers.

Run: python -m benchmarks.magnetic_tile --data DIR --output DIR [--models current,new,better] [--epochs 16] [--seed 7] [--threads 1]

``--data`` is a copy of the magnetic tiles (Huang, Qiu, Yuan, "Surface defect saliency of magnetic tile", The Visual Computer 2020): one
folder of grey JPEGs per class, and masks of the defects in ``masks/<class>``. It is never part of the product.

Each tile was photographed at up to six exposures, and 1 344 photographs show only about 230 tiles: half of them would be too few for a
statistic over tiles. So every photograph is golden, and each model is two networks, each trained on one half of the tiles and judged on
the other. ``new`` and ``better`` are retrained from ``current`` for as long again, with more augmentation; but the training masks of
``new`` lack the cracks, as when a second labelling team was not told about them.

Writes to ``--output``: ``truth/`` (masks: 0 background, 1 defect), ``images/`` (at most 256 pixels wide and high), ``attributes.csv``, and
per model a folder of predicted masks and a file of weights per half. Measured: 204, 222 and 227 s with one thread each on two cores that
others kept busy. With so few epochs the models are weak (mIoU 0.547, 0.578, 0.561) and none finds cracks (IoU up to 0.013), so that what
``new`` was not taught does not show yet, and ``better`` is not better than ``new``.
"""

import argparse
import csv
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from sightline.data.duplicates import difference_hash, near_groups
from sightline.errors import DataError
from sightline.images import ImageRefusedError, ImageU8, decode

DEFECTS = ("Blowhole", "Break", "Crack", "Fray", "Uneven")
FREE = "Free"
MAX_EDGE_PX = 256
INPUT_EDGE_PX = 128
BATCH_SIZE = 8
# Of 256 bits; the product's default. Alone it makes 679 groups, three of each tile: a change of exposure moves up to 60 bits.
NEAR_BITS = 12
# Photographs of one tile follow each other: 90 % of the numbers of neighbouring exposures are at most 41 apart, 5 % more than 58.
NEAR_NUMBERS, SAME_TILE_BITS = 150, 64


@dataclass(frozen=True)
class Photograph:
    """One tile at one exposure.

    Attributes:
        name: file name without its ending, ``exp<exposure>_num_<number>``.
        defect: its folder: one of ``DEFECTS``, or ``Free``.
        pixels_HW: grey, uint8, at most 256 pixels wide and high.
        mask_HW: True where the tile is defective, of the same shape.
        hash_4: difference hash of the whole photograph.
    """

    name: str
    defect: str
    pixels_HW: ImageU8
    mask_HW: npt.NDArray[np.bool_]
    hash_4: npt.NDArray[np.uint64]

    @property
    def exposure(self) -> int:
        """1 to 6; 0 in three odd files."""
        return int(self.name.removeprefix("exp").split("_")[0])

    @property
    def number(self) -> int:
        """Of the photograph, in the order in which they were taken."""
        return int(self.name.rsplit("_", 1)[-1])


@dataclass(frozen=True)
class Recipe:
    """How one model is trained.

    Attributes:
        warm_from: the model whose weights it starts from; empty: from scratch.
        max_zoom: photographs are scaled by up to this factor, either way.
        max_light: the contrast changes by up to this share, the brightness by up to this many standard deviations.
        unlabelled: the class whose masks are empty in training; none where empty.
    """

    warm_from: str = ""
    max_zoom: float = 1.05
    max_light: float = 0.1
    unlabelled: str = ""


RECIPES = {
    "current": Recipe(),
    "new": Recipe(warm_from="current", max_zoom=1.25, max_light=0.25, unlabelled="Crack"),
    "better": Recipe(warm_from="current", max_zoom=1.25, max_light=0.25),
}


def read_photographs(data: Path) -> list[Photograph]:
    """All photographs, sorted by class and name.

    Raises:
        DataError: a file cannot be decoded, has another name, or a mask that is missing or of another size; all problems at once.
    """
    found, problems = [], []
    for defect in (*DEFECTS, FREE):
        for path in sorted((data / defect).glob("*.jpg")):
            try:
                found.append(_read(path, data / "masks" / defect / f"{path.stem}.png"))
            except (ImageRefusedError, OSError, ValueError) as error:
                problems.append(f"{defect}/{path.name}: {error}")
    if problems or not found:
        raise DataError(f"{data} is not a usable copy of the magnetic tiles", problems=problems or ["no photographs"])
    return found


def _read(path: Path, mask_path: Path) -> Photograph:
    prefix, exposure, infix, number = path.stem[:3], path.stem[3:4], path.stem[4:9], path.stem[9:]
    if (prefix, infix) != ("exp", "_num_") or not (exposure.isdecimal() and number.isdecimal()):
        raise ValueError("expected a name like exp1_num_108719.jpg")
    pixels = decode(path.read_bytes())
    defect = path.parent.name
    mask = np.zeros(pixels.shape[:2], dtype=np.uint8) if defect == FREE else decode(mask_path.read_bytes())[..., 0]
    if mask.shape != pixels.shape[:2]:
        raise ValueError(f"its mask has {mask.shape[1]} × {mask.shape[0]} pixels, expected {pixels.shape[1]} × {pixels.shape[0]}")
    # The masks are grey at their edges.
    return Photograph(path.stem, defect, _smaller(pixels[..., 0]), _smaller(mask) > 127, difference_hash(pixels))


def _smaller(grey_HW: ImageU8) -> ImageU8:
    height, width = grey_HW.shape
    factor = min(1.0, MAX_EDGE_PX / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(np.ascontiguousarray(grey_HW)).resize(size, Image.Resampling.BOX))


def tile_names(photographs: Sequence[Photograph]) -> list[str]:
    """Per photograph the name of the first one of its tile: near copies, and similar photographs with neighbouring numbers.

    The time and memory are quadratic in the number of photographs.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    hashes = np.stack([one.hash_4 for one in photographs])
    numbers = np.array([one.number for one in photographs])
    pairs = list(enumerate(near_groups(hashes, NEAR_BITS).tolist()))
    for row in range(len(photographs) - 1):
        near = np.abs(numbers[row + 1 :] - numbers[row]) <= NEAR_NUMBERS
        alike = np.bitwise_count(hashes[row + 1 :] ^ hashes[row]).sum(axis=1) <= SAME_TILE_BITS
        pairs += [(row, row + 1 + int(other)) for other in np.flatnonzero(near & alike)]
    first, second = np.array(pairs).T
    _, tiles = connected_components(coo_array((np.ones(len(pairs)), (first, second)), shape=(len(photographs),) * 2), directed=False)
    names: dict[int, str] = {}
    return [names.setdefault(int(tile), one.name) for tile, one in zip(tiles, photographs, strict=True)]


def halves(photographs: Sequence[Photograph], tiles: Sequence[str]) -> npt.NDArray[np.int64]:
    """0 or 1 per photograph, the same for all of a tile; each tile goes where its class has fewer photographs, in the order of a hash."""
    class_of = {tile: one.defect for one, tile in zip(reversed(photographs), reversed(tiles), strict=True)}
    half_of: dict[str, int] = {}
    for defect in (*DEFECTS, FREE):
        sizes = [0, 0]
        own = [tile for tile in class_of if class_of[tile] == defect]
        for tile in sorted(own, key=lambda tile: hashlib.sha256(tile.encode()).digest()):
            half_of[tile] = int(sizes[1] < sizes[0])
            sizes[half_of[tile]] += tiles.count(tile)
    return np.array([half_of[tile] for tile in tiles])


class UNet(nn.Module):
    """Logits of "defective" per pixel, from grey photographs.

    Source: Ronneberger, Fischer, Brox, "U-Net" (MICCAI 2015), with few channels, and nearest-neighbour enlargement on the way up.
    Blocks of 2 × 2 pixels are one place with four channels, both in the input and in the answer: twice as fast.
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 48, 64)) -> None:
        super().__init__()
        self.down = nn.ModuleList(_stage(num_in, num_out) for num_in, num_out in zip((4, *widths), widths, strict=False))
        self.up = nn.ModuleList(_stage(below + beside, beside) for below, beside in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.last = nn.Conv2d(widths[0], 4, 1)

    def forward(self, x_B1HW: Tensor) -> Tensor:
        """(B, H, W).

        Args:
            x_B1HW: float, of zero mean and unit deviation; sides divisible by 16.
        """
        kept = [self.down[0](functional.pixel_unshuffle(x_B1HW, 2))]
        for stage in self.down[1:]:
            kept.append(stage(functional.max_pool2d(kept[-1], 2)))
        x = kept.pop()
        for stage in self.up:
            x = stage(torch.cat([functional.interpolate(x, scale_factor=2.0), kept.pop()], dim=1))
        logits: Tensor = functional.pixel_shuffle(self.last(x), 2)[:, 0].float()
        return logits


def _stage(num_in: int, num_out: int) -> nn.Sequential:
    def layer(num: int) -> list[nn.Module]:
        return [nn.Conv2d(num, num_out, 3, padding=1, bias=False), nn.BatchNorm2d(num_out), nn.ReLU()]

    return nn.Sequential(*layer(num_in), *layer(num_out))


def network_input(photographs: Sequence[Photograph]) -> Tensor:
    """(N, 1, 128, 128), float: each photograph of zero mean and unit deviation, so that exposures look alike."""
    size = (INPUT_EDGE_PX, INPUT_EDGE_PX)
    small = [np.asarray(Image.fromarray(one.pixels_HW).resize(size, Image.Resampling.BILINEAR)) for one in photographs]
    pixels = torch.from_numpy(np.stack(small)).float()[:, None]
    deviation, mean = torch.std_mean(pixels, dim=(1, 2, 3), keepdim=True)
    return (pixels - mean) / (deviation + 1.0)


def network_target(photographs: Sequence[Photograph], recipe: Recipe) -> Tensor:
    """(N, 1, 128, 128), float: the defective share of each pixel, as the recipe's labellers saw it."""
    size = (INPUT_EDGE_PX, INPUT_EDGE_PX)
    masks = [one.mask_HW & (one.defect != recipe.unlabelled) for one in photographs]
    small = [np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)) for mask in masks]
    return torch.from_numpy(np.stack(small)).float()[:, None] / 255


def augmented(pixels_B1HW: Tensor, targets_B1HW: Tensor, recipe: Recipe, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Both, flipped, scaled and shifted alike at random; the photographs with other light too."""
    num = len(pixels_B1HW)
    zoom = recipe.max_zoom ** rng.uniform(-1, 1, size=num)
    matrices = np.zeros((num, 2, 3))
    matrices[:, 0, 0], matrices[:, 1, 1] = rng.choice([-1.0, 1.0], size=(2, num)) / zoom
    matrices[:, :, 2] = rng.uniform(-1, 1, size=(num, 2)) * (np.abs(1 - zoom) + 0.02)[:, None]
    grid = functional.affine_grid(torch.from_numpy(matrices).float(), list(pixels_B1HW.shape), align_corners=False)
    both = torch.cat([pixels_B1HW, targets_B1HW], dim=1)
    pixels, targets = functional.grid_sample(both, grid, padding_mode="reflection", align_corners=False).split(1, dim=1)
    gain, offset = torch.from_numpy(rng.uniform(-1, 1, size=(2, num, 1, 1, 1))).float() * recipe.max_light
    return pixels * (1 + gain) + offset, targets


def overlap_loss(logits_BHW: Tensor, targets_BHW: Tensor) -> Tensor:
    """Cross-entropy, in which defective pixels weigh three times as much, plus one minus the Dice coefficient of the whole batch."""
    chance = torch.sigmoid(logits_BHW)
    dice = (2 * (chance * targets_BHW).sum() + 1) / (chance.sum() + targets_BHW.sum() + 1)
    return functional.binary_cross_entropy_with_logits(logits_BHW, targets_BHW, pos_weight=torch.tensor(3.0)) + 1 - dice


def train(model: UNet, photographs: Sequence[Photograph], recipe: Recipe, *, num_epochs: int, seed: int) -> UNet:
    """The model, trained in place with one cycle of the learning rate on all defective photographs and as many others per epoch.

    Args:
        model: is trained in place.
        photographs: at least one of them defective.
        recipe: masks and augmentation.
        num_epochs: at least 1.
        seed: of order and augmentation.
    """
    rng = np.random.default_rng(seed)
    pixels, targets = network_input(photographs), network_target(photographs, recipe)
    is_free = np.array([one.defect == FREE for one in photographs])
    defective, free = np.flatnonzero(~is_free), np.flatnonzero(is_free)
    rows = [np.concatenate([defective, rng.permutation(free)[: len(defective)]]) for _ in range(num_epochs)]
    num_steps = num_epochs * -(-len(rows[0]) // BATCH_SIZE)
    model = model.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.5e-3, total_steps=num_steps, pct_start=0.2)
    start = time.perf_counter()
    for number, epoch in enumerate(rows, 1):
        losses = []
        for batch in np.array_split(rng.permutation(epoch), -(-len(epoch) // BATCH_SIZE)):
            seen, wanted = augmented(pixels[batch], targets[batch], recipe, rng)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = model(seen.to(memory_format=torch.channels_last))
            loss = overlap_loss(logits, wanted[:, 0])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(f"  epoch {number}/{num_epochs} loss {np.mean(losses):.3f} ({time.perf_counter() - start:.0f} s)", flush=True)
    return model


@torch.inference_mode()
def predict(model: UNet, photographs: Sequence[Photograph]) -> list[npt.NDArray[np.bool_]]:
    """Per photograph where the model sees a defect, in the shape of its mask."""
    model.eval()
    found = []
    for pixels, one in zip(network_input(photographs), photographs, strict=True):
        logits = functional.interpolate(model(pixels[None])[None], size=one.mask_HW.shape, mode="bilinear", align_corners=False)
        found.append(logits[0, 0].numpy() > 0)
    return found


def overlaps(photographs: Sequence[Photograph], masks: Sequence[npt.NDArray[np.bool_]]) -> dict[str, tuple[float, float]]:
    """IoU and Dice: of the defects, of the background, and their mean, over all pixels; and of the defects on each class's photographs.

    NaN for a class without a pixel that is, or is called, defective.
    """
    pairs = [(one.mask_HW, mask) for one, mask in zip(photographs, masks, strict=True)]
    counts = np.array([[(t & p).sum(), t.sum(), p.sum(), t.size] for t, p in pairs])
    classes = np.array([one.defect for one in photographs])
    hits, truth, predicted, total = counts.sum(axis=0).tolist()
    table = {"defect": _overlap(hits, truth, predicted)}
    table["background"] = _overlap(total - truth - predicted + hits, total - truth, total - predicted)
    table["mean"] = tuple(np.mean([table["defect"], table["background"]], axis=0).tolist())
    return table | {name: _overlap(*counts[classes == name, :3].sum(axis=0).tolist()) for name in DEFECTS}


def _overlap(hits: int, truth: int, predicted: int) -> tuple[float, float]:
    whole = truth + predicted
    return (hits / (whole - hits), 2 * hits / whole) if whole else (float("nan"), float("nan"))


def write_golden(photographs: Sequence[Photograph], tiles: Sequence[str], output: Path) -> None:
    """Masks, photographs, and a table of them: its ``group`` is the tile."""
    write_masks(photographs, [one.mask_HW for one in photographs], output / "truth")
    (output / "images").mkdir(exist_ok=True)
    with (output / "attributes.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "group", "defect", "exposure"])
        for one, tile in zip(photographs, tiles, strict=True):
            Image.fromarray(one.pixels_HW).save(output / "images" / f"{one.name}.jpg", quality=92)
            table.writerow([f"{one.name}.png", tile, one.defect, one.exposure])


def write_masks(photographs: Sequence[Photograph], masks: Sequence[npt.NDArray[np.bool_]], folder: Path) -> None:
    """One 8-bit PNG per photograph: 0 background, 1 defect."""
    folder.mkdir(exist_ok=True)
    for one, mask in zip(photographs, masks, strict=True):
        Image.fromarray(mask.astype(np.uint8)).save(folder / f"{one.name}.png")


def run(data: Path, output: Path, *, models: Sequence[str], num_epochs: int, seed: int) -> None:
    """Writes the golden set, and per model weights and masks; prints the tables."""
    output.mkdir(parents=True, exist_ok=True)
    photographs = read_photographs(data)
    tiles = tile_names(photographs)
    half_of = halves(photographs, tiles)
    write_golden(photographs, tiles, output)
    num_defective = sum(one.defect != FREE for one in photographs)
    print(f"{len(photographs)} golden photographs of {len(set(tiles))} tiles, {num_defective} of them with defects", flush=True)
    for name in models:
        recipe, start = RECIPES[name], time.perf_counter()
        found: dict[str, npt.NDArray[np.bool_]] = {}
        for half in (0, 1):
            learned, judged = ([photographs[row] for row in np.flatnonzero(side)] for side in (half_of != half, half_of == half))
            torch.manual_seed(seed)
            model = UNet()
            if recipe.warm_from:
                model.load_state_dict(torch.load(output / f"{recipe.warm_from}-{half}.pt", weights_only=True))
            train(model, learned, recipe, num_epochs=num_epochs, seed=seed + 100 * half + list(RECIPES).index(name))
            torch.save(model.state_dict(), output / f"{name}-{half}.pt")
            found |= {one.name: mask for one, mask in zip(judged, predict(model, judged), strict=True)}
        masks = [found[one.name] for one in photographs]
        write_masks(photographs, masks, output / name)
        table = ", ".join(f"{who} IoU {iou:.3f} Dice {dice:.3f}" for who, (iou, dice) in overlaps(photographs, masks).items())
        print(f"{name} ({time.perf_counter() - start:.0f} s): {table}", flush=True)


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--models", default=",".join(RECIPES), help="comma-separated; those trained from current need its weights")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    run(given.data, given.output, models=given.models.split(","), num_epochs=given.epochs, seed=given.seed)


if __name__ == "__main__":
    main()
