"""Engines, requests and checks, as far as they can be tried without building anything; each check catches what it is for."""

import json
import stat
from pathlib import Path

import pytest

from scripts.oci import build, engine, sbom
from scripts.oci.__main__ import main
from scripts.oci.build import Request
from scripts.oci.catalogue import Image, ImagesError
from scripts.oci.engine import Done, Engine, choose
from scripts.oci.verify import ENVIRONMENT, LABELS, SBOM, USER, Built, config_problems, size_problems

BASE = "docker.io/library/python@sha256:" + "0" * 64


def good_config() -> dict[str, object]:
    labels = {f"org.opencontainers.image.{name}": "x" for name in LABELS}
    labels |= {"org.opencontainers.image.title": "python-base", "org.opencontainers.image.base.name": BASE, "dev.sightline.sbom": SBOM}
    environment = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
    return {"User": USER, "Entrypoint": ["dumb-init", "--"], "WorkingDir": "/opt/sightline", "Env": environment, "Labels": labels}


class Recorder(Engine):
    """An engine whose program is `true`: what it would have been told is kept."""

    def _stream(self, *command: str) -> None:
        told = [option.rpartition("src=")[2] for option in command if option.startswith("--secret=")]
        modes = {Path(path).name: (stat.S_IMODE(Path(path).stat().st_mode), Path(path).read_text()) for path in told}
        TOLD.append((command, modes))


TOLD: list[tuple[tuple[str, ...], dict[str, tuple[int, str]]]] = []


def test_without_an_engine_each_one_is_named_with_its_reason_and_a_way_to_get_one(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ImagesError, match=r"docker: is not installed; podman: is not installed; buildah: is not installed\); get one: `apt-get"
    ):
        choose("auto")


def test_an_engine_that_does_not_answer_is_passed_over(monkeypatch, tmp_path):
    for name, code in (("docker", 1), ("podman", 0)):
        (tmp_path / name).write_text(f"#!/bin/sh\necho 'the daemon sleeps' >&2\nexit {code}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert choose("auto") == Engine("podman")
    with pytest.raises(ImagesError, match="docker: the daemon sleeps"):
        choose("docker")


def test_what_buildah_built_cannot_be_checked_without_podman(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImagesError, match="install podman beside it"):
        _ = Engine("buildah").runner


@pytest.mark.parametrize("base", ["python:3.11", "python:latest", "python@sha256:0", "@sha256:" + "0" * 64, ""])
def test_a_base_that_can_move_is_refused_before_anything_is_built(base):
    with pytest.raises(ImagesError, match="NAME@sha256"):
        build.build(Recorder("podman"), Image("base"), Request(base=base, registry="r.example"))


def test_without_a_base_the_ways_to_one_are_named(monkeypatch, capsys):
    assert main(["build", "--base", ""]) == 2
    assert "run `scripts/images base` first" in capsys.readouterr().err


def test_addresses_reach_a_build_as_secrets_that_only_their_owner_can_read():
    TOLD.clear()
    index, extra = "https://user:pass@index.example/simple", "https://extra.example/simple"
    request = Request(base=BASE, registry="r.example", index=index, extra_index=extra)
    reference = build.build(Recorder("podman"), Image("base"), request)
    command, secrets = TOLD[-1]
    assert reference.startswith("r.example/python-base:c-")
    assert f"--tag={reference}" in command
    assert f"--build-arg=BASE={BASE}" in command
    assert secrets == {"index": (0o600, index), "extra-index": (0o600, extra)}
    assert not any("example/simple" in part for part in command)


def test_docker_is_not_told_what_only_podman_knows():
    TOLD.clear()
    for kind in ("docker", "podman"):
        build.build(Recorder(kind), Image("base"), Request(base=BASE, registry="r.example"))
    docker, podman = (command for command, _ in TOLD)
    assert "--network=host" not in docker
    assert "--network=host" in podman


def test_limits_are_never_higher_than_this_process_may_hand_on(monkeypatch):
    monkeypatch.setattr(engine.resource, "getrlimit", lambda _: (64, 128))
    assert engine._limits() == ["--ulimit=nofile=128:128", "--ulimit=nproc=128:128"]


def test_a_configuration_as_it_should_be_has_no_problem():
    assert config_problems(good_config(), Image("base")) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"User": "root"}, "its user is 'root'"),
        ({"User": ""}, "its user is ''"),
        ({"Entrypoint": None}, "process 1"),
        ({"WorkingDir": "/"}, "working directory"),
        ({"Env": ["HOME=/scratch"]}, "DO_NOT_TRACK is ''"),
        ({"Env": ["AWS_SECRET_ACCESS_KEY=x"]}, "the environment has AWS_SECRET_ACCESS_KEY"),
        ({"Env": ["PIP_INDEX_URL=x"]}, "the environment has PIP_INDEX_URL"),
        ({"Labels": None}, "no label revision"),
        ({"Labels": {"org.opencontainers.image.base.name": "python:3.11"}}, "not recorded by digest"),
        ({"Labels": {"org.opencontainers.image.title": "python-train"}}, "another image's"),
    ],
)
def test_control_a_configuration_that_is_not_is_caught(change, problem):
    assert any(problem in found for found in config_problems({**good_config(), **change}, Image("base")))


def test_an_image_that_has_grown_is_caught():
    assert size_problems(900_000_000, Image("base")) == []
    assert size_problems(9_000_000_000, Image("base")) == ["takes 9000 MB, expected at most 1300"]


class Shelf(Engine):
    """An engine that has one image with a small bill of materials."""

    def run(self, reference, command, **_):
        if command[0] == "cat":
            return Done(
                0, json.dumps({"bomFormat": "CycloneDX", "components": [{"name": "numpy", "licenses": [{"license": {"id": "MIT"}}]}]})
            )
        return Done(0, "libc6\t2.36-9+deb12u14\tamd64\nbase-files\t12.4\tamd64")


def test_a_bill_of_materials_has_the_packages_of_the_base_too(tmp_path):
    built = Built(Shelf("podman"), Image("serve", "gpu"), "r.example/python-serve:c-1-gpu")
    bill = sbom.bill_of(built)
    assert [component["name"] for component in bill["components"]] == ["numpy", "libc6", "base-files"]
    assert bill["components"][1]["purl"] == "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64"
    assert bill["metadata"]["component"]["name"] == built.reference
    assert json.loads(sbom.write(bill, built, tmp_path).read_text()) == bill
    assert [path.name for path in tmp_path.iterdir()] == ["python-serve-gpu.cdx.json"]


@pytest.mark.parametrize(
    ("licence", "refused"),
    [
        ({"license": {"id": "AGPL-3.0-only"}}, True),
        ({"license": {"name": "GPL-2.0"}}, True),
        ({"expression": "MIT AND GPL-3.0-or-later"}, True),
        ({"license": {"id": "LGPL-2.1-only"}}, False),
        ({"license": {"id": "Apache-2.0"}}, False),
        ({"expression": "MIT OR Apache-2.0"}, False),
    ],
)
def test_a_licence_that_asks_something_of_those_who_run_an_image_is_refused(licence, refused):
    found = sbom.licence_problems({"components": [{"name": "x", "licenses": [licence]}, {"name": "y"}]})
    assert bool(found) == refused


def test_what_was_pushed_is_written_down_and_an_image_that_was_not_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("scripts.oci.commands.ROOT", tmp_path)
    assert main(["lock", "--output", str(tmp_path / "images.lock.json")]) == 2
    assert "python-base, python-train, python-compile, python-serve was not pushed" in capsys.readouterr().err
