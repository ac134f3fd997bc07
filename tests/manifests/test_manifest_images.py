"""Every image is one of ours, by content tag or release, or a row of the table of others."""

import re

import pytest
import yaml

from components.images import CATALOGUE
from tests.manifests.objects import ROOT, pod_templates

TABLE = yaml.safe_load((ROOT / "manifests" / "third-party.yaml").read_text())
OTHERS = {f"{row['name']}:{row['tag']}": row for row in TABLE["images"]}


def images(rendered) -> set[str]:
    return {c["image"] for body in rendered for pod in pod_templates(body) for c in pod.containers if c.get("image")}


def strangers(found: set[str]) -> set[str]:
    """The images that nothing accounts for; a digest may follow the tag of a row."""
    return {image for image in found if image not in CATALOGUE and image.partition("@")[0] not in OTHERS}


def test_every_image_is_in_the_catalogue_or_in_the_table(overlay):
    found = images(overlay)
    assert found & set(CATALOGUE)
    assert strangers(found) == set()


def test_an_image_that_nothing_accounts_for_is_seen():
    found = {"docker.io/library/busybox:1.37", "ghcr.io/sightline/python-base:old", "ghcr.io/mlflow/mlflow:v3.17.2"}
    assert strangers(found) == found


def test_every_row_of_images_is_used(overlays):
    used = {image.partition("@")[0] for rendered in overlays.values() for image in images(rendered)}
    assert set(OTHERS) <= used


def test_images_of_others_that_are_pinned_by_tag_only_are_the_ones_in_the_table(overlays):
    """Digests cannot be looked up offline; `pin` in the table says how they are filled in."""
    by_tag = {image for rendered in overlays.values() for image in images(rendered) if "@sha256:" not in image}
    assert by_tag - set(CATALOGUE) == set(OTHERS)
    assert TABLE["pin"]


def test_the_table_says_for_every_operator_what_a_person_needs_to_install_it():
    names = [row["name"] for row in TABLE["operators"]]
    assert len(names) == len(set(names))
    for row in TABLE["operators"]:
        missing = {"version", "source", "namespace", "licence", "why", "minimum_kubernetes", "needed_by", "checked"} - set(row)
        assert not missing, f"{row['name']} has no {missing}"
        assert set(row["needed_by"]) <= {"dev", "prod"}
        if "values" in row:
            assert yaml.safe_load((ROOT / "manifests" / row["values"]).read_text())
        if "kustomize" in row["source"]:
            assert (ROOT / "manifests" / row["source"]["kustomize"] / "kustomization.yaml").is_file()


GROUPS = {
    "argoproj.io": {"argo-workflows", "argo-events"},
    "kueue.x-k8s.io": {"kueue"},
    "external-secrets.io": {"external-secrets"},
    "gateway.networking.k8s.io": {"envoy-gateway"},
    "gateway.envoyproxy.io": {"envoy-gateway"},
    "cert-manager.io": {"cert-manager"},
    "monitoring.coreos.com": {"kube-prometheus-stack"},
    "serving.kserve.io": {"kserve"},
}


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_every_custom_resource_has_its_operator_in_the_table(environment, overlays):
    needed = {row["name"] for row in TABLE["operators"] if environment in row["needed_by"]}
    for body in overlays[environment]:
        group = body["apiVersion"].partition("/")[0] if "/" in body["apiVersion"] else ""
        if group in GROUPS or (re.search(r"\.", group) and not group.endswith(".k8s.io")):
            assert GROUPS[group] <= needed, f"{body['kind']} needs {GROUPS[group]}"


def test_the_clusters_version_is_one_that_every_operator_runs_on():
    version = tuple(int(part) for part in TABLE["kubernetes"].split("."))
    for row in TABLE["operators"]:
        stated = re.fullmatch(r"(\d+)\.(\d+)", row["minimum_kubernetes"])
        assert not stated or tuple(map(int, stated.groups())) <= version, row["name"]


def test_terraform_makes_a_cluster_of_that_version():
    for environment in ("dev", "prod"):
        size = yaml.safe_load((ROOT / "infra" / "terraform" / "envs" / environment / "size.yaml").read_text())
        assert size["kubernetes_version"] == TABLE["kubernetes"]
