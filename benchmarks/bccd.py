"""Three small blood-cell detectors, trained on real microscope images, so that a report about detections can be tried on real answers.

Run: python -m benchmarks.bccd --data DIR --output DIR [--split own] [--models ABC] [--epochs 20] [--seed 7] [--threads 2]

``--data`` is a copy of BCCD (github.com/Shenggan/BCCD_Dataset, MIT): 364 JPEGs of 640 × 480 with Pascal VOC boxes of red cells, white
cells and platelets. It is never part of the product. ``--split official`` judges on the 72 images of its test list; ``--split own`` judges
on about six in ten images, chosen by a hash of the file name, so that there are enough of them for a statistic over images.

Writes to ``--output``: ``truth.json`` (COCO, each image with its ``group`` and its attributes), and per model ``A.json`` (COCO results)
and ``A.pt`` (weights). A is the current model. B and C are retrained from A's weights for longer and with more augmentation; but B's
training labels have lost most platelets, as when a second labelling team was not told about them. So B should be better for cells and
worse for platelets, and C better than A. Measured: 9.4 minutes with one thread on two cores that others kept busy.
"""

import argparse
import contextlib
import io
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.bccd_data import CLASSES, Labelled, SplitName, coco_truth, golden_rows, group_names, read_images, train_rows, xywh

# The network sees half of each image's sides.
REDUCTION = 2
STRIDE = 8
BATCH_SIZE = 8
MAX_DETECTIONS = 100
MIN_SCORE = 0.01


@dataclass(frozen=True)
class Recipe:
    """How one model is trained.

    Attributes:
        warm_from: the model whose weights it starts from; empty: from scratch.
        length: epochs as a multiple of ``--epochs``.
        max_zoom: images are scaled by up to this factor, either way.
        max_light: brightness, contrast and the colours change by up to this share.
        kept_platelets: share of the platelets that are labelled in training.
    """

    warm_from: str = ""
    length: float = 1.0
    max_zoom: float = 1.15
    max_light: float = 0.1
    kept_platelets: float = 1.0


RECIPES = {
    "A": Recipe(),
    "B": Recipe(warm_from="A", length=2.0, max_zoom=1.25, max_light=0.15, kept_platelets=0.2),
    "C": Recipe(warm_from="A", length=2.0, max_zoom=1.25, max_light=0.15),
}


class Residual(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut; the first may halve the size."""

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(num_in, num_out, stride), nn.Conv2d(num_out, num_out, 3, 1, 1, bias=False), nn.BatchNorm2d(num_out))
        same = stride == 1 and num_in == num_out
        self.shortcut = nn.Identity() if same else nn.Sequential(nn.AvgPool2d(stride, ceil_mode=True), nn.Conv2d(num_in, num_out, 1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, out, H / stride, W / stride)."""
        return torch.relu(self.body(x_BCHW) + self.shortcut(x_BCHW))


def _conv(num_in: int, num_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(num_in, num_out, 3, stride, 1, bias=False), nn.BatchNorm2d(num_out), nn.ReLU())


class CentreNet(nn.Module):
    """Per cell of 8 × 8 pixels how likely a centre of each class is, and the box around it.

    Source: Zhou et al., "Objects as Points" (2019); the box is trained around each centre as in Liu et al., "Training-Time-Friendly Network
    for Real-Time Object Detection" (AAAI 2020).
    """

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(3, 16, 2), _conv(16, 32, 2))
        self.at_8 = nn.Sequential(Residual(32, width, 2), Residual(width, width, 1))
        self.at_16 = nn.Sequential(Residual(width, 2 * width, 2), Residual(2 * width, 2 * width, 1))
        self.at_32 = nn.Sequential(Residual(2 * width, 2 * width, 2), Residual(2 * width, 2 * width, 1))
        self.from_32, self.from_16 = nn.Conv2d(2 * width, 2 * width, 1), nn.Conv2d(2 * width, width, 1)
        self.merge = _conv(width, width, 1)
        self.heat, self.box = (nn.Sequential(_conv(width, width, 1), nn.Conv2d(width, num, 1)) for num in (len(CLASSES), 4))
        nn.init.constant_(self.heat[1].bias, -4.0)
        nn.init.normal_(self.box[1].weight, std=0.01)
        # Boxes start as squares of e^1.5 = 4.5 cells, about a small red cell, around the middle of their cell.
        self.box[1].bias.data.copy_(torch.tensor([0.0, 0.0, 1.5, 1.5]))

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, classes, H / 8, W / 8) and boxes (B, 4, H / 8, W / 8), xyxy in input pixels.

        Args:
            images_BCHW: float, in [0, 1]; sides divisible by 8.
        """
        fine = self.at_8(self.stem((images_BCHW - 0.7) * 4))
        middle = self.at_16(fine)
        middle = middle + functional.interpolate(self.from_32(self.at_32(middle)), size=middle.shape[-2:])
        merged = self.merge(fine + functional.interpolate(self.from_16(middle), size=fine.shape[-2:]))
        return self.heat(merged).float(), to_boxes(self.box(merged).float())


def to_boxes(raw_B4HW: Tensor) -> Tensor:
    """Boxes xyxy in input pixels from offsets to the cell's middle and logarithms of sizes, both in cells."""
    rows, columns = (torch.arange(num, device=raw_B4HW.device) + 0.5 for num in raw_B4HW.shape[-2:])
    x, y = raw_B4HW[:, 0] + columns, raw_B4HW[:, 1] + rows[:, None]
    half = raw_B4HW[:, 2:].clamp(max=5.0).exp() / 2
    return torch.stack([x - half[:, 0], y - half[:, 1], x + half[:, 0], y + half[:, 1]], dim=1) * STRIDE


