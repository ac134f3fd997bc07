"""Locks of variants: packages that PyPI does not have, so that the lock needs an address which is nobody's business but the team's."""

import shutil
import subprocess
from pathlib import Path

from scripts.oci.catalogue import ROOT, Image, ImagesError

# Each build of PyTorch with CUDA brings these.
_CUDA = "\nnvidia-"
VARIANTS = ("cpu", "gpu")
_OPTIONS = ("--universal", "--python-version=3.11", "--generate-hashes", "--no-annotate", "--no-header", "-q")


def resolve_variant(image: Image, extra_index: str) -> Path:
    """Writes the lock of a variant: the image's packages at the pinned versions, and what the variant adds or replaces.

    Raises:
        ImagesError: the image has no such variant, uv is missing, or the index does not have the packages.
    """
    folder = ROOT / image.dockerfile.parent
    addition, overrides = folder / f"{image.variant}.in", folder / "overrides.txt"
    if not addition.is_file():
        known = sorted(path.stem for path in folder.glob("*.in") if path.stem in VARIANTS)
        raise ImagesError(f"{image.title} has no variant '{image.variant}'; it has: {', '.join(known) or 'none'}")
    command = [_uv(), "pip", "compile", str(folder / "requirements.in"), str(addition), *_OPTIONS]
    command += ["--constraints", str(ROOT / "requirements/dev.lock"), "--index", extra_index, "--index-strategy", "unsafe-best-match"]
    command += ["--overrides", str(overrides)] if overrides.is_file() else []
    done = subprocess.run([*command, "--output-file", str(ROOT / image.lock)], check=False)
    if done.returncode:
        raise ImagesError(
            f"uv found no set of packages; does {extra_index.partition('@')[2] or extra_index} have what {addition.name} asks for?"
        )
    if image.variant == "cpu" and _CUDA in (ROOT / image.lock).read_text(encoding="utf-8"):
        (ROOT / image.lock).unlink()
        raise ImagesError(
            "that index has no build without CUDA of the torch in requirements/dev.lock; is it PyTorch's index of CPU builds?"
        )
    return image.lock


def _uv() -> str:
    inside = ROOT / ".venv" / "bin" / "uv"
    found = str(inside) if inside.is_file() else shutil.which("uv")
    if found is None:
        raise ImagesError("uv is not installed; run `make setup`")
    return found
