import shutil
import subprocess
from pathlib import Path

import pytest

from tests.manifests.objects import ENVIRONMENTS, ROOT, Rendered

_KUBECTL = "kubectl (1.31 or newer; kustomize is part of it) is not on PATH; it is in your system's packages and in each Kubernetes release"


def copy_of_manifests(folder: Path) -> Path:
    """The manifests and what they include, with an overlay's settings written from the examples; the tree of the checkout stays clean."""
    shutil.copytree(ROOT / "manifests", folder / "manifests", ignore=shutil.ignore_patterns("settings.env", "prices.yaml"))
    (folder / "pipelines").mkdir()
    shutil.copy(ROOT / "pipelines" / "kustomization.yaml", folder / "pipelines")
    shutil.copytree(ROOT / "pipelines" / "compiled", folder / "pipelines" / "compiled")
    overlays = folder / "manifests" / "overlays"
    _plain_argo(overlays)
    for environment in ENVIRONMENTS:
        command = [str(ROOT / "scripts" / "overlay-settings"), environment, "--overlays", str(overlays)]
        subprocess.run(command, input="", check=True, capture_output=True, text=True)
    return folder / "manifests"


def _plain_argo(overlays: Path) -> None:
    """The third overlay: prod as its first lines say that one makes it for plain Argo."""
    shutil.copytree(overlays / "prod", overlays / "prod-argo")
    path = overlays / "prod-argo" / "kustomization.yaml"
    path.write_text(path.read_text().replace("- ../../components/kubeflow", "- ../../components/argo"))


@pytest.fixture(scope="session")
def kubectl() -> str:
    found = shutil.which("kubectl")
    if not found:
        pytest.skip(_KUBECTL)
    return found


@pytest.fixture(scope="session")
def manifests(tmp_path_factory) -> Path:
    return copy_of_manifests(tmp_path_factory.mktemp("manifests"))


@pytest.fixture(scope="session")
def render(kubectl):
    def rendered(folder: Path) -> Rendered:
        done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return Rendered(done.stdout)

    return rendered


@pytest.fixture(scope="session")
def overlays(manifests, render) -> dict[str, Rendered]:
    return {environment: render(manifests / "overlays" / environment) for environment in ENVIRONMENTS}


@pytest.fixture(params=ENVIRONMENTS)
def overlay(request, overlays) -> Rendered:
    return overlays[request.param]


@pytest.fixture
def prod(overlays) -> Rendered:
    return overlays["prod"]


@pytest.fixture
def prod_argo(overlays) -> Rendered:
    return overlays["prod-argo"]


@pytest.fixture
def dev(overlays) -> Rendered:
    return overlays["dev"]
