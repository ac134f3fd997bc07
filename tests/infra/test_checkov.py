"""checkov finds nothing in the modules, each exception says why in place, and it would find something."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.infra.terraform import SOURCES

REPOSITORY = SOURCES.parents[1]

pytestmark = pytest.mark.slow


def _checkov(folder: Path) -> subprocess.CompletedProcess[str]:
    if not (REPOSITORY / ".tools" / "checkov" / "bin" / "checkov").is_file():
        pytest.skip("checkov is not installed: scripts/checkov installs it into .tools when it is run first")
    command = [REPOSITORY / "scripts" / "checkov", "-d", folder, "--framework", "terraform"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_checkov_finds_nothing():
    done = _checkov(SOURCES)
    assert done.returncode == 0, done.stdout[-4000:]
    assert int(re.search(r"Passed checks: (\d+), Failed checks: 0", done.stdout)[1]) > 150


def test_checkov_would_find_a_bucket_without_encryption_and_a_public_api_server(tmp_path: Path):
    shutil.copytree(SOURCES / "modules", tmp_path / "modules")
    store, cluster = tmp_path / "modules" / "artifact-store" / "logs.tf", tmp_path / "modules" / "cluster" / "main.tf"
    store.write_text(re.sub(r'resource "aws_s3_bucket_public_access_block" "logs".*?\n}\n', "", store.read_text(), flags=re.DOTALL))
    cluster.write_text(cluster.read_text().replace("= local.public\n", "= true\n"))
    done = _checkov(tmp_path)
    assert done.returncode == 1
    assert {"CKV2_AWS_6", "CKV_AWS_39"} <= set(re.findall(r"CKV2?_AWS_\d+", done.stdout)), done.stdout[-4000:]


def test_every_exception_from_a_check_gives_its_reason():
    skips = [match for path in SOURCES.rglob("*.tf") for match in re.findall(r"checkov:skip=(\S+?):(.*)", path.read_text())]
    marks = sum(path.read_text().count("checkov:skip") for path in SOURCES.rglob("*.tf"))
    assert len(skips) == marks
    assert all(len(reason.split()) >= 5 for _, reason in skips)
