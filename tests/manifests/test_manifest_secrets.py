"""No secret is in the repository, in an argument or in an environment variable."""

import re
import subprocess

import yaml

from tests.manifests.objects import ROOT, pod_templates


def committed() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "manifests"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [path for path in listed if path.endswith((".yaml", ".env", ".example", ".json"))]


def literal_secrets(body) -> bool:
    return body.get("kind") == "Secret" and bool(body.get("data") or body.get("stringData"))


def test_no_committed_file_holds_a_secret():
    for path in committed():
        text = (ROOT / path).read_text()
        if path.endswith(".yaml"):
            assert not [body for body in yaml.safe_load_all(text) if isinstance(body, dict) and literal_secrets(body)], path
        assert not re.search(r"AKIA[0-9A-Z]{16}|-----BEGIN|password=(?!\{\{)\S", text), path


def test_a_committed_secret_would_be_seen():
    assert literal_secrets({"kind": "Secret", "stringData": {"password": "hunter2"}})


def test_prod_renders_no_secret_at_all(prod):
    with_data = [body["metadata"]["name"] for body in prod.of_kind("Secret") if literal_secrets(body)]
    assert with_data == []


def test_secrets_are_mounted_readable_by_the_pods_group_only(overlay):
    for pod in [pod for body in overlay if body["kind"] in ("Deployment", "StatefulSet") for pod in pod_templates(body)]:
        for volume in [volume for volume in pod.spec["volumes"] if "secret" in volume]:
            assert volume["secret"]["defaultMode"] == 0o440, pod.owner


def test_every_secret_that_a_pod_needs_is_made_by_something(overlay):
    made = {(b["metadata"]["namespace"], b["metadata"]["name"]) for b in overlay.of_kind("Secret")}
    made |= {(b["metadata"]["namespace"], b["spec"]["target"]["name"]) for b in overlay.of_kind("ExternalSecret")}
    for pod in [pod for body in overlay for pod in pod_templates(body)]:
        for volume in [volume["secret"] for volume in pod.spec.get("volumes", []) if "secret" in volume]:
            assert volume.get("optional") or (pod.namespace, volume["secretName"]) in made, pod.owner


def test_mlflow_gets_its_password_from_a_file(overlay):
    container = overlay.one("Deployment", "mlflow")["spec"]["template"]["spec"]["containers"][0]
    text = str(container["args"]) + str(container["env"])
    assert "password" not in text.lower()
    assert "?service=mlflow" in text
