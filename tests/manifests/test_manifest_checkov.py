"""checkov over the rendered objects; what it is told to skip is written, with the reason, on the object itself."""

import json
import subprocess

import pytest

from tests.manifests.objects import ENVIRONMENTS, ROOT, Rendered

CHECKOV = ROOT / ".tools" / "checkov" / "bin" / "checkov"


def scan(folder, text: str) -> tuple[list[str], int]:
    """The failed checks as ``CKV_… resource``, and how many were skipped."""
    (folder / "rendered.yaml").write_text(text)
    command = [str(ROOT / "scripts" / "checkov"), "--directory", str(folder), "--framework", "kubernetes", "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    found = json.loads(done.stdout)
    return [f"{check['check_id']} {check['resource']}" for check in found["results"]["failed_checks"]], found["summary"]["skipped"]


@pytest.fixture(scope="session")
def checkov():
    if not CHECKOV.exists():
        pytest.skip("checkov is not installed; run `scripts/checkov --version` once")


@pytest.mark.slow
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_checkov_finds_nothing_and_skips_only_what_an_object_explains(environment, checkov, overlays, tmp_path):
    failed, num_skipped = scan(tmp_path, overlays[environment].text)
    assert failed == []
    annotations = [key for body in overlays[environment] for key in body["metadata"].get("annotations", {})]
    assert num_skipped == len([key for key in annotations if key.startswith("checkov.io/skip")])


@pytest.mark.slow
def test_checkov_sees_a_container_that_may_gain_privileges(checkov, prod, tmp_path):
    text = prod.text.replace("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true")
    failed, _ = scan(tmp_path, text)
    assert any(line.startswith("CKV_K8S_20 ") for line in failed)


def test_every_skip_has_a_reason(overlay: Rendered):
    for body in overlay:
        for key, value in body["metadata"].get("annotations", {}).items():
            if key.startswith("checkov.io/skip"):
                assert len(value.partition("=")[2]) > 40, body["metadata"]["name"]
