"""The bill of materials of a built image: its Python packages, as the build wrote them down, and those of its base."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from scripts.oci.catalogue import ImagesError
from scripts.oci.verify import SBOM, Built

_FIELDS = ("${Package}", "${Version}", "${Architecture}")
# Licences that ask something of those who run an image; Debian's own tools are separate programs and are not asked about.
_REFUSED = ("AGPL", "GPL-", "SSPL", "BUSL")


def bill_of(built: Built) -> dict[str, Any]:
    """The image's bill of materials, CycloneDX 1.6.

    Raises:
        ImagesError: the image has none, or it is not CycloneDX.
    """
    done = built.engine.run(built.reference, ["cat", SBOM])
    try:
        bill = dict(json.loads(done.output))
        components = list(bill["components"])
    except (ValueError, KeyError, TypeError):
        raise ImagesError(f"{built.reference} has no bill of materials at {SBOM}: {done.output[:200]}") from None
    whole = {"type": "container", "bom-ref": built.reference, "name": built.reference}
    return {**bill, "components": [*components, *_debian_packages(built)], "metadata": {**bill.get("metadata", {}), "component": whole}}


def licence_problems(bill: Mapping[str, Any]) -> list[str]:
    """Python packages whose licence an image of ours must not carry."""
    return [
        f"{component['name']} is under {licence}"
        for component in bill["components"]
        for licence in _licences(component)
        if licence.startswith(_REFUSED) or any(f" {word}" in licence for word in _REFUSED)
    ]


def write(bill: Mapping[str, Any], built: Built, folder: Path) -> Path:
    """Writes ``python-<name>.cdx.json`` into ``folder`` and returns its path."""
    path = folder / f"{built.image.title}{f'-{built.image.variant}' if built.image.variant else ''}.cdx.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(bill, indent=1) + "\n", encoding="utf-8")
    return path


def _licences(component: Mapping[str, Any]) -> Iterator[str]:
    for entry in component.get("licenses", ()):
        licence = entry.get("license", {})
        yield str(licence.get("id") or licence.get("name") or entry.get("expression", ""))


def _debian_packages(built: Built) -> list[dict[str, Any]]:
    """The packages of a Debian base; none where the base has no dpkg."""
    line = "\\t".join(_FIELDS) + "\\n"
    done = built.engine.run(built.reference, ["dpkg-query", "--show", f"--showformat={line}"])
    rows = [row.split("\t") for row in done.output.splitlines()] if done.code == 0 else []
    return [
        {
            "type": "library",
            "bom-ref": f"deb:{name}",
            "name": name,
            "version": package_version,
            "purl": f"pkg:deb/debian/{quote(name)}@{quote(package_version)}?arch={architecture}",
        }
        for name, package_version, architecture in rows
    ]
