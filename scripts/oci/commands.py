"""What the sub-commands of ``scripts/images`` do; each returns its exit code."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from scripts.oci import catalogue, sbom
from scripts.oci.base import make_base
from scripts.oci.build import Request, build
from scripts.oci.catalogue import NAMES, ROOT, Image, ImagesError, content_tag
from scripts.oci.engine import choose
from scripts.oci.resolve import resolve_variant
from scripts.oci.verify import Built, problems

FOLDER = Path("dist/images")


def tags(options: argparse.Namespace) -> int:
    """Writes the generated files, or says which ones are not current."""
    references = catalogue.pinned(options.lock) if options.lock else catalogue.tagged(options.registry)
    if not options.check:
        for path in catalogue.write(references):
            _say(f"wrote {path}")
        return 0
    stale = catalogue.stale(references)
    for path in stale:
        _say(f"{path} is not current; run scripts/images tags, then make compile")
    return 1 if stale else 0


def base(options: argparse.Namespace) -> int:
    """Makes a base image and prints it by digest."""
    sys.stdout.write(make_base(choose(options.engine)) + "\n")
    return 0


def make(options: argparse.Namespace) -> int:
    """Builds, checks and perhaps pushes images."""
    if not options.base:
        raise ImagesError("no base image is given: --base NAME@sha256:… for a published one, or run `scripts/images base` first")
    engine = choose(options.engine)
    wanted = ("base", "registry", "platform", "index", "extra_index", "ca", "source")
    request = Request(**{name: getattr(options, name) for name in wanted})
    code = 0
    for image in _images(options):
        started = time.monotonic()
        _say(f"{image.title}: building with {engine.kind}")
        built = Built(engine, image, build(engine, image, request))
        _say(f"{built.reference}: built in {time.monotonic() - started:.0f} s")
        if _checked(built):
            code = 1
        elif options.push:
            _remember(built, engine.push(built.reference, insecure=options.insecure))
    return code


def verify(options: argparse.Namespace) -> int:
    """Checks images that are built."""
    engine = choose(options.engine)
    built = [Built(engine, image, f"{options.registry}/{image.title}:{content_tag(image)}") for image in _images(options)]
    return max(_checked(one) for one in built)


def lock(options: argparse.Namespace) -> int:
    """Writes the digests of all four images that were pushed from these sources."""
    entries, missing = {}, []
    for name in NAMES:
        found = ROOT / FOLDER / f"python-{name}.pushed.json"
        if found.is_file():
            entries[f"python-{name}"] = json.loads(found.read_text(encoding="utf-8"))
        else:
            missing.append(f"python-{name}")
    if missing:
        raise ImagesError(f"{', '.join(missing)} was not pushed from this checkout; run `scripts/images build --push`")
    options.output.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    _say(f"wrote {options.output}")
    return 0


def resolve(options: argparse.Namespace) -> int:
    """Makes the lock of a variant."""
    _say(f"wrote {resolve_variant(Image(options.name, options.variant), options.extra_index)}")
    return 0


def _images(options: argparse.Namespace) -> Iterator[Image]:
    return (Image(name, options.variant) for name in options.names or NAMES)


def _checked(built: Built) -> int:
    """1 when something is wrong with the image; writes its bill of materials in any case."""
    started = time.monotonic()
    bill = sbom.bill_of(built)
    path = sbom.write(bill, built, ROOT / FOLDER).relative_to(ROOT)
    found = [*problems(built), *sbom.licence_problems(bill)]
    for problem in found:
        _say(f"{built.reference}: {problem}")
    size_mb = int(built.engine.inspect(built.reference)["Size"]) / 1e6
    passed = f"{len(found)} problems" if found else "all checks passed"
    _say(
        f"{built.reference}: {size_mb:.0f} MB, {len(bill['components'])} packages in {path}, {passed} in {time.monotonic() - started:.0f} s"
    )
    return 1 if found else 0


def _remember(built: Built, digest: str) -> None:
    repository, tag = built.reference.rsplit(":", 1)
    entry = {"image": f"{repository}@{digest}", "tag": tag}
    (ROOT / FOLDER / f"{built.image.title}.pushed.json").write_text(json.dumps(entry) + "\n", encoding="utf-8")
    _say(f"pushed {entry['image']}")


def _say(line: str) -> None:
    sys.stderr.write(f"images: {line}\n")