@dataclass(frozen=True)
class Target:
    """What the network should answer for one image: heat (classes, H, W) in [0, 1], boxes (4, H, W), their weights (H, W)."""

    heat: Tensor
    boxes: Tensor
    weights: Tensor


def target(boxes_xyxy: Tensor, labels_n: Tensor, height_cells: int, width_cells: int) -> Target:
    """Gaussians around the cells that hold the centres; each box's weights over its cells sum to one.

    Args:
        boxes_xyxy: (n, 4), in input pixels.
        labels_n: (n,), int64.
        height_cells: rows of the map.
        width_cells: columns of the map.
    """
    heat = torch.zeros(len(CLASSES), height_cells, width_cells)
    if not len(boxes_xyxy):
        return Target(heat, torch.zeros(4, height_cells, width_cells), torch.zeros(height_cells, width_cells))
    centre = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / (2 * STRIDE)
    cell = torch.minimum(centre.floor().clamp(min=0), torch.tensor([width_cells - 1, height_cells - 1]))
    sigma = ((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) / STRIDE * 0.09).clamp(min=0.5)
    dx = (torch.arange(width_cells) - cell[:, :1]) / sigma[:, :1]
    dy = (torch.arange(height_cells) - cell[:, 1:]) / sigma[:, 1:]
    gauss = torch.exp(-(dy[:, :, None] ** 2 + dx[:, None, :] ** 2) / 2)
    for index in range(len(CLASSES)):
        if (labels_n == index).any():
            heat[index] = gauss[labels_n == index].amax(dim=0)
    best, owner = gauss.amax(dim=0), gauss.argmax(dim=0)
    weights = torch.where(best > 0.1, best, 0.0)
    sums = torch.zeros(len(boxes_xyxy)).index_add_(0, owner.flatten(), weights.flatten()).clamp(min=1e-6)
    return Target(heat, boxes_xyxy[owner].permute(2, 0, 1), weights / sums[owner])


def detection_loss(logits: Tensor, boxes: Tensor, targets: Sequence[Target]) -> Tensor:
    """Focal loss of the heat plus generalised IoU loss of the boxes, per object."""
    heat, wanted, weights = (torch.stack([getattr(one, name) for one in targets]) for name in ("heat", "boxes", "weights"))
    is_centre = heat > 0.999
    num = is_centre.sum().clamp(min=1)
    chance = torch.sigmoid(logits)
    hit = functional.logsigmoid(logits) * (1 - chance) ** 2 * is_centre
    miss = functional.logsigmoid(-logits) * chance**2 * (1 - heat) ** 4 * ~is_centre
    return -(hit.sum() + miss.sum()) / num + 2 * ((1 - generalised_iou(boxes, wanted)) * weights).sum() / num


def generalised_iou(first: Tensor, second: Tensor) -> Tensor:
    """Per cell the generalised IoU, in [-1, 1], of boxes (B, 4, H, W) as xyxy.

    Source: Rezatofighi et al., "Generalized Intersection over Union" (CVPR 2019).
    """
    overlap = (torch.minimum(first[:, 2:], second[:, 2:]) - torch.maximum(first[:, :2], second[:, :2])).clamp(min=0).prod(dim=1)
    hull = (torch.maximum(first[:, 2:], second[:, 2:]) - torch.minimum(first[:, :2], second[:, :2])).clamp(min=0).prod(dim=1)
    union = sum((box[:, 2:] - box[:, :2]).prod(dim=1) for box in (first, second)) - overlap
    return overlap / union.clamp(min=1e-6) - (hull - union) / hull.clamp(min=1e-6)


Boxes = tuple[Tensor, Tensor]


