import pandas as pd
import pytest

from sightline.errors import DataError, UsageError
from sightline.evaluate.tables import attributes_for, read_answers, read_truth


@pytest.fixture
def truth(tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text("image,label,group,site\na.png,cat,g1,north\nb.png,dog,g1,\nc.png,cat,,south\n")
    return read_truth(path)


def answers(tmp_path, text):
    path = tmp_path / "answers.csv"
    path.write_text(text)
    return path


def test_truth_has_labels_groups_and_attributes(truth):
    assert truth.classes == ("cat", "dog")
    assert truth.labels_N.tolist() == [0, 1, 0]
    assert truth.clusters_N[0] == truth.clusters_N[1] != truth.clusters_N[2]
    assert truth.attributes["site"].tolist() == ["north", "", "south"]


def test_answers_come_in_the_order_of_the_truth(tmp_path, truth):
    found = read_answers(answers(tmp_path, "image,label,confidence\nc.png,dog,0.5\na.png,cat,0.9\nb.png,dog,1\n"), truth)
    assert found.predicted_N.tolist() == [0, 1, 1]
    assert found.confidence_N.tolist() == pytest.approx([0.9, 1.0, 0.5])
    assert found.num_invalid == 0


@pytest.mark.parametrize(("cell", "confidence"), [("cat", "nan"), ("cat", "1.5"), ("cat", "-inf"), ("cat", "high"), ("", "0.9")])
def test_an_invalid_answer_is_counted_and_never_right(tmp_path, truth, cell, confidence):
    found = read_answers(answers(tmp_path, f"image,label,confidence\na.png,{cell},{confidence}\nb.png,dog,1\nc.png,bird,1\n"), truth)
    assert found.num_invalid == 1
    assert found.predicted_N.tolist() == [-1, 1, -1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("image,label\na.png,cat\nb.png,dog\n", "no answer for image c.png"),
        ("image,label\na.png,cat\nb.png,dog\nc.png,cat\nd.png,cat\n", "unknown image d.png"),
        ("image,label\na.png,cat\na.png,dog\nb.png,dog\nc.png,cat\n", "named twice: a.png"),
        ("file,label\na.png,cat\n", "no column 'image'"),
        ("image\na.png\nb.png\nc.png\n", "no column 'label'"),
    ],
)
def test_answers_that_do_not_belong_to_the_truth_are_refused(tmp_path, truth, text, says):
    with pytest.raises(DataError) as caught:
        read_answers(answers(tmp_path, text), truth)
    assert says in " ".join([str(caught.value), *caught.value.problems])


def test_a_truth_without_a_label_is_refused(tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text("image,label\na.png,cat\nb.png,\n")
    with pytest.raises(DataError, match="1 images have no label"):
        read_truth(path)


def test_attributes_may_come_from_another_table_but_must_name_every_image(tmp_path, truth):
    path = tmp_path / "more.csv"
    path.write_text("image,line\nb.png,2\na.png,1\nc.png,1\nz.png,9\n")
    assert attributes_for(path, truth.images)[0]["line"].tolist() == ["1", "2", "1"]
    path.write_text("image,line\na.png,1\n")
    with pytest.raises(DataError, match="2 golden images are not in it"):
        attributes_for(path, truth.images)


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"csv or \.parquet"):
        read_truth(tmp_path / "truth.xlsx")


def test_answers_in_other_words_are_refused_since_they_would_make_a_current_model_look_worse_than_it_is(tmp_path, truth):
    with pytest.raises(DataError, match=r"2 of 3 labels are no class of the truth; its classes are cat, dog") as caught:
        read_answers(answers(tmp_path, "image,label\na.png,Cat\nb.png,Dog\nc.png,cat\n"), truth)
    assert caught.value.problems == ("'Cat' (1 images)", "'Dog' (1 images)")


def test_a_class_may_be_called_none(tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text("image,label,site\na.png,None,NA\nb.png,NA,\n")
    found = read_truth(path)
    assert found.classes == ("NA", "None")
    assert found.attributes["site"].tolist() == ["NA", ""]
    assert read_answers(answers(tmp_path, "image,label\na.png,None\nb.png,None\n"), found).predicted_N.tolist() == [1, 1]


def test_numbered_classes_stay_the_same_when_a_missing_answer_turns_them_into_fractions(tmp_path):
    pd.DataFrame({"image": ["a", "b", "c"], "label": [1, 2, 1]}).to_parquet(tmp_path / "truth.parquet")
    pd.DataFrame({"image": ["a", "b", "c"], "label": [1.0, 2.0, None]}).to_parquet(tmp_path / "answers.parquet")
    truth = read_truth(tmp_path / "truth.parquet")
    found = read_answers(tmp_path / "answers.parquet", truth)
    assert truth.classes == ("1", "2")
    assert (found.predicted_N.tolist(), found.num_invalid) == ([0, 1, -1], 1)
