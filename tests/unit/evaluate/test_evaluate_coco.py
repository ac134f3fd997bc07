"""COCO files are read strictly: what is wrong is named, all of it, and nothing is guessed."""

import json

import numpy as np
import pytest

from sightline.errors import DataError
from sightline.evaluate import coco
from sightline.evaluate.coco import Detections, Truth, read_detections, read_truth


def instances(**changes):
    """Three images with objects of two classes; ids are neither in order nor from 0."""
    document = {
        "info": {"year": 2026},
        "images": [
            {"id": 30, "file_name": "a/30.png", "width": 100, "height": 80, "group": "clip-1", "light": "day", "floor": 2, "license": 1},
            {"id": 10, "file_name": "10.png", "width": 100, "height": 80, "group": "clip-1", "light": None, "wet": True},
            {"id": 20, "file_name": "20.png", "width": 100, "height": 80, "notes": {"deep": 1}},
        ],
        "categories": [{"id": 7, "name": "dog", "supercategory": "animal"}, {"id": 3, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 30, "category_id": 7, "bbox": [1, 2, 30.5, 40], "area": 900, "iscrowd": 0, "segmentation": []},
            {"id": 2, "image_id": 10, "category_id": 3, "bbox": [-1.5, 0, 10, 10]},
            {"id": 3, "image_id": 20, "category_id": 3, "bbox": [0, 0, 50, 50], "iscrowd": 1},
        ],
    }
    return document | changes


def result(**changes):
    return {"image_id": 10, "category_id": 3, "bbox": [0, 0, 10, 10], "score": 0.5} | changes


def write(path, document):
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


@pytest.fixture
def truth(tmp_path) -> Truth:
    return read_truth(write(tmp_path / "truth.json", instances()))


def refused(read, *arguments) -> DataError:
    with pytest.raises(DataError) as caught:
        read(*arguments)
    return caught.value


def test_truth_is_ordered_by_ids_with_attributes_groups_and_exact_boxes(truth):
    assert truth.image_ids_N.tolist() == [10, 20, 30]
    assert truth.files == ("10.png", "20.png", "a/30.png")
    assert (truth.classes, truth.class_ids_C.tolist()) == (("cat", "dog"), [3, 7])
    assert (truth.image_M.tolist(), truth.class_M.tolist()) == ([2, 0, 1], [1, 0, 0])
    assert truth.boxes_xywh_M4[0].tolist() == [1, 2, 30.5, 40]
    assert truth.boxes_xyxy[0].tolist() == [1, 2, 31.5, 42]
    assert truth.area_M.tolist() == [900, 100, 2500]
    assert truth.is_crowd_M.tolist() == [False, False, True]
    assert truth.attributes == {"floor": ("", "", "2"), "light": ("", "", "day"), "wet": ("true", "", "")}
    assert truth.clusters_N.tolist() == [0, 1, 0]


def test_detections_keep_their_order_and_count_images_without_an_answer(truth, tmp_path):
    rows = [result(image_id=30, category_id=7, score=1), result(image_id=10, score=0.0, segmentation={"counts": "x"})]
    found = read_detections(write(tmp_path / "results.json", rows), truth)
    assert (found.image_D.tolist(), found.class_D.tolist(), found.score_D.tolist()) == ([2, 0], [1, 0], [1.0, 0.0])
    assert found.boxes_xyxy.tolist() == [[0, 0, 10, 10]] * 2
    assert (len(found), found.num_images_without_answer) == (2, 1)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"score": float("nan")}, "score"),
        ({"score": 1.5}, "score: Input should be less than or equal to 1, found 1.5"),
        ({"score": -0.1}, "score"),
        ({"score": "0.5"}, "score"),
        ({"score": True}, "score"),
        ({"bbox": [0, 0, 0, 10]}, "bbox[2]"),
        ({"bbox": [0, 0, 10, -1]}, "bbox[3]"),
        ({"bbox": [0, float("inf"), 10, 10]}, "bbox[1]"),
        ({"bbox": [0, 0, 10]}, "bbox[3]: Field required"),
        ({"bbox": [0, 0, 1e300, 1]}, "bbox[2]"),
        ({"image_id": 99}, "image_id: 99 is not in the truth"),
        ({"category_id": 1}, "category_id: 1 is not in the truth"),
        ({"image_id": "10"}, "image_id"),
    ],
)
def test_a_wrong_value_of_a_detection_is_named(truth, tmp_path, change, problem):
    error = refused(read_detections, write(tmp_path / "results.json", [result(), result(image_id=30), result(**change)]), truth)
    assert error.problems[0].startswith(f"results[2].{problem}")


def test_all_problems_are_counted_and_the_first_twenty_shown(truth, tmp_path):
    error = refused(read_detections, write(tmp_path / "results.json", [result(score=2) for _ in range(30)]), truth)
    assert len(error.problems) == 30
    assert "results[19].score" in str(error)
    assert "and 10 more" in str(error)


