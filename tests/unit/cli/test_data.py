import yaml
from PIL import Image

from sightline.cli.data import initial_config
from sightline.config.load import load_config


def test_the_first_configuration_is_read_back_with_what_was_found_in_the_images(tmp_path):
    for name in ("good", "bad"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(30):
            Image.new("RGB", (24, 24), (index * 8, 40, 90)).save(tmp_path / "images" / name / f"{name}{index}_exp{index % 3}.jpg")
    text = initial_config(tmp_path / "images")
    (tmp_path / "sightline.yaml").write_text(text)
    config = load_config(tmp_path / "sightline.yaml")
    assert config.ingest.source == str(tmp_path / "images")
    assert "exp" in config.ingest.attributes_from_name
    assert set(yaml.safe_load(text)) == {"ingest", "tune", "train", "gate", "compile", "deploy", "monitor", "store", "cluster"}
    assert "# Passes over the training images." in text
