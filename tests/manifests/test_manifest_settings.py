"""scripts/overlay-settings: Terraform's outputs become what the overlays are rendered with; secrets stay on the machine."""

import json
import subprocess

import pytest

from tests.manifests.conftest import copy_of_manifests
from tests.manifests.objects import ROOT

SCRIPT = ROOT / "scripts" / "overlay-settings"
OUTPUTS = {
    "settings": {
        "value": {
            "bucket": "vision-bucket",
            "region": "eu-west-1",
            "vpc_cidr": "10.77.0.0/16",
            "mlflow_database_host": "db.internal",
            "mlflow_database_port": "6432",
            "mlflow_database_name": "tracking",
            "mlflow_database_secret": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:rds!db-1",
            "role_arn_sightline_train": "arn:aws:iam::123456789012:role/train",
        }
    },
    "prices": {"value": {"currency": "USD", "pools": {"cpu": {"per_hour": 0.4, "spot_per_hour": 0.1, "gpus": 0}}}},
}


def run(environment, overlays, text=""):
    command = [str(SCRIPT), environment, "--overlays", str(overlays)]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


@pytest.fixture
def overlays_folder(tmp_path):
    return copy_of_manifests(tmp_path) / "overlays"


def settings(overlays, environment):
    lines = (overlays / environment / "settings" / "settings.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_terraforms_outputs_reach_every_object(overlays_folder, render):
    assert run("prod", overlays_folder, json.dumps(OUTPUTS)).returncode == 0
    rendered = render(overlays_folder / "prod")
    environment = {
        e["name"]: e.get("value") for e in rendered.one("Deployment", "mlflow")["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert environment["ARTIFACTS"] == "s3://vision-bucket/mlflow"
    assert (environment["PGHOST"], environment["PGPORT"], environment["PGDATABASE"]) == ("db.internal", "6432", "tracking")
    assert environment["PGSSLMODE"] == "require"
    assert rendered.one("ConfigMap", "kfp-launcher")["data"]["defaultPipelineRoot"] == "s3://vision-bucket/kfp"
    assert rendered.one("SecretStore", "aws")["spec"]["provider"]["aws"]["region"] == "eu-west-1"
    keys = {entry["remoteRef"]["key"] for entry in rendered.one("ExternalSecret", "mlflow-database")["spec"]["data"]}
    assert keys == {OUTPUTS["settings"]["value"]["mlflow_database_secret"]}
    runtime = {e["name"]: e["value"] for e in rendered.one("ServingRuntime", "sightline")["spec"]["containers"][0]["env"]}
    assert runtime == {"SERVED_LOG": "s3://vision-bucket/served", "AWS_REGION": "eu-west-1"}
    assert rendered.one("NetworkPolicy", "mlflow-to-database")["spec"]["egress"][0]["to"][0]["ipBlock"]["cidr"] == "10.77.0.0/16"


def test_the_prices_file_is_the_librarys(overlays_folder, render, tmp_path):
    from sightline.report.cost import read_prices

    run("prod", overlays_folder, json.dumps(OUTPUTS))
    text = render(overlays_folder / "prod").one("ConfigMap", "sightline-prices")["data"]["prices.yaml"]
    (tmp_path / "prices.yaml").write_text(text)
    assert read_prices(str(tmp_path / "prices.yaml"))


def test_what_a_person_typed_in_survives(overlays_folder):
    path = overlays_folder / "prod" / "settings" / "settings.env"
    path.write_text(path.read_text().replace("serving_domain=models.example.com", "serving_domain=vision.acme.example"))
    run("prod", overlays_folder, json.dumps(OUTPUTS))
    assert settings(overlays_folder, "prod")["serving_domain"] == "vision.acme.example"
    assert settings(overlays_folder, "prod")["bucket"] == "vision-bucket"


def test_only_what_the_overlay_uses_is_written(overlays_folder):
    run("prod", overlays_folder, json.dumps(OUTPUTS))
    assert "role_arn_sightline_train" not in settings(overlays_folder, "prod")


def test_a_second_call_changes_nothing(overlays_folder):
    run("dev", overlays_folder)
    before = {path: path.read_bytes() for path in (overlays_folder / "dev").rglob("*") if path.is_file()}
    again = run("dev", overlays_folder)
    assert again.stdout == ""
    assert {path: path.read_bytes() for path in (overlays_folder / "dev").rglob("*") if path.is_file()} == before


def test_passwords_are_random_and_are_not_printed(overlays_folder):
    password = (overlays_folder / "dev" / "secrets" / "password").read_text()
    for name in ("password", "pg_service.conf"):
        (overlays_folder / "dev" / "secrets" / name).unlink()
    done = run("dev", overlays_folder)
    other = (overlays_folder / "dev" / "secrets" / "password").read_text()
    assert len(other) >= 32
    assert other != password
    assert other not in done.stdout + done.stderr
    assert f"password={other}\n" in (overlays_folder / "dev" / "secrets" / "pg_service.conf").read_text()
    assert (overlays_folder / "dev" / "secrets" / "password").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["not json", "[]", '{"settings": 1}'])
def test_other_input_is_refused_with_what_was_expected(text, overlays_folder):
    done = run("prod", overlays_folder, text)
    assert done.returncode == 2
    assert "terraform output -json" in done.stderr


def test_an_overlay_without_settings_says_which_file_is_missing(overlays_folder, kubectl):
    (overlays_folder / "prod" / "settings" / "settings.env").unlink()
    done = subprocess.run([kubectl, "kustomize", str(overlays_folder / "prod")], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "settings.env" in done.stderr


def test_git_ignores_what_belongs_to_one_cluster():
    written = ["dev/settings/settings.env", "prod/settings/settings.env", "prod/settings/prices.yaml"]
    written += [f"dev/secrets/{name}" for name in ("password", "pg_service.conf", "credentials", "storage.env")]
    paths = [f"manifests/overlays/{name}" for name in written]
    ignored = subprocess.run(["git", "check-ignore", *paths], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    assert ignored == paths


def test_the_settings_that_terraform_gives_are_the_ones_that_the_overlay_reads():
    """Names agree across the two folders; what only a person knows is listed."""
    text = (ROOT / "infra" / "terraform" / "modules" / "platform" / "outputs.tf").read_text()
    example = (ROOT / "manifests" / "overlays" / "prod" / "settings" / "settings.env.example").read_text().splitlines()
    names = {line.split("=")[0] for line in example}
    by_hand = {"serving_domain"}
    assert [name for name in sorted(names - by_hand) if f" {name} " not in text.replace("=", " = ")] == []


def test_an_unknown_overlay_is_refused_with_the_ones_that_exist(overlays_folder):
    done = run("production", overlays_folder)
    assert done.returncode == 2
    assert "dev, prod" in done.stderr
