"""The gate's detection check at full size: two detectors, 2 000 images, all images and 20 slices, 2 000 resamples each.

Run: python -m benchmarks.gate_detection [--json] [--quick]. About a minute on two cores. Beside it, in the same run: the values of one
evaluation against pycocotools, and what the same resamples cost when each is evaluated again (a few are timed, the rest is extrapolated).
"""

import argparse
import contextlib
import io
import json
import os
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from sightline.evaluate.coco import Detections, Truth
from sightline.evaluate.detection import Comparison, match, summarise
from sightline.evaluate.matched import match_boxes
from sightline.gate.bootstrap import paired_bootstrap

NUM_CLASSES, OBJECTS_PER_IMAGE, BOXES_PER_IMAGE = 10, 7, 28
NUM_ATTRIBUTES, NUM_VALUES = 5, 4
LIMIT_S = 10.0


def make_truth(num_images: int, rng: np.random.Generator) -> Truth:
    """Images of 640 by 480 pixels with 7 objects each on average; 1 % of them are crowds."""
    image = np.repeat(np.arange(num_images), rng.poisson(OBJECTS_PER_IMAGE, num_images))
    sides = np.exp(rng.normal(4.0, 0.8, (len(image), 2))).clip(8, 300)
    boxes = np.concatenate([rng.uniform(0, 340, (len(image), 2)), sides], axis=1)
    values = rng.integers(NUM_VALUES, size=(NUM_ATTRIBUTES, num_images))
    return Truth(
        image_ids_N=np.arange(num_images),
        files=tuple(f"{row}.jpg" for row in range(num_images)),
        sizes_N2=np.tile([640, 480], (num_images, 1)),
        classes=tuple(f"class {index}" for index in range(NUM_CLASSES)),
        class_ids_C=np.arange(NUM_CLASSES),
        image_M=image,
        class_M=rng.integers(NUM_CLASSES, size=len(image)),
        boxes_xywh_M4=boxes,
        area_M=boxes[:, 2] * boxes[:, 3],
        is_crowd_M=rng.uniform(size=len(image)) < 0.01,
        attributes={f"attribute {number}": tuple(map(str, row)) for number, row in enumerate(values)},
        clusters_N=np.arange(num_images),
    )