def test_problems_are_found_in_every_part_of_a_long_file(truth, tmp_path, monkeypatch):
    monkeypatch.setattr(coco, "ROWS_AT_ONCE", 2)
    rows = [result(), result(), result(), result(score=3), result(score=4)]
    error = refused(read_detections, write(tmp_path / "results.json", rows), truth)
    assert [problem.split(".")[0] for problem in error.problems] == ["results[3]", "results[4]"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not valid JSON"),
        ("[{]", "not valid JSON"),
        ('[{"score": 1, "score": 0}]', "key score is written twice"),
        ("[" * 100_000, "nested too deeply"),
        ("{}", "expected a list"),
        ("null", "expected a list of COCO results, found a null"),
        ("[1" + "0" * 5000 + "]", "not valid JSON"),
        ("[3]", "1 problems"),
    ],
)
def test_what_is_no_list_of_results_is_refused(truth, tmp_path, text, words):
    assert words in str(refused(read_detections, write(tmp_path / "results.json", text), truth))


def test_bytes_that_are_no_text_and_a_missing_file_are_refused(truth, tmp_path):
    (tmp_path / "results.json").write_bytes(b"\xff\xfe[]\x80")
    assert "not valid JSON" in str(refused(read_detections, tmp_path / "results.json", truth))
    assert "cannot be read" in str(refused(read_detections, tmp_path / "absent.json", truth))


def test_too_many_detections_and_too_many_bytes_are_refused(truth, tmp_path, monkeypatch):
    path = write(tmp_path / "results.json", [result() for _ in range(4)])
    with pytest.raises(DataError, match="4 entries, at most 3 are read"):
        read_detections(path, truth, max_detections=3)
    monkeypatch.setattr(coco, "MAX_FILE_BYTES", 10)
    assert "MB are read" in str(refused(read_detections, path, truth))


def test_an_incomplete_prediction_file_is_refused_but_half_of_it_is_accepted(truth, tmp_path):
    # Images 10 and 30 have objects that count; image 20 holds a crowd only.
    assert read_detections(write(tmp_path / "half.json", [result()]), truth).num_images_without_answer == 2
    error = refused(read_detections, write(tmp_path / "none.json", [result(image_id=20)]), truth)
    assert "2 of 2 images with objects have no detection" in str(error)
    assert "no detection" in str(refused(read_detections, write(tmp_path / "empty.json", []), truth))


def test_boxes_as_shares_of_the_image_are_refused(truth, tmp_path):
    rows = [result(bbox=[0.1, 0.1, 0.5, 0.5]), result(image_id=30, bbox=[0, 0, 1, 1])]
    assert "shares of the image" in str(refused(read_detections, write(tmp_path / "results.json", rows), truth))


def changed(key, index, **values):
    document = instances()
    document[key][index] |= values
    return document


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (changed("images", 1, id=30), "image id 30 occurs more than once"),
        (changed("images", 1, file_name="20.png"), "file_name 20.png occurs more than once"),
        (changed("images", 1, file_name="../20.png"), "leaves the image folder"),
        (changed("images", 1, file_name="/etc/20.png"), "leaves the image folder"),
        (changed("images", 1, width=0), "images[1].width"),
        (changed("images", 1, height=1.5), "images[1].height"),
        (changed("images", 1, **{"a=b": 1}), "a name may not contain '='"),
        (changed("categories", 0, id=3), "category id 3 occurs more than once"),
        (changed("categories", 0, name="cat"), "category name cat occurs more than once"),
        (changed("annotations", 0, image_id=5), "annotations[0].image_id: 5 is not in the truth"),
        (changed("annotations", 0, category_id=5), "annotations[0].category_id: 5 is not in the truth"),
        (changed("annotations", 0, bbox=[0, 0, 5, 0]), "annotations[0].bbox[3]"),
        (changed("annotations", 0, area=float("nan")), "annotations[0].area"),
        (changed("annotations", 0, iscrowd=2), "annotations[0].iscrowd"),
        (instances(annotations=[]), "annotations is empty"),
        (instances(categories=None), "categories: expected a list, found nothing"),
        (instances(images={}), "images: expected a list, found a JSON object"),
    ],
)
def test_a_wrong_truth_is_refused_and_the_problem_named(tmp_path, document, problem):
    assert problem in str(refused(read_truth, write(tmp_path / "truth.json", document)))


def test_problems_of_all_parts_of_a_truth_are_reported_at_once(tmp_path):
    document = changed("images", 0, width=-1)
    document["annotations"][1]["bbox"] = None
    document["categories"][0]["name"] = ""
    assert len(refused(read_truth, write(tmp_path / "truth.json", document)).problems) == 3


def test_a_list_instead_of_instances_is_refused(tmp_path):
    assert "expected a COCO instances object, found a list" in str(refused(read_truth, write(tmp_path / "truth.json", [])))


def test_what_is_read_is_what_pycocotools_reads(truth, tmp_path):
    import contextlib
    import io

    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(write(tmp_path / "again.json", instances())))
    for row, box in zip(truth.image_M, truth.boxes_xywh_M4, strict=True):
        annotations = theirs.imgToAnns[int(truth.image_ids_N[row])]
        assert [annotation["bbox"] for annotation in annotations] == [box.tolist()]


def test_no_detections_have_no_boxes():
    none = np.zeros(0, dtype=np.int64)
    assert Detections(none, none, np.zeros((0, 4)), np.zeros(0)).boxes_xyxy.shape == (0, 4)
