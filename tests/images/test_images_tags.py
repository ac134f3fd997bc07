"""Content tags change with every byte that an image is made of, and with nothing else; the generated files follow them."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts.oci import catalogue
from scripts.oci.__main__ import main
from scripts.oci.catalogue import CATALOGUE, KUSTOMIZATION, NAMES, ROOT, Image, ImagesError, content_tag, sources

TAG = re.compile(r"c-[0-9a-f]{16}")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of everything that images are made of."""
    for path in {path for name in NAMES for path in sources(Image(name))}:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, tmp_path / path)
    return tmp_path


def tags(root: Path) -> dict[str, str]:
    return {name: content_tag(Image(name), root) for name in NAMES}


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_tag_is_the_digest_of_the_sources_wherever_and_whenever_they_were_checked_out(checkout):
    before = tags(checkout)
    assert all(TAG.fullmatch(tag) for tag in before.values())
    assert len(set(before.values())) == len(NAMES)
    for path in checkout.rglob("*"):
        os.utime(path, (0, 0))
    assert tags(checkout) == before


@pytest.mark.parametrize(
    "path",
    [
        ".dockerignore",
        "LICENSE",
        "pyproject.toml",
        "images/install",
        "images/harden",
        "requirements/image-tools.lock",
        "src/sightline/errors.py",
        "src/sightline/report/style.css",
        "components/gate/component.py",
        "pipelines/retrain.py",
    ],
)
def test_one_bit_in_a_shared_source_gives_every_image_another_tag(checkout, path):
    before = tags(checkout)
    flip_a_bit(checkout / path)
    assert not set(before.values()) & set(tags(checkout).values())


@pytest.mark.parametrize("path", ["images/python-train/Dockerfile", "requirements/image-train.lock"])
def test_one_bit_in_an_image_s_own_source_gives_that_image_another_tag(checkout, path):
    before = tags(checkout)
    flip_a_bit(checkout / path)
    after = tags(checkout)
    assert [name for name in NAMES if after[name] != before[name]] == ["train"]


def test_a_new_file_and_a_new_name_count(checkout):
    before = tags(checkout)
    (checkout / "src/sightline/empty.py").touch()
    added = tags(checkout)
    (checkout / "src/sightline/empty.py").rename(checkout / "src/sightline/void.py")
    assert len({before["base"], added["base"], tags(checkout)["base"]}) == 3


def test_what_is_no_part_of_an_image_changes_no_tag(checkout):
    before = tags(checkout)
    for name in ("README.md", "tests/test_x.py", "src/sightline/__pycache__/x.pyc", "pipelines/compiled/retrain.yaml", str(CATALOGUE)):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("x")
    assert tags(checkout) == before


def test_a_missing_source_is_named_with_what_makes_it(checkout):
    (checkout / "requirements/image-base.lock").unlink()
    with pytest.raises(ImagesError, match=r"image-base\.lock is not there; run scripts/lock"):
        content_tag(Image("base"), checkout)
    with pytest.raises(ImagesError, match="scripts/images resolve train --variant cpu"):
        content_tag(Image("train", "cpu"), checkout)


def test_the_catalogue_and_the_kustomize_component_name_the_same_images(checkout):
    references = catalogue.tagged("registry.example.com/vision", checkout)
    assert catalogue.write(references, checkout) == [CATALOGUE, KUSTOMIZATION]
    assert catalogue.stale(references, checkout) == []
    names: dict[str, object] = {}
    exec((checkout / CATALOGUE).read_text(), names)  # noqa: S102 - the module that was just generated
    assert names["CATALOGUE"] == tuple(references.values()) == tuple(names[name.upper()] for name in NAMES)
    text = (checkout / KUSTOMIZATION).read_text()
    for name, reference in references.items():
        repository, _, tag = reference.rpartition(":")
        assert f"  - name: ghcr.io/sightline/python-{name}\n    newName: {repository}\n    newTag: {tag}\n" in text
    assert catalogue.registry_in_use(checkout) == "registry.example.com/vision"


def test_kustomize_replaces_an_image_by_the_generated_component(checkout):
    kustomize = shutil.which("kubectl")
    if kustomize is None:
        pytest.skip("kubectl is not installed; it has kustomize")
    references = catalogue.tagged("registry.example.com/vision", checkout)
    catalogue.write(references, checkout)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "ghcr.io/sightline/python-train"}]},
    }
    folder = checkout / "manifests/overlay"
    folder.mkdir(parents=True)
    (folder / "pod.yaml").write_text(json.dumps(pod))
    (folder / "kustomization.yaml").write_text("resources: [pod.yaml]\ncomponents: [../components/images]\n")
    done = subprocess.run([kustomize, "kustomize", folder], capture_output=True, text=True, check=True)
    assert f"image: {references['train']}\n" in done.stdout


def test_after_a_change_of_a_source_the_generated_files_are_stale(checkout):
    references = catalogue.tagged(catalogue.REGISTRY, checkout)
    catalogue.write(references, checkout)
    flip_a_bit(checkout / "src/sightline/errors.py")
    assert catalogue.stale(catalogue.tagged(catalogue.REGISTRY, checkout), checkout) == [CATALOGUE, KUSTOMIZATION]


def test_images_can_be_pinned_by_the_digests_of_what_was_pushed(checkout):
    digest = "sha256:" + "a" * 64
    entries = {f"python-{name}": {"image": f"r.example/v/python-{name}@{digest}", "tag": tag} for name, tag in tags(checkout).items()}
    lock = checkout / "images.lock.json"
    lock.write_text(json.dumps(entries))
    references = catalogue.pinned(lock, checkout)
    catalogue.write(references, checkout)
    assert f'TRAIN = f"{{_REGISTRY}}/python-train@{digest}"' in (checkout / CATALOGUE).read_text()
    assert (checkout / KUSTOMIZATION).read_text().count(f"    digest: {digest}\n") == 4
    flip_a_bit(checkout / "requirements/image-serve.lock")
    with pytest.raises(ImagesError, match="other sources of serve; build and push"):
        catalogue.pinned(lock, checkout)


def test_a_lock_that_is_not_whole_says_what_is_missing(tmp_path, capsys):
    (tmp_path / "images.lock.json").write_text('{"python-base": {"image": "x"}}')
    assert main(["tags", "--check", "--lock", str(tmp_path / "images.lock.json")]) == 2
    assert "does not name all four images (KeyError: 'tag'); run `scripts/images lock`" in capsys.readouterr().err