def make_detections(truth: Truth, rng: np.random.Generator, *, recall: float) -> Detections:
    """A detector that finds ``recall`` of the objects, some of them twice, and fills up with boxes of low score."""
    found = np.flatnonzero(rng.uniform(size=len(truth.image_M)) < recall)
    found = np.concatenate([found, rng.choice(found, len(found) // 3)])
    near = truth.boxes_xywh_M4[found] * np.exp(rng.normal(0, 0.08, (len(found), 4)))
    extra = max(0, BOXES_PER_IMAGE * len(truth) - len(found))
    far = np.concatenate([rng.uniform(0, 400, (extra, 2)), rng.uniform(8, 200, (extra, 2))], axis=1)
    scores = np.concatenate([rng.beta(4, 2, len(found)), rng.beta(1, 5, extra)])
    image = np.concatenate([truth.image_M[found], rng.integers(len(truth), size=extra)])
    classes = np.concatenate([truth.class_M[found], rng.integers(NUM_CLASSES, size=extra)])
    return Detections(image, classes, np.concatenate([near, far]), scores)


def slices_of(truth: Truth) -> dict[str, np.ndarray]:
    """The images of each value of each attribute, as the gate would slice them."""
    texts = {name: np.array(values) for name, values in truth.attributes.items()}
    return {f"{name}={value}": np.flatnonzero(row == value) for name, row in texts.items() for value in np.unique(row)}


def run_check(truth: Truth, both: tuple[Detections, Detections], num_resamples: int) -> dict[str, Any]:
    """The measured check: matching, then the bootstrap of all images and of each slice."""
    started, cpu_started = time.perf_counter(), time.process_time()
    compared = match(truth, *both)
    matched = time.perf_counter()
    slices = {"all images": np.arange(len(truth)), **slices_of(truth)}
    options = {"margin": 0.02, "alpha": 0.035, "num_resamples": num_resamples, "seed": 7}
    results = {name: paired_bootstrap(compared.ap.subset(rows), truth.clusters_N[rows], **options) for name, rows in slices.items()}
    done, cpu_s = time.perf_counter(), time.process_time() - cpu_started
    lines = {name: {"images": found.num_images, "estimate": found.estimate, "interval": found.interval} for name, found in results.items()}
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    weighted = num_resamples * sum(len(rows) for rows in slices.values())
    times = {"match_s": matched - started, "bootstrap_s": done - matched, "wall_s": done - started, "cpu_s": cpu_s, "peak_rss_mb": peak_mb}
    return {**times, "slices": lines, "num_slices": len(slices) - 1, "images_evaluated": weighted, "compared": compared}


def pycocotools_on(truth: Truth, found: Detections) -> Callable[[], float]:
    """One evaluation by pycocotools, which returns AP; loading is not part of it, nor are object sizes and other limits than 100 boxes."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    quiet = contextlib.redirect_stdout(io.StringIO())
    objects = COCO()
    keys = zip(truth.image_M, truth.class_M, truth.boxes_xywh_M4, truth.area_M, truth.is_crowd_M, strict=True)
    annotations = [
        {"id": m + 1, "image_id": int(i), "category_id": int(c), "bbox": box.tolist(), "area": float(area), "iscrowd": int(crowd)}
        for m, (i, c, box, area, crowd) in enumerate(keys)
    ]
    images = [{"id": row, "width": int(width), "height": int(height)} for row, (width, height) in enumerate(truth.sizes_N2)]
    objects.dataset = {"images": images, "annotations": annotations, "categories": [{"id": index} for index in range(NUM_CLASSES)]}
    rows = np.column_stack([found.image_D, found.boxes_xywh_D4, found.score_D, found.class_D])
    with quiet:
        objects.createIndex()
        detected = objects.loadRes(rows)

    def evaluate() -> float:
        with contextlib.redirect_stdout(io.StringIO()):
            evaluator = COCOeval(objects, detected, "bbox")
            evaluator.params.areaRng, evaluator.params.areaRngLbl, evaluator.params.maxDets = [[0, 1e10]], ["all"], [100]
            evaluator.evaluate()
            evaluator.accumulate()
        precision = evaluator.eval["precision"]
        return float(precision[precision > -1].mean())

    return evaluate


def compare(truth: Truth, both: tuple[Detections, Detections], checked: dict[str, Any]) -> dict[str, Any]:
    """One evaluation of each model beside pycocotools, and the naive cost of all resamples (extrapolated)."""
    once = np.ones((1, len(truth)), dtype=np.float32)
    compared: Comparison = checked["compared"]
    ours = compared.ap.at(once)[0]
    evaluations = [pycocotools_on(truth, found) for found in both]
    started = time.perf_counter()
    theirs = [evaluate() for evaluate in evaluations]
    theirs_s = (time.perf_counter() - started) / 2
    started = time.perf_counter()
    for found in both:
        match_boxes(truth, found)
    compared.ap.at(once)
    ours_s = (time.perf_counter() - started) / 2
    # Naive: every resample of every slice, for both models, evaluated from its boxes.
    naive_s = theirs_s * 2 * checked["images_evaluated"] / len(truth)
    return {
        "max_ap_difference": float(np.abs(ours - theirs).max()),
        "ap": ours.tolist(),
        "pycocotools_s": theirs_s,
        "ours_s": ours_s,
        "ratio_one_evaluation": theirs_s / ours_s,
        "naive_extrapolated_s": naive_s,
        "ratio_naive_extrapolated": naive_s / checked["wall_s"],
    }


def compile_kernels() -> float:
    """Seconds for the first use of the kernels: loading numba and its cache, or compiling."""
    rng = np.random.default_rng(1)
    truth = make_truth(3, rng)
    started = time.perf_counter()
    summarise(truth, make_detections(truth, rng, recall=0.7))
    return time.perf_counter() - started


def show(result: dict[str, Any]) -> None:
    """The same figures for people."""
    check, peer = result["check"], result["peer"]
    print(f"{result['num_images']} images, {check['num_slices']} slices, {result['num_resamples']} resamples each, {result['cores']} cores")
    print(f"  match both models       {check['match_s']:8.2f} s")
    print(f"  bootstrap               {check['bootstrap_s']:8.2f} s")
    print(f"  wall                    {check['wall_s']:8.2f} s   (limit {LIMIT_S:.0f} s at full size, on two free cores)")
    print(f"  processor time          {check['cpu_s']:8.2f} s")
    print(f"  first use of the code   {result['first_use_s']:8.2f} s   (not part of wall; compiles where no cache is)")
    print(f"  peak memory             {check['peak_rss_mb']:8.0f} MB")
    print("one evaluation of one model, beside pycocotools")
    print(f"  largest AP difference   {peer['max_ap_difference']:8.1e}")
    print(f"  pycocotools             {peer['pycocotools_s']:8.2f} s, ours {peer['ours_s']:.2f} s: ×{peer['ratio_one_evaluation']:.1f}")
    print("every resample evaluated again by pycocotools (extrapolated from that one evaluation)")
    print(f"  naive                   {peer['naive_extrapolated_s'] / 3600:8.1f} h: ×{peer['ratio_naive_extrapolated']:.0f}")
    for name, line in list(check["slices"].items())[:4]:
        low, high = line["interval"]
        print(f"  {name:24s} {line['images']:5d} images   AP {line['estimate']:+.4f}   [{low:+.4f}, {high:+.4f}]")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="300 images and 200 resamples, to see that it runs")
    arguments = parser.parse_args()
    num_images, num_resamples = (300, 200) if arguments.quick else (2000, 2000)
    first_use_s = compile_kernels()
    rng = np.random.default_rng(7)
    truth = make_truth(num_images, rng)
    both = (make_detections(truth, rng, recall=0.8), make_detections(truth, rng, recall=0.79))
    checked = run_check(truth, both, num_resamples)
    peer = compare(truth, both, checked)
    del checked["compared"]
    sizes = {"num_images": num_images, "num_resamples": num_resamples, "cores": len(os.sched_getaffinity(0)), "first_use_s": first_use_s}
    result = {**sizes, "check": checked, "peer": peer}
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        show(result)


if __name__ == "__main__":
    main()
