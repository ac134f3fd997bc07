"""The Dockerfiles obey the rules; a rule is worth something only if a Dockerfile that breaks it is caught."""

import subprocess
import sys
from pathlib import Path

import pytest

import components.images
from scripts.oci.catalogue import NAMES, ROOT, Image
from tests.images.dockerfile import problems, unpinned_installs

HADOLINT = Path(sys.executable).with_name("hadolint")
GOOD = (ROOT / Image("base").dockerfile).read_text(encoding="utf-8")
BAD = """FROM python:latest
ADD https://example.org/tool.tar.gz /opt/
RUN apt-get install curl && pip install sightline
RUN cd /opt && sudo make
ENTRYPOINT python3 -m sightline.serve
"""


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HADOLINT, "--no-color", path], capture_output=True, text=True, check=False)


def test_there_is_a_dockerfile_for_each_image_of_the_catalogue_and_no_other():
    named = {reference.rpartition("/")[2].partition(":")[0].partition("@")[0] for reference in components.images.CATALOGUE}
    assert named == {path.parent.name for path in ROOT.glob("images/*/Dockerfile")} == {Image(name).title for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_hadolint_finds_nothing(name):
    done = hadolint(ROOT / Image(name).dockerfile)
    assert (done.returncode, done.stdout) == (0, "")


def test_control_hadolint_finds_what_is_wrong_with_a_bad_dockerfile(tmp_path):
    (tmp_path / "Dockerfile").write_text(BAD)
    done = hadolint(tmp_path / "Dockerfile")
    assert done.returncode == 1
    assert all(rule in done.stdout for rule in ("DL3007", "DL3004", "DL3042", "DL3025"))


@pytest.mark.parametrize("name", NAMES)
def test_a_dockerfile_obeys_our_rules(name):
    text = (ROOT / Image(name).dockerfile).read_text(encoding="utf-8")
    assert problems(text) == []
    assert f"image-{name}" in text
    assert f'title="python-{name}"' in text


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("ARG BASE\nFROM", "ARG BASE=debian:12\nFROM", "does not begin with ARG BASE"),
        ("FROM ${BASE} AS build", "FROM debian:latest AS build", "no digest"),
        ("FROM ${BASE} AS build", "FROM debian:latest AS build", "uses latest"),
        ("USER 65532:65532", "USER sightline", "USER is"),
        ("USER 65532:65532", "USER 0", "USER is"),
        ('CMD ["sightline", "--help"]', "CMD sightline --help", "CMD is"),
        ('"dumb-init", "--single-child", "--"', '"sightline"', "process 1"),
        ("DO_NOT_TRACK=true", "DO_NOT_TRACK=1", "DO_NOT_TRACK"),
        ("COPY src src", "COPY . .", "copies the whole context"),
        ("COPY src src", "ADD https://example.org/x /x", "uses ADD"),
        ("COPY src src", "ARG PIP_INDEX_URL", "PIP_INDEX_URL would be in the history"),
        ("COPY src src", "ENV AWS_SECRET_ACCESS_KEY=x", "AWS_SECRET_ACCESS_KEY would be in the history"),
        ("WORKDIR /opt/sightline", "RUN pip install sightline", "the final stage installs"),
        ("WORKDIR /opt/sightline", "RUN apt-get update && apt-get -y install gcc", "the final stage installs"),
        ("sh /run/harden", "true", "setuid files"),
        ("org.opencontainers.image.revision", "revision", "no label org.opencontainers.image.revision"),
    ],
)
def test_control_a_dockerfile_that_breaks_a_rule_is_caught(old, new, problem):
    assert old in GOOD
    broken = GOOD.replace("images/harden,target=/run/harden", "images/other,target=/run/other") if new == "true" else GOOD
    assert any(problem in found for found in problems(broken.replace(old, new)))


def test_the_build_stage_installs_nothing_without_hashes():
    script = (ROOT / "images/install").read_text(encoding="utf-8")
    assert script.count("--require-hashes") == 2
    assert unpinned_installs(script) == []


def test_control_an_install_without_hashes_is_caught():
    script = (ROOT / "images/install").read_text(encoding="utf-8")
    assert len(unpinned_installs(script.replace("--require-hashes ", ""))) == 2


@pytest.mark.parametrize("name", ["install", "harden"])
def test_the_shell_scripts_parse(name):
    assert subprocess.run(["sh", "-n", ROOT / "images" / name], check=False).returncode == 0
