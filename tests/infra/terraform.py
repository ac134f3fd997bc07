"""Terraform for tests: where it and the AWS provider are, roots in a copy of the tree, commands with their output in the failure."""

import functools
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.infra.aws_double import environment

SOURCES = Path(__file__).resolve().parents[2] / "infra" / "terraform"
MODULES = tuple(sorted(path.name for path in (SOURCES / "modules").iterdir()))
ENVIRONMENTS = tuple(sorted(path.name for path in (SOURCES / "envs").iterdir()))

_PROVIDER = "registry.terraform.io/hashicorp/aws"
_PLACES = ("/opt", "/usr/local", "/usr/share", "/usr/lib", "/var/lib", "/srv")
_DEPTH = 9


def binary() -> str:
    """The terraform on PATH; the test is skipped where there is none."""
    found = shutil.which("terraform")
    if not found:
        pytest.skip("terraform is not installed: https://developer.hashicorp.com/terraform/install, 1.11 or newer, on PATH")
    return found


@functools.cache
def plugin_folder() -> Path | None:
    """The folder for ``-plugin-dir`` that holds the AWS provider on this machine; None: Terraform asks its registry."""
    for place in (*filter(None, [os.environ.get("TF_PLUGIN_CACHE_DIR")]), Path.home() / ".terraform.d", *_PLACES):
        for folder, names, files in os.walk(place):
            depth = len(Path(folder).relative_to(place).parts)
            names[:] = sorted(names) if depth < _DEPTH else []
            if any(file.startswith("terraform-provider-aws_") for file in files) and _PROVIDER in folder:
                return Path(folder.partition(f"/{_PROVIDER}/")[0])
    return None


@dataclass(frozen=True)
class Root:
    """A root module in a folder of its own."""

    folder: Path
    data: Path

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end; a failure shows its output."""
        done = subprocess.run(
            [binary(), *arguments],
            cwd=self.folder,
            env=environment(TF_DATA_DIR=str(self.data), TF_IN_AUTOMATION="1", TF_CLI_CONFIG_FILE=os.devnull),
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            pytest.fail(
                f"terraform {' '.join(arguments)} in {self.folder.name}:\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}", pytrace=False
            )
        return done

    def init(self) -> "Root":
        """Installs the provider; the test is skipped where it is neither on this machine nor to be had from the registry."""
        plugins = plugin_folder()
        done = self.run("init", "-no-color", *([f"-plugin-dir={plugins}"] if plugins else []), check=False)
        if done.returncode and plugins is None and "registry.terraform.io" in done.stderr:
            pytest.skip(f"the AWS provider is not on this machine, and the registry does not answer: {done.stderr.strip()[-300:]}")
        if done.returncode:
            pytest.fail(f"terraform init in {self.folder.name}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}", pytrace=False)
        return self

    def output(self, name: str) -> Any:
        """The value of an output."""
        return json.loads(self.run("output", "-json", name).stdout)


def copied(folder: Path) -> Path:
    """A copy of infra/terraform in ``folder``, so that no test leaves state in the checkout."""
    target = folder / "terraform"
    shutil.copytree(SOURCES, target, ignore=shutil.ignore_patterns(".terraform", "*.tfstate*", "*.tfvars*"))
    return target
