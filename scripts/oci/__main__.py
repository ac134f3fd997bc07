"""The command ``scripts/images``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.oci import commands
from scripts.oci.base import remembered_base
from scripts.oci.build import remote, trusted
from scripts.oci.catalogue import NAMES, ImagesError, registry_in_use
from scripts.oci.engine import KINDS
from scripts.oci.resolve import VARIANTS

_EXAMPLES = """examples:
  scripts/images tags                          write components/images.py and the kustomize component for these sources
  scripts/images tags --check                  fail when they are not current
  scripts/images base                          make a Debian base image here (about a minute, needs mmdebstrap)
  scripts/images build base serve              build two images on it, check them, write their bills of materials
  scripts/images build --base docker.io/library/python:3.11-slim-bookworm@sha256:… --registry registry.example.com/vision --push
  scripts/images lock                          write images.lock.json from what was pushed
  scripts/images tags --lock images.lock.json  pin pipelines and manifests by digest
exit codes: 0 ok, 1 an image or a file is not as it should be, 2 the request cannot be carried out"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    options = _parser().parse_args(argv)
    try:
        return int(options.work(options))
    except ImagesError as error:
        sys.stderr.write(f"scripts/images: {error}\n")
        return 2


def _parser() -> argparse.ArgumentParser:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "scripts/images", description="Tags, builds, checks and pins the images.", epilog=_EXAMPLES, formatter_class=plain
    )
    known = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_tags(known.add_parser("tags", help="write the content tags into pipelines and manifests"))
    _add_base(known.add_parser("base", help="make a base image from Debian's packages"))
    _add_build(known.add_parser("build", help="build images, check them, write their bills of materials"))
    _add_verify(known.add_parser("verify", help="check images that are built"))
    _add_lock(known.add_parser("lock", help="write down the digests of what was pushed"))
    _add_resolve(known.add_parser("resolve", help="make the lock of a variant that needs an index besides PyPI"))
    return parser


def _add_tags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is not current")
    parser.add_argument("--lock", type=Path, help="pin by the digests in this file instead of by content tags")
    _add_registry(parser)
    parser.set_defaults(work=commands.tags)


def _add_base(parser: argparse.ArgumentParser) -> None:
    _add_engine(parser)
    parser.set_defaults(work=commands.base)


def _add_build(parser: argparse.ArgumentParser) -> None:
    _add_names(parser)
    parser.add_argument(
        "--base", metavar="IMAGE@DIGEST", default=remembered_base(), help="base image; default: what `scripts/images base` made"
    )
    parser.add_argument("--platform", default="", help="such as linux/arm64; default: this machine's")
    parser.add_argument("--index", default="", metavar="ADDRESS", help="package index; default: PyPI")
    parser.add_argument("--extra-index", default="", metavar="ADDRESS", help="second index, for a variant")
    parser.add_argument("--ca", default=trusted(), metavar="FILE", help="certificate bundle of your network; default: $SSL_CERT_FILE")
    parser.add_argument(
        "--source", default=remote(), metavar="ADDRESS", help="address of the sources, for the label; default: git's origin"
    )
    parser.add_argument("--push", action="store_true", help="push what passed the checks")
    parser.add_argument("--insecure", action="store_true", help="push over HTTP, to a registry on this machine")
    parser.set_defaults(work=commands.make)


def _add_verify(parser: argparse.ArgumentParser) -> None:
    _add_names(parser)
    parser.set_defaults(work=commands.verify)


def _add_lock(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, default=Path("images.lock.json"), help="default: %(default)s")
    parser.set_defaults(work=commands.lock)


def _add_resolve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--variant", choices=VARIANTS, required=True, help="cpu: PyTorch without CUDA; gpu: with TensorRT")
    parser.add_argument("--extra-index", required=True, metavar="ADDRESS", help="PyTorch's index of CPU builds, or NVIDIA's")
    parser.set_defaults(work=commands.resolve)


def _add_names(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", type=_name, metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--variant", choices=VARIANTS, default="", help="cpu or gpu: from the lock that `scripts/images resolve` made")
    _add_registry(parser)
    _add_engine(parser)


def _name(text: str) -> str:
    # argparse holds an empty list against `choices`.
    if text not in NAMES:
        raise argparse.ArgumentTypeError(f"there is no image '{text}'; there are {', '.join(NAMES)}")
    return text


def _add_registry(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--registry", default=registry_in_use(), help="prefix of the images' names; default: %(default)s")


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engine", choices=[*KINDS, "auto"], default="auto", help="default: the first one that answers")


if __name__ == "__main__":
    sys.exit(main())
