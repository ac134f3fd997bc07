"""The pages name what there is: pages, files, commands and options."""

import re
import shlex
import subprocess
from functools import cache
from pathlib import Path

import pytest
import typer
import yaml
from typer.core import TyperGroup

from sightline.cli.app import app
from tests.docs.pages import DOCS, ROOT, RUNBOOKS, commands, links

_OPTION = re.compile(r"^--?[a-z][a-z-]*")


@cache
def alerts() -> dict[str, str]:
    """The runbook_url of each alert in the committed rules."""
    found = {}
    for path in sorted((ROOT / "manifests").rglob("*.yaml")):
        for thing in yaml.safe_load_all(path.read_text()) if "PrometheusRule" in path.read_text() else ():
            for group in thing["spec"]["groups"] if thing and thing["kind"] == "PrometheusRule" else ():
                found |= {rule["alert"]: rule["annotations"]["runbook_url"] for rule in group["rules"] if "alert" in rule}
    return found


def problem(words: list[str]) -> str:
    """What does not exist of a command; empty when all of it does."""
    program, *rest = words
    if program == "sightline":
        return _problem_of_ours(rest)
    if program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        return "".join(f"no target {word}" for word in rest if word not in targets and "=" not in word)
    if program.startswith("scripts/"):
        return _problem_of_script(program, rest)
    return ""


def _problem_of_ours(words: list[str]) -> str:
    command, left = typer.main.get_command(app), list(words)
    while isinstance(command, TyperGroup) and left and not left[0].startswith("-"):
        name = left.pop(0)
        if name not in command.commands:
            return f"no command {name}"
        command = command.commands[name]
    known = {"--help", "-h", "--debug"}.union(*((*parameter.opts, *parameter.secondary_opts) for parameter in command.params))
    return "".join(f"no option {option[0]}" for word in left if (option := _OPTION.match(word)) and option[0] not in known)


def _problem_of_script(program: str, words: list[str]) -> str:
    if not (ROOT / program).is_file():
        return f"no script {program}"
    wanted = [option[0] for word in words if (option := _OPTION.match(word))]
    if not wanted:
        return ""
    place = [word for word in words[:1] if not word.startswith("-")] if program == "scripts/images" else []
    said = subprocess.run([ROOT / program, *place, "--help"], capture_output=True, text=True, timeout=60, check=False)
    known = said.stdout + said.stderr + (ROOT / program).read_text()
    return "".join(f"no option {option}" for option in wanted if option not in known)


def split(text: str) -> list[list[str]]:
    """The words of each simple command in a line of shell, without comments."""
    parts: list[list[str]] = [[]]
    for word in shlex.split(text.replace("\\\n", " "), comments=True):
        if word in {"|", "&&", ";"}:
            parts.append([])
        else:
            parts[-1].append(word)
    return [part for part in parts if part]


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", DOCS, ids=page_name)
def test_every_command_in_a_console_block_exists_with_its_options(page: Path) -> None:
    found = [(command.text, problem(part)) for command in commands(page) for part in split(command.text)]
    assert [one for one in found if one[1]] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sightline champion", "no command champion"),
        ("sightline gate explian VERDICT", "no command explian"),
        ("sightline submit sightline.yaml --keys k", "no option --keys"),
        ("sightline --verison", "no option --verison"),
        ("make dmo", "no target dmo"),
        ("scripts/imagse tags", "no script scripts/imagse"),
        ("scripts/schema --chekc", "no option --chekc"),
        ("cat x | sightline rollback --fast", "no option --fast"),
    ],
)
def test_control_a_command_or_option_that_is_not_there_is_found(text: str, said: str) -> None:
    assert "".join(problem(part) for part in split(text)) == said


@pytest.mark.parametrize("page", DOCS, ids=page_name)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    assert [target for target in links(page) if not (page.parent / target).exists()] == []


def test_control_a_link_to_nothing_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[a](page.md#top) [b](gone.md) ![c](c.png) [d](https://example.org/d) [e](#e)\n")
    assert [target for target in links(page) if not (tmp_path / target).exists()] == ["gone.md", "c.png"]


def test_every_alert_names_a_runbook_that_exists_and_the_overview_has_it_beside_the_same_page() -> None:
    assert len(alerts()) >= 14
    rows = re.findall(r"^\| (Sightline.*?): .*\]\((.*?)\) \|$", (RUNBOOKS / "README.md").read_text(), re.MULTILINE)
    overview = {alert: f"docs/runbooks/{target}" for named, target in rows for alert in named.split(", ")}
    assert overview == alerts()
    assert all((ROOT / target).is_file() for target in alerts().values())


def test_every_runbook_is_linked_from_the_overview() -> None:
    assert {page.name for page in RUNBOOKS.glob("*.md")} - {"README.md"} == set(links(RUNBOOKS / "README.md"))


def test_the_overview_explains_every_variable_of_the_pages() -> None:
    texts = [command.text for page in RUNBOOKS.glob("*.md") for command in commands(page)]
    used = set(re.findall(r"\$([A-Z_]+)", "\n".join(texts))) - {"USER"}
    overview = (RUNBOOKS / "README.md").read_text()
    assert len(used) >= 7
    assert [name for name in sorted(used) if f"`${name}`" not in overview and f"export {name}=" not in overview] == []
