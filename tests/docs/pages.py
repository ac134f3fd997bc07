"""What is on a Markdown page: the commands of its console blocks, and its links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
RUNBOOKS = ROOT / "docs" / "runbooks"
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_STATED = re.compile(r"#.*\bexit code (\d+)")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Command:
    """A command as a page has it.

    Attributes:
        text: what a shell gets, without the prompt.
        exit_code: what the page says behind it (``# exit code 4: …``), else 0.
    """

    text: str

    @property
    def exit_code(self) -> int:
        stated = _STATED.search(self.text)
        return int(stated[1]) if stated else 0


def commands(page: Path) -> list[Command]:
    """The commands in the order of the page; a line that starts with two spaces, or comes after a backslash, goes on with the one before.

    Raises:
        ValueError: a console block has a line that is neither.
    """
    found: list[str] = []
    for block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        first = len(found)
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(line[2:])
            elif len(found) > first and (line.startswith("  ") or found[-1].endswith("\\")):
                found[-1] += f"\n{line}"
            else:
                raise ValueError(f"{page}: in a console block, but no command: {line!r}")
    return [Command(text) for text in found]


def links(page: Path) -> Iterator[str]:
    """The targets of the page's relative links, without the part after ``#``."""
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith(("#", "mailto:")):
            yield target.partition("#")[0]
