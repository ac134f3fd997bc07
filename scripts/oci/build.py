"""One build: its arguments, its secrets, its tag."""

import contextlib
import os
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.oci.catalogue import ROOT, Image, ImagesError, content_tag
from scripts.oci.engine import Engine

_BY_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Request:
    """What an image is built from, besides the checkout.

    Attributes:
        base: image of both stages, by digest.
        registry: prefix of the image's name.
        platform: such as linux/arm64; empty: this machine's.
        index: address of a package index; empty: PyPI.
        extra_index: address of an index that a variant's lock was made with.
        ca: certificate bundle of a network that has its own; empty: the base image's.
        source: address of the sources, for the label.
    """

    base: str
    registry: str
    platform: str = ""
    index: str = ""
    extra_index: str = ""
    ca: str = ""
    source: str = "unknown"


def build(engine: Engine, image: Image, request: Request) -> str:
    """Builds an image and returns its reference, which has the content tag.

    Raises:
        ImagesError: the base is not given by digest, a source is missing, or the engine fails.
    """
    if not _BY_DIGEST.fullmatch(request.base):
        raise ImagesError(f"the base image is '{request.base}', expected NAME@sha256:… with 64 digits; a tag can move between two builds")
    reference = f"{request.registry}/{image.title}:{content_tag(image)}"
    arguments = {"BASE": request.base, "VERSION": version(), "REVISION": revision(), "SOURCE": request.source, "VARIANT": image.variant}
    options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    options += [f"--tag={reference}", *([f"--platform={request.platform}"] if request.platform else [])]
    with _secrets(request) as secrets:
        engine.build(ROOT, ROOT / image.dockerfile, [*options, *secrets])
    return reference


def version() -> str:
    """The library's version."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def revision() -> str:
    """The commit, with ``-modified`` when tracked files differ from it; "unknown" outside of a repository."""
    told = _git("rev-parse", "HEAD")
    return f"{told}-modified" if told and _git("status", "--porcelain", "--untracked-files=no") else told or "unknown"


def remote() -> str:
    """The address of the sources when git knows one that others can open; else "unknown"."""
    told = _git("remote", "get-url", "origin")
    return told if told.startswith("https://") and "@" not in told else "unknown"


def _git(*command: str) -> str:
    with contextlib.suppress(OSError):
        done = subprocess.run(["git", "-C", str(ROOT), *command], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""
    return ""


@contextlib.contextmanager
def _secrets(request: Request) -> Iterator[list[str]]:
    """Options that hand addresses and certificates to the build; they are in no layer and not in the image's history."""
    with tempfile.TemporaryDirectory() as folder:
        given = {"index": request.index, "extra-index": request.extra_index}
        files = {name: Path(folder, name) for name, value in given.items() if value}
        for name, path in files.items():
            path.touch(mode=0o600)
            path.write_text(given[name], encoding="utf-8")
        if request.ca:
            files["ca"] = Path(request.ca)
        yield [f"--secret=id={name},src={path}" for name, path in files.items()]


def trusted() -> str:
    """The certificate bundle that this machine's own tools are told to use; empty without one."""
    return os.environ.get("SSL_CERT_FILE", "")
