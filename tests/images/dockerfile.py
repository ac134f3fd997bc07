"""Dockerfiles as data, and the rules that ours obey."""

import json
import re
from dataclasses import dataclass

_SECRET = re.compile(r"(PASSWORD|SECRET|TOKEN|ACCESS_KEY|CREDENTIAL|INDEX)", re.IGNORECASE)
_INSTALLS = re.compile(r"\b(pip3?|uv|apt|apt-get|apk|dnf|conda)\b[^&|;\n]*\b(install|add|sync)\b")
_FROM = re.compile(r"(\$\{BASE\}|[^\s@]+@sha256:[0-9a-f]{64})( AS \w+)?")
_TELEMETRY = ("DO_NOT_TRACK=true", "MLFLOW_DISABLE_TELEMETRY=true", "RAY_USAGE_STATS_ENABLED=0", "HOME=/scratch", "TMPDIR=/scratch")


@dataclass(frozen=True)
class Instruction:
    """One instruction with its continuation lines joined."""

    word: str
    rest: str


def parse(text: str) -> list[Instruction]:
    """The instructions of a Dockerfile, comments left out."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    split = (line.strip().partition(" ") for line in joined.splitlines() if line.strip())
    return [Instruction(word.upper(), rest.strip()) for word, _, rest in split]


def final_stage(instructions: list[Instruction]) -> list[Instruction]:
    """The instructions from the last FROM on."""
    last = max(index for index, instruction in enumerate(instructions) if instruction.word == "FROM")
    return instructions[last:]


def problems(text: str) -> list[str]:
    """Every rule that a Dockerfile breaks."""
    instructions = parse(text)
    final = final_stage(instructions)
    return [*_sources(instructions), *_contents(instructions), *_process(final), *_installers(final)]


def _sources(instructions: list[Instruction]) -> list[str]:
    bases = [instruction.rest for instruction in instructions if instruction.word == "FROM"]
    found = [f"FROM {base}: not the argument BASE, and no digest" for base in bases if not _FROM.fullmatch(base)]
    found += ["only one stage"] if len(bases) < 2 else []
    first = instructions[0]
    fixed = first.rest.removeprefix("BASE").removeprefix("=")
    if first.word != "ARG" or not first.rest.startswith("BASE") or (fixed and "@sha256:" not in fixed):
        found.append("does not begin with ARG BASE, without a default or with a digest")
    return found


def _contents(instructions: list[Instruction]) -> list[str]:
    found = ["uses ADD" for instruction in instructions if instruction.word == "ADD"]
    found += [
        "copies the whole context" for instruction in instructions if instruction.word == "COPY" and instruction.rest.startswith(". ")
    ]
    found += ["names an address" for instruction in instructions if "://" in instruction.rest]
    found += ["has a HEALTHCHECK, which Kubernetes ignores" for instruction in instructions if instruction.word == "HEALTHCHECK"]
    named = " ".join(instruction.rest for instruction in instructions if instruction.word in {"ARG", "ENV"})
    found += [f"{name} would be in the history" for name in re.findall(r"(\w+)=?", named) if _SECRET.search(name)]
    if any(re.search(r":latest\b", instruction.rest) for instruction in instructions):
        found.append("uses latest")
    return found


def _process(final: list[Instruction]) -> list[str]:
    users = [instruction.rest for instruction in final if instruction.word == "USER"]
    found = [] if users == ["65532:65532"] else [f"USER is {users}, expected 65532:65532 once, in the final stage"]
    for word in ("ENTRYPOINT", "CMD"):
        given = [instruction.rest for instruction in final if instruction.word == word]
        found += [] if len(given) == 1 and _exec_form(given[0]) else [f"{word} is {given}, expected one in exec form"]
    found += [] if any(i.word == "ENTRYPOINT" and "dumb-init" in i.rest for i in final) else ["process 1 hands no signals on"]
    environment = " ".join(instruction.rest for instruction in final if instruction.word == "ENV").split()
    found += [f"the environment lacks {entry}" for entry in _TELEMETRY if entry not in environment]
    found += [] if any(i.word == "WORKDIR" and i.rest == "/opt/sightline" for i in final) else ["WORKDIR is not /opt/sightline"]
    labels = " ".join(instruction.rest for instruction in final if instruction.word == "LABEL")
    wanted = [f"org.opencontainers.image.{name}" for name in ("title", "licenses", "source", "revision", "version", "base.name")]
    return [*found, *(f"no label {name}" for name in [*wanted, "dev.sightline.sbom"] if f"{name}=" not in labels)]


def _installers(final: list[Instruction]) -> list[str]:
    found = [f"the final stage installs: {i.rest}" for i in final if i.word == "RUN" and _INSTALLS.search(i.rest)]
    return found + (["setuid files and the base's pip stay"] if not any("harden" in i.rest for i in final if i.word == "RUN") else [])


def unpinned_installs(text: str) -> list[str]:
    """Commands of a shell script that install something without hashes; our own wheel comes from the stage itself, offline."""
    joined = re.sub(r"\\\n\s*", " ", text)
    installs = [line.strip() for line in joined.splitlines() if re.search(r"\bpip install\b", line)]
    return [line for line in installs if "--require-hashes" not in line and not {"--offline", "--no-deps"} <= set(line.split())]


def _exec_form(rest: str) -> bool:
    try:
        return isinstance(json.loads(rest), list)
    except ValueError:
        return False