def augmented(image: Tensor, boxes: Boxes, recipe: Recipe, rng: np.random.Generator) -> tuple[Tensor, Boxes]:
    """The image (3, H, W), flipped, scaled, shifted and with other light at random; boxes that are mostly outside are left out."""
    height, width = image.shape[-2:]
    zoom = recipe.max_zoom ** rng.uniform(-1, 1)
    flips = rng.choice([-1.0, 1.0], size=2)
    shifts = rng.uniform(-1, 1, size=2) * (abs(1 - zoom) + 0.05)
    # Maps a place in the new image to one in the old, both in [-1, 1].
    matrix = torch.tensor([[flips[0] / zoom, 0, shifts[0]], [0, flips[1] / zoom, shifts[1]]], dtype=torch.float32)
    grid = functional.affine_grid(matrix[None], [1, 3, height, width], align_corners=False)
    image = functional.grid_sample(image[None], grid, padding_mode="reflection", align_corners=False)[0]
    gain = 1 + recipe.max_light * torch.from_numpy(rng.uniform(-1, 1, size=4)).float()
    image = ((image - 0.7) * gain[3] + 0.7 * (gain[:3] * 0.5 + gain[:3].mean() * 0.5)[:, None, None]).clamp(0, 1)
    size = torch.tensor([width, height])
    corners = (boxes[0].view(-1, 2, 2) / size * 2 - 1 - matrix[:, 2]) / matrix.diagonal()
    moved = (corners.sort(dim=1).values + 1) / 2 * size
    cut = torch.minimum(moved.clamp(min=0), size)
    kept = (cut[:, 1] - cut[:, 0]).prod(dim=1) > 0.4 * (moved[:, 1] - moved[:, 0]).prod(dim=1)
    return image, (cut.reshape(-1, 4)[kept], boxes[1][kept])


def small_pixels(image: Labelled) -> Tensor:
    """(3, 240, 320), float, in [0, 1]."""
    pixels = torch.from_numpy(image.pixels).permute(2, 0, 1).float() / 255
    return functional.avg_pool2d(pixels, REDUCTION)


def training_boxes(image: Labelled, recipe: Recipe, rng: np.random.Generator) -> Boxes:
    """The boxes in input pixels as the recipe's labellers gave them."""
    kept = (image.labels_n != CLASSES.index("Platelets")) | (rng.random(len(image.labels_n)) < recipe.kept_platelets)
    return torch.from_numpy(image.boxes_xyxy[kept]) / REDUCTION, torch.from_numpy(image.labels_n[kept])


