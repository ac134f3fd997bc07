"""checkov over the rendered objects; what it is told to skip is written, with the reason, on the object itself."""

import json
import subprocess

import pytest
import yaml

from tests.manifests.objects import ROOT, Rendered

CHECKOV = ROOT / ".tools" / "checkov" / "bin" / "checkov"


def scan(folder, texts: dict[str, str]) -> tuple[list[str], int]:
    """The failed checks as ``CKV_… resource``, and how many were skipped."""
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    command = [str(ROOT / "scripts" / "checkov"), "--directory", str(folder), "--framework", "kubernetes", "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    found = json.loads(done.stdout)
    return [f"{check['check_id']} {check['resource']}" for check in found["results"]["failed_checks"]], found["summary"]["skipped"]


@pytest.fixture(scope="session")
def checkov():
    if not CHECKOV.exists():
        pytest.skip("checkov is not installed; run `scripts/checkov --version` once")


@pytest.mark.slow
def test_checkov_finds_nothing_and_skips_only_what_an_object_explains(checkov, overlays, tmp_path):
    failed, num_skipped = scan(tmp_path, {environment: rendered.text for environment, rendered in overlays.items()})
    assert failed == []
    annotations = [key for rendered in overlays.values() for body in rendered for key in body["metadata"].get("annotations", {})]
    assert num_skipped == len([key for key in annotations if key.startswith("checkov.io/skip")])


@pytest.mark.slow
def test_checkov_sees_a_container_that_may_gain_privileges(checkov, prod, tmp_path):
    body = prod.one("Deployment", "mlflow")
    body["spec"]["template"]["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    failed, _ = scan(tmp_path, {"mlflow": yaml.safe_dump(body)})
    assert "CKV_K8S_20 Deployment.sightline-tracking.mlflow" in failed


def test_every_skip_has_a_reason(overlay: Rendered):
    for body in overlay:
        for key, value in body["metadata"].get("annotations", {}).items():
            if key.startswith("checkov.io/skip"):
                assert len(value.partition("=")[2]) > 40, body["metadata"]["name"]
