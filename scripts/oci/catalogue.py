"""Names, content tags and the two files that say which image everything uses."""

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMES = ("base", "train", "compile", "serve")
REGISTRY = "ghcr.io/sightline"
CATALOGUE = Path("components/images.py")
KUSTOMIZATION = Path("manifests/components/images/kustomization.yaml")
_SHARED = (".dockerignore", "LICENSE", "images/harden", "images/install", "pyproject.toml", "requirements/image-tools.lock")
_COMMAND = "scripts/images tags"


class ImagesError(Exception):
    """What is wrong with the request, and what to do about it."""


@dataclass(frozen=True)
class Image:
    """One image of this checkout.

    Attributes:
        name: base, train, compile or serve.
        variant: empty for the image that the index of PyPI alone gives; else the name of another lock, ``cpu`` or ``gpu``.
    """

    name: str
    variant: str = ""

    @property
    def title(self) -> str:
        """Its name in a registry."""
        return f"python-{self.name}"

    @property
    def dockerfile(self) -> Path:
        """Its Dockerfile, from the root."""
        return Path("images", self.title, "Dockerfile")

    @property
    def lock(self) -> Path:
        """Its packages, from the root."""
        return Path("requirements", f"image-{self.name}{f'-{self.variant}' if self.variant else ''}.lock")


def sources(image: Image, root: Path = ROOT) -> list[Path]:
    """Every file that the image is made of, in order, as paths from the root; the catalogue itself is not one, it holds the tag."""
    named = [Path(name) for name in (*_SHARED, str(image.dockerfile), str(image.lock))]
    found = [
        path
        for folder, pattern in (("src/sightline", "**/*"), ("components", "**/*"), ("pipelines", "**/*"))
        for path in (root / folder).glob(pattern)
    ]
    inside = [path.relative_to(root) for path in found if path.is_file()]
    return sorted({*named, *(path for path in inside if path != CATALOGUE and not _left_out(path))})


def _left_out(path: Path) -> bool:
    """Whether .dockerignore leaves it out: byte code, hidden files, and compiled pipelines, which hold the tags."""
    if path.suffix in {".pyc", ".pyo", ".pyd"} or path.is_relative_to("pipelines/compiled"):
        return True
    return any(part == "__pycache__" or part.startswith(".") for part in path.parts)


def content_tag(image: Image, root: Path = ROOT) -> str:
    """``c-`` and 16 hexadecimal digits that change with any byte, name or set of the sources, and with nothing else.

    Raises:
        ImagesError: a source is not there.
    """
    digest = hashlib.sha256()
    for path in sources(image, root):
        try:
            content = hashlib.sha256((root / path).read_bytes()).hexdigest()
        except OSError:
            raise ImagesError(f"{path} is not there; {_remedy(image, path)}") from None
        digest.update(f"{path.as_posix()}\0{content}\n".encode())
    return f"c-{digest.hexdigest()[:16]}{f'-{image.variant}' if image.variant else ''}"


def _remedy(image: Image, path: Path) -> str:
    if path != image.lock:
        return "the checkout is not whole"
    return (
        f"make it: scripts/images resolve {image.name} --variant {image.variant} --extra-index ADDRESS"
        if image.variant
        else "run scripts/lock"
    )


def tagged(registry: str, root: Path = ROOT) -> dict[str, str]:
    """The reference of each image by its content tag."""
    return {name: f"{registry}/{Image(name).title}:{content_tag(Image(name), root)}" for name in NAMES}


def pinned(lock: Path, root: Path = ROOT) -> dict[str, str]:
    """The reference of each image by the digest that ``scripts/images lock`` wrote down.

    Raises:
        ImagesError: the file is missing or not whole, or is about other sources than these.
    """
    try:
        entries = json.loads(lock.read_text(encoding="utf-8"))
        found = {name: (entries[Image(name).title]["image"], entries[Image(name).title]["tag"]) for name in NAMES}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImagesError(
            f"{lock} does not name all four images ({type(error).__name__}: {error}); run `scripts/images lock` after a push"
        ) from None
    stale = [name for name, (_, tag) in found.items() if tag != content_tag(Image(name, _variant(tag)), root)]
    if stale:
        raise ImagesError(f"{lock} is about other sources of {', '.join(stale)}; build and push them, then run `scripts/images lock`")
    return {name: reference for name, (reference, _) in found.items()}


def _variant(tag: str) -> str:
    return tag.partition("-")[2].partition("-")[2]


def registry_in_use(root: Path = ROOT) -> str:
    """The registry that the present catalogue names, so that a team's own prefix is kept; the project's without one."""
    path = root / CATALOGUE
    if path.is_file():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_REGISTRY" and isinstance(node.value, ast.Constant):
                return str(node.value.value)
    return REGISTRY


def generated(references: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """The generated files and their text, for one reference per name."""
    yield CATALOGUE, _catalogue(references)
    yield KUSTOMIZATION, _kustomization(references)


def stale(references: Mapping[str, str], root: Path = ROOT) -> list[Path]:
    """The generated files that are not there or say something else."""
    return [
        path for path, text in generated(references) if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]


def write(references: Mapping[str, str], root: Path = ROOT) -> list[Path]:
    """Writes the generated files that are stale and returns them."""
    changed = stale(references, root)
    for path, text in generated(references):
        if path in changed:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
    return changed


def split(reference: str) -> tuple[str, str, str]:
    """Repository, separator (``:`` before a tag, ``@`` before a digest) and the rest of a reference."""
    if "@" in reference:
        return (*reference.partition("@"),)
    repository, separator, tag = reference.rpartition(":")
    return repository, separator, tag


def _catalogue(references: Mapping[str, str]) -> str:
    registry = split(references["base"])[0].rpartition("/")[0]
    doc = "The images that components run in. A tag is the digest of what its image is made of."
    lines = [f'"""{doc} Generated by `{_COMMAND}`."""\n']
    lines.append(f'_REGISTRY = "{registry}"\n')
    lines += [f'{name.upper()} = f"{reference.replace(registry, "{_REGISTRY}", 1)}"' for name, reference in references.items()]
    return "\n".join([*lines, f"\nCATALOGUE = ({', '.join(name.upper() for name in references)})"]) + "\n"


def _kustomization(references: Mapping[str, str]) -> str:
    lines = [f"# Generated by `{_COMMAND}`: manifests name images without a tag, this component says which ones they are."]
    lines += ["apiVersion: kustomize.config.k8s.io/v1alpha1", "kind: Component", "images:"]
    for name, reference in references.items():
        repository, separator, rest = split(reference)
        lines += [
            f"  - name: {REGISTRY}/{Image(name).title}",
            f"    newName: {repository}",
            f"    {'digest' if separator == '@' else 'newTag'}: {rest}",
        ]
    return "\n".join(lines) + "\n"
