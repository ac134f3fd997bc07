import pytest
import yaml

from sightline.config.load import dump_config, load_config
from sightline.config.run import RunConfig
from sightline.errors import UsageError


def write(path, text):
    path.write_text(text)
    return path


def test_without_a_file_the_defaults_are_the_configuration():
    assert load_config(None) == RunConfig()


def test_what_is_dumped_is_read_back_equal(tmp_path):
    config = load_config(None, ["train.lr=0.01", "ingest.slices=[lamp, camera]"])
    assert load_config(write(tmp_path / "s.yaml", dump_config(config))) == config


def test_an_override_wins_over_the_file(tmp_path):
    path = write(tmp_path / "s.yaml", "train: {epochs: 3}")
    assert load_config(path, ["train.epochs=5"]).train.epochs == 5


def test_a_number_in_scientific_notation_is_a_number():
    assert load_config(None, ["train.lr=1e-3"]).train.lr == 1e-3


def test_all_mistakes_are_listed_at_once_with_near_matches(tmp_path):
    path = write(tmp_path / "s.yaml", "train: {epoch: 3, lr: -1}\ngaet: {}\n")
    with pytest.raises(UsageError) as caught:
        load_config(path)
    text = str(caught.value)
    assert "did you mean `train.epochs`?" in text
    assert "did you mean `gate`?" in text
    assert "train.lr" in text
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("override", ["train", "epochs=3", "train.epochs", "train.lr.x=1", "train.epochs=[", "ingest.slices.0.x=1"])
def test_an_override_that_is_not_a_key_and_a_value_is_a_usage_error(override):
    with pytest.raises(UsageError):
        load_config(None, [override])


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "just text"])
def test_a_file_that_is_not_a_mapping_is_a_usage_error(tmp_path, text):
    with pytest.raises(UsageError):
        load_config(write(tmp_path / "s.yaml", text))


def test_a_missing_file_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(UsageError, match="sightline init"):
        load_config(tmp_path / "none.yaml")


def test_every_field_of_every_section_is_described_with_its_unit_or_meaning():
    missing = [
        f"{name}.{key}" for name, section in RunConfig() for key, field in type(section).model_fields.items() if not field.description
    ]
    assert missing == []
    assert yaml.safe_load(dump_config(RunConfig()))