def batches(images: Sequence[Labelled], recipe: Recipe, rng: np.random.Generator) -> Iterator[Iterator[tuple[Tensor, list[Target]]]]:
    """Epochs without end, each of batches of images and targets."""
    pixels = [small_pixels(image) for image in images]
    labels = [training_boxes(image, recipe, rng) for image in images]
    height_cells, width_cells = (side // STRIDE for side in pixels[0].shape[-2:])

    def epoch() -> Iterator[tuple[Tensor, list[Target]]]:
        order = rng.permutation(len(images))
        for start in range(0, len(order) - BATCH_SIZE + 1, BATCH_SIZE):
            seen = [augmented(pixels[row], labels[row], recipe, rng) for row in order[start : start + BATCH_SIZE]]
            yield torch.stack([image for image, _ in seen]), [target(*boxes, height_cells, width_cells) for _, boxes in seen]

    while True:
        yield epoch()


def train(model: CentreNet, images: Sequence[Labelled], recipe: Recipe, *, num_epochs: int, seed: int) -> CentreNet:
    """The moving average of the model's weights over training with one cycle of the learning rate.

    Args:
        model: is trained in place.
        images: at least one batch of them.
        recipe: labels and augmentation.
        num_epochs: at least 1.
        seed: of labels, order and augmentation.
    """
    rng = np.random.default_rng(seed)
    num_steps = num_epochs * (len(images) // BATCH_SIZE)
    model = model.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=num_steps, pct_start=0.2)
    average = torch.optim.swa_utils.AveragedModel(model, avg_fn=_averaged, use_buffers=True)
    start = time.perf_counter()
    for number, epoch in zip(range(1, num_epochs + 1), batches(images, recipe, rng), strict=False):
        losses = []
        for pixels, targets in epoch:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits, boxes = model(pixels.to(memory_format=torch.channels_last))
            loss = detection_loss(logits, boxes, targets)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
            losses.append(loss.item())
        print(f"  epoch {number}/{num_epochs} loss {np.mean(losses):.3f} ({time.perf_counter() - start:.0f} s)", flush=True)
    trained: CentreNet = average.module
    return trained


def _averaged(average: Tensor, now: Tensor, num_averaged: Tensor | int) -> Tensor:
    # At first over the last quarter of the steps, so that the weights before training are soon forgotten.
    return average + (now - average) * max(0.01, 4 / (4 + int(num_averaged)))


@torch.inference_mode()
def detect(model: CentreNet, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes xyxy (n, 4) in input pixels, class indices and scores in [0, 1] for one image (3, H, W), best first.

    Of neighbouring centres of a class only the best in 3 × 3 cells counts.
    """
    logits, boxes = model.eval()(pixels[None])
    heat = torch.sigmoid(logits[0])
    heat = heat * (functional.max_pool2d(heat, 3, 1, 1) == heat)
    scores, places = heat.flatten().topk(min(MAX_DETECTIONS, heat.numel()))
    scores, places = scores[scores >= MIN_SCORE], places[scores >= MIN_SCORE]
    num_cells = heat.shape[1] * heat.shape[2]
    found = boxes[0].flatten(1)[:, places % num_cells].T
    size = torch.tensor([pixels.shape[2], pixels.shape[1]]).repeat(2)
    inside = torch.minimum(found.clamp(min=0), size)
    # Less than half a pixel would be no box any more after rounding.
    seen = (inside[:, 2:] - inside[:, :2]).amin(dim=1) > 0.5
    return inside[seen], (places // num_cells)[seen], scores[seen]


def coco_results(model: CentreNet, images: Sequence[Labelled]) -> list[dict[str, Any]]:
    """Detections in COCO's format for the images of ``coco_truth(images, …)``, in pixels of the original images."""
    results = []
    for number, image in enumerate(images, 1):
        boxes, labels, scores = detect(model, small_pixels(image))
        for box, label, score in zip(xywh(boxes.numpy() * REDUCTION), labels.tolist(), scores.tolist(), strict=True):
            results.append({"image_id": number, "category_id": label + 1, "bbox": box, "score": round(score, 5)})
    return results


def average_precision(truth: Path, results: Path) -> dict[str, tuple[float, float]]:
    """AP and AP50 by pycocotools, per class and over all."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(truth))
        evaluation = COCOeval(coco, coco.loadRes(str(results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    # (IoU thresholds, recall levels, classes, areas, maximal numbers of detections): all areas, 100 detections.
    # -1 stands for a class without boxes.
    precision = np.ma.masked_less(evaluation.eval["precision"][:, :, :, 0, -1], 0)
    by_class = {name: (_mean(precision[:, :, index]), _mean(precision[0, :, index])) for index, name in enumerate(CLASSES)}
    return {"all": (_mean(precision), _mean(precision[0]))} | by_class


def _mean(values: Any) -> float:
    return float(np.ma.filled(np.ma.mean(values), np.nan))


def run(data: Path, output: Path, *, split: SplitName, models: str, num_epochs: int, seed: int) -> None:
    """Writes the truth, and per model weights and detections; prints the tables."""
    output.mkdir(parents=True, exist_ok=True)
    images = read_images(data)
    groups = group_names(images)
    is_golden = golden_rows(images, groups, split, data)
    golden, names = zip(*((i, g) for i, g, judged in zip(images, groups, is_golden, strict=True) if judged), strict=True)
    training = [image for image, used in zip(images, train_rows(is_golden, groups), strict=True) if used]
    (output / "truth.json").write_text(json.dumps(coco_truth(golden, names)), encoding="utf-8")
    print(f"{split}: {len(golden)} golden images in {len(set(names))} groups, {len(training)} for training", flush=True)
    for name in models:
        recipe = RECIPES[name]
        torch.manual_seed(seed)
        model = CentreNet()
        if recipe.warm_from:
            model.load_state_dict(torch.load(output / f"{recipe.warm_from}.pt", weights_only=True))
        start = time.perf_counter()
        model = train(model, training, recipe, num_epochs=max(1, round(num_epochs * recipe.length)), seed=seed + ord(name))
        seconds = time.perf_counter() - start
        torch.save(model.state_dict(), output / f"{name}.pt")
        (output / f"{name}.json").write_text(json.dumps(coco_results(model, golden)), encoding="utf-8")
        table = average_precision(output / "truth.json", output / f"{name}.json")
        print(
            f"{name} ({seconds:.0f} s): " + ", ".join(f"{who} AP {ap:.3f} AP50 {ap50:.3f}" for who, (ap, ap50) in table.items()), flush=True
        )


def main() -> None:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--split", choices=("own", "official"), default="own")
    parser.add_argument("--models", default="ABC")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2, help="one is faster where other programs keep the cores busy")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    run(given.data, given.output, split=given.split, models=given.models, num_epochs=given.epochs, seed=given.seed)


if __name__ == "__main__":
    main()
