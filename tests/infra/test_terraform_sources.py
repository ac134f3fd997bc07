"""The Terraform sources by themselves: formatted, valid, locked, tested with a mocked provider; the page of costs made from them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.infra.terraform import ENVIRONMENTS, MODULES, SOURCES, Root, binary, copied

REPOSITORY = SOURCES.parents[1]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary()
    return copied(tmp_path_factory.mktemp("sources"))


def test_every_file_is_in_the_canonical_format():
    done = subprocess.run([binary(), "fmt", "-check", "-diff", "-recursive", SOURCES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_and_every_module_below_it_is_valid(sources: Path, environment: str):
    folder = sources / "envs" / environment
    root = Root(folder, sources / f"data-{environment}").init()
    root.run("validate", "-no-color")
    # `init` keeps the committed lock file as it is: it knows this platform's provider and says what the others must be.
    assert (folder / ".terraform.lock.hcl").read_text() == (SOURCES / "envs" / environment / ".terraform.lock.hcl").read_text()


def test_an_environment_uses_every_module_so_that_validating_it_validates_them_all():
    used = {
        match[1]
        for path in (SOURCES / "modules").glob("*/*.tf")
        for match in re.finditer(r'source\s*=\s*"\.\./([a-z-]+)"', path.read_text())
    }
    assert used | {"platform"} == set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_pins_what_it_needs_and_describes_every_variable_and_output(module: str):
    folder = SOURCES / "modules" / module
    text = "".join(path.read_text() for path in folder.glob("*.tf"))
    assert 'required_version = ">= 1.11"' in text
    assert 'version = "~> 5.100"' in text
    blocks = re.findall(r'^(?:variable|output) "[a-z_]+" {\n(.*?)^}', text, flags=re.MULTILINE | re.DOTALL)
    assert blocks
    assert all(re.search(r'^  description\s*= "', block, flags=re.MULTILINE) for block in blocks)
    assert not re.search(r'\bsource\s*=\s*"(?!\.\./|hashicorp/aws")', text), "modules of our own only"


@pytest.mark.slow
def test_a_module_that_is_not_valid_is_noticed(sources: Path, tmp_path: Path):
    broken = tmp_path / "terraform"
    shutil.copytree(sources, broken, ignore=shutil.ignore_patterns("data-*"))
    path = broken / "modules" / "network" / "main.tf"
    path.write_text(path.read_text().replace("cidr_block           = var.cidr", "cidr_block           = var.no_such_variable"))
    root = Root(broken / "envs" / "dev", tmp_path / "data").init()
    done = root.run("validate", "-no-color", check=False)
    assert done.returncode == 1
    assert "no_such_variable" in done.stderr


@pytest.mark.slow
def test_the_modules_pass_their_own_tests_with_a_mocked_provider(sources: Path):
    root = Root(sources, sources / "data-tests").init()
    done = root.run("test", "-no-color")
    passed = re.search(r"Success! (\d+) passed, 0 failed", done.stdout)
    assert passed, done.stdout[-3000:]
    assert int(passed[1]) == sum(path.read_text().count('\nrun "') for path in (SOURCES / "tests").glob("*.tftest.hcl"))


def test_the_page_of_costs_is_what_the_sizes_and_prices_say():
    done = subprocess.run([sys.executable, "scripts/cost.py", "--check"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_price_of_every_machine_that_an_environment_may_start_first_is_known(environment: str):
    prices = yaml.safe_load((SOURCES / "prices.yaml").read_text())
    size = yaml.safe_load((SOURCES / "envs" / environment / "size.yaml").read_text())
    pools = [size["cpu_pool"], *size["gpu_pools"].values()]
    assert {pool["instance_types"][0] for pool in pools} <= set(prices["instances"])
    for pool in size["gpu_pools"].values():
        assert prices["instances"][pool["instance_types"][0]]["gpus"] == pool["gpus_per_node"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_budget_is_above_the_estimate_and_not_far_above(environment: str):
    text = (SOURCES / "envs" / environment / "main.tf").read_text()
    budget = float(re.search(r"month_usd\s+= (\d+)", text)[1])
    page = (REPOSITORY / "docs" / "reference" / "cost.md").read_text()
    estimate = float(re.search(rf"## {environment}: .*?\*\*(\d+)\*\*", page, flags=re.DOTALL)[1])
    assert estimate < budget < 2 * estimate
