"""What a built image must be, and the checks that show it."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from scripts.oci.build import version
from scripts.oci.catalogue import Image
from scripts.oci.closure import Import, imports_of, steps_of
from scripts.oci.engine import Engine

USER = "65532:65532"
ENVIRONMENT: Mapping[str, str] = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "HOME": "/scratch",
    "TMPDIR": "/scratch",
}
LABELS = ("title", "description", "licenses", "source", "revision", "version", "base.name")
SBOM = "/opt/sightline/sbom.cdx.json"
# What an unpacked image may take; half of it is CUDA where there is PyTorch.
MOST_MB: Mapping[str, int] = {"base": 1300, "train": 7500, "compile": 7500, "serve": 1300}
_SECRET_WORDS = ("PASSWORD", "SECRET", "TOKEN", "ACCESS_KEY", "INDEX_URL")
_GRACE_S = 20
_TERMINATED = 143
# Names of programs on PATH and of files anywhere that an image must not have.
_FORBIDDEN = """
for name in cc c++ gcc g++ clang ld as tcc nvcc make pip pip3 uv git curl wget; do
  found=$(command -v "$name") && echo "has the program $found"
done
find / -xdev -type f -perm /6000 -printf 'setuid or setgid: %p\\n' 2>/dev/null
find / -xdev \\( -name 'pip-*.whl' -o -path '*-packages/pip' -o -name ensurepip \\) -printf 'an installer: %p\\n' 2>/dev/null
find /opt -xdev ! -type l -perm /0022 -printf 'others may write to it: %p\\n'
true
"""
# The way in which Kubeflow starts a component, without the component.
_AS_KUBEFLOW = 'set -e; d=$(mktemp -d); printf "%s" "$0" > "$d/ephemeral.py"; python3 -m kfp.dsl.executor_main --help > "$d/help"'
_WRITES = """
import os, pathlib
assert (os.getuid(), os.getgid()) == (65532, 65532), (os.getuid(), os.getgid())
pathlib.Path.home().joinpath("x").write_text("x")
for name in ("/x", "/opt/sightline/x", "/opt/venv/x", "/tmp/x"):
    try:
        pathlib.Path(name).write_text("x")
    except OSError:
        continue
    print("can write to", name)
"""
_IMPORTS = """
import warnings
warnings.simplefilter("ignore")
for line in {statements!r}:
    try:
        exec(line, {{}})
    except BaseException as error:
        print("{mark}" + line + ": " + type(error).__name__ + ": " + str(error))
"""
# Libraries print things of their own when they are imported.
_MARK = "not here: "


@dataclass(frozen=True)
class Built:
    """A built image and the engine that has it."""

    engine: Engine
    image: Image
    reference: str


def problems(built: Built) -> list[str]:
    """Everything that is wrong with a built image; empty when it may be used."""
    told = built.engine.inspect(built.reference)
    found = [*config_problems(dict(told["Config"]), built.image), *size_problems(int(told["Size"]), built.image)]
    checks: tuple[Callable[[Built], list[str]], ...] = (file_problems, write_problems, command_problems, import_problems, signal_problems)
    return [*found, *(problem for check in checks for problem in check(built))]


def config_problems(config: Mapping[str, Any], image: Image) -> list[str]:
    """What is wrong with the user, the command, the environment and the labels."""
    environment = dict(entry.split("=", 1) for entry in config.get("Env") or ())
    labels = config.get("Labels") or {}
    found = [] if config.get("User") == USER else [f"its user is '{config.get('User')}', expected {USER}"]
    found += [] if (config.get("Entrypoint") or [""])[0] == "dumb-init" else ["process 1 is not dumb-init"]
    found += [] if config.get("WorkingDir") == "/opt/sightline" else [f"its working directory is '{config.get('WorkingDir')}'"]
    found += [
        f"{name} is '{environment.get(name, '')}', expected {value}"
        for name, value in ENVIRONMENT.items()
        if environment.get(name) != value
    ]
    found += [f"the environment has {name}" for name in environment if any(word in name for word in _SECRET_WORDS)]
    found += [f"no label {name}" for name in LABELS if not labels.get(f"org.opencontainers.image.{name}")]
    found += [] if labels.get("org.opencontainers.image.title") == image.title else ["the title is another image's"]
    found += [] if labels.get("dev.sightline.sbom") == SBOM else ["no label says where the bill of materials is"]
    found += [] if "@sha256:" in labels.get("org.opencontainers.image.base.name", "") else ["the base is not recorded by digest"]
    return found


def size_problems(size_bytes: int, image: Image) -> list[str]:
    """Whether it is larger than planned: what was meant to stay out has got in."""
    size_mb, most_mb = size_bytes / 1e6, MOST_MB[image.name]
    return [f"takes {size_mb:.0f} MB, expected at most {most_mb}"] if size_mb > most_mb else []


def file_problems(built: Built) -> list[str]:
    """Compilers, installers, setuid files, files that everybody may write."""
    done = built.engine.run(built.reference, ["sh", "-c", _FORBIDDEN], user="0:0", entrypoint=False)
    return done.output.splitlines() if done.code == 0 else [f"its files cannot be listed: {done.output}"]


def write_problems(built: Built) -> list[str]:
    """Whether it runs as its user, and writes to /scratch and to nothing else."""
    done = built.engine.run(built.reference, ["python3", "-c", _WRITES])
    return done.output.splitlines() if done.code == 0 else [f"nothing can be written to /scratch: {done.output}"]


def command_problems(built: Built) -> list[str]:
    """Whether the command line, the pipelines and Kubeflow's executor start."""
    commands = (["sightline", "--version"], ["sightline", "step", "--help"], ["sh", "-c", _AS_KUBEFLOW, "pass"])
    ran = [(command, built.engine.run(built.reference, command)) for command in commands]
    found = [f"`{' '.join(command)[:60]}` ended with code {done.code}: {done.output[-500:]}" for command, done in ran if done.code]
    return found or (
        [] if ran[0][1].output == f"sightline {version()}" else [f"holds '{ran[0][1].output}', expected sightline {version()}"]
    )


def import_problems(built: Built) -> list[str]:
    """What the image's steps import and it does not have."""
    done = built.engine.run(built.reference, ["python3", "-"], text=import_program(imports_of(built.image.name)))
    told = [f"{', '.join(steps_of(built.image.name))}: {line}" for line in missing(done.output)]
    return told or ([f"python3 ended with code {done.code}: {done.output[-500:]}"] if done.code else [])


def import_program(imports: Iterable[Import]) -> str:
    """A program that runs each import and prints those that fail; ``missing`` reads it."""
    return _IMPORTS.format(statements=[str(statement) for statement in imports], mark=_MARK)


def missing(output: str) -> list[str]:
    """The imports that failed, with the reason."""
    return [line.removeprefix(_MARK) for line in output.splitlines() if line.startswith(_MARK)]


def signal_problems(built: Built) -> list[str]:
    """Whether a program that does not look for SIGTERM ends with it all the same, as it would not as process 1."""
    container = built.engine.start(built.reference, ["python3", "-c", "import time; time.sleep(600)"])
    time.sleep(2)
    started = time.monotonic()
    code = built.engine.stop(container, grace_s=_GRACE_S)
    took_s = time.monotonic() - started
    if code != _TERMINATED or took_s > _GRACE_S / 2:
        return [f"SIGTERM ended it with code {code} after {took_s:.0f} s, expected {_TERMINATED} at once"]
    return []
