"""Two images built for real: from Debian's packages and the locks to a model that answers with a read-only root."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from scripts.oci.catalogue import CATALOGUE, ROOT, Image, content_tag, sources
from scripts.oci.engine import Engine
from scripts.oci.verify import Built, command_problems, file_problems, import_problems, signal_problems, write_problems
from tests.unit.serve.tiny_bundle import write_bundle, write_pictures

SWITCH = "SIGHTLINE_IMAGES"
TOOLS = ("podman", "runc", "mmdebstrap")
NAMES = ("base", "serve")
REGISTRY = "localhost/images-under-test"
REFERENCES = {name: f"{REGISTRY}/python-{name}:{content_tag(Image(name))}" for name in NAMES}
# Asks the running server for its health and one answer, from inside its own network.
CLIENT = """
import json, pathlib, sys, time, urllib.request
from sightline.runtimes.inference import probabilities_of, request_for
url = "http://127.0.0.1:8080/v2/"
for _ in range(300):
    try:
        urllib.request.urlopen(url + "health/ready", timeout=1)
        break
    except OSError:
        time.sleep(0.1)
message = request_for(pathlib.Path(sys.argv[1]).read_bytes())
request = urllib.request.Request(url + "models/sightline/infer", message.body, dict(message.headers))
print(json.dumps(probabilities_of(urllib.request.urlopen(request, timeout=10).read())))
"""
BAD = """FROM {reference}
USER 0
RUN cp /bin/sh /usr/bin/cc && chmod u+s /usr/bin/passwd && chmod a+w /opt/venv/bin && rm -r /opt/venv/lib/python3*/site-packages/scipy
ENTRYPOINT []
"""


def why_not() -> str:
    """Why images cannot be built in this test run; empty when they can."""
    absent = [name for name in TOOLS if shutil.which(name) is None]
    if os.environ.get(SWITCH) != "build":
        return f"several minutes and 8 GB of disk; `{SWITCH}=build` asks for it"
    return f"`apt-get install {' '.join(absent)}` is needed" if absent else ""


pytestmark = [pytest.mark.skipif(bool(why_not()), reason=why_not()), pytest.mark.timeout(2400)]


@pytest.fixture(scope="module", autouse=True)
def store() -> Iterator[None]:
    """What is built here is removed again; the engine's cache stays, with which a second run takes a fraction of the time."""
    yield
    for reference in (*REFERENCES.values(), f"{REGISTRY}/bad:1"):
        subprocess.run(["podman", "rmi", "--force", reference], capture_output=True, check=False)


@pytest.fixture(scope="module")
def built() -> dict[str, Built]:
    """The images, built by the command that a person would use."""
    for command in (["base"], ["build", *NAMES, "--registry", REGISTRY]):
        done = subprocess.run([ROOT / "scripts/images", *command, "--engine", "podman"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return {name: Built(Engine("podman"), Image(name), REFERENCES[name]) for name in NAMES}


@pytest.fixture
def bad(built, tmp_path) -> Built:
    """The base image with what the checks are for."""
    (tmp_path / "Dockerfile").write_text(BAD.format(reference=REFERENCES["base"]))
    Engine("podman").build(tmp_path, tmp_path / "Dockerfile", [f"--tag={REGISTRY}/bad:1"])
    return Built(Engine("podman"), Image("base"), f"{REGISTRY}/bad:1")


@pytest.mark.parametrize("name", NAMES)
def test_an_image_holds_the_sources_that_its_tag_is_of_and_no_other_file_of_ours(built, name):
    program = "import sightline; print(sightline.__path__[0])"
    library = built[name].engine.run(built[name].reference, ["python3", "-c", program]).output
    listing = ["find", "/opt/sightline", library, "-type", "f", "-not", "-name", "*.pyc"]
    done = built[name].engine.run(built[name].reference, listing)
    held = {re.sub(r"^(/opt/sightline|.*/site-packages)/", "", line) for line in done.output.splitlines()}
    meant = {
        path.as_posix().removeprefix("src/")
        for path in sources(Image(name))
        if path.parts[0] in {"src", "components", "pipelines", "LICENSE"}
    }
    assert held - {"sbom.cdx.json"} == meant | {CATALOGUE.as_posix()}


@pytest.mark.parametrize("name", NAMES)
def test_the_bill_of_materials_lists_every_package_of_the_lock_and_of_the_base(built, name):
    bill = json.loads((ROOT / "dist/images" / f"python-{name}.cdx.json").read_text())
    listed = {re.sub(r"[-_.]+", "-", component["name"]).lower() for component in bill["components"]}
    unconditional = re.findall(r"^([a-z0-9-]+)==\S+ \\$", (ROOT / Image(name).lock).read_text(), re.MULTILINE)
    assert len(unconditional) > 80
    assert {*unconditional, "sightline", "libc6", "libpython3-11-stdlib"} <= listed
    assert bill["metadata"]["component"]["name"] == REFERENCES[name]


def test_the_serve_image_answers_with_a_read_only_root_and_ends_well_at_sigterm(built, tmp_path):
    write_bundle(tmp_path / "bundle")
    write_pictures(tmp_path / "pictures", 3)
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755)  # the container's user is another one
    engine, reference = built["serve"].engine, built["serve"].reference
    container = engine.start(reference, [], {tmp_path / "bundle": "/mnt/models", tmp_path / "pictures": "/mnt/pictures"})
    answers = [engine.execute(container, ["python3", "-c", CLIENT, f"/mnt/pictures/{index:04d}.jpg"]) for index in range(3)]
    code = engine.stop(container, grace_s=20)
    assert [answer.code for answer in answers] == [0, 0, 0], answers
    assert [max(range(3), key=json.loads(answer.output).__getitem__) for answer in answers] == [0, 1, 2]
    assert code == 0


def test_control_the_checks_catch_an_image_that_is_not_as_it_should_be(bad):
    files = file_problems(bad)
    assert any("cc" in problem for problem in files)
    assert any("setuid" in problem for problem in files)
    assert any("others may write" in problem for problem in files)
    assert write_problems(bad)
    assert any("scipy" in problem for problem in import_problems(bad))
    assert any("SIGTERM" in problem for problem in signal_problems(bad))
    assert command_problems(bad) == []
