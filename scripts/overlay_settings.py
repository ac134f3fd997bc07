"""Writes manifests/overlays/<environment>/settings/ from Terraform's outputs, and the random passwords of the dev overlay.

    terraform -chdir=infra/terraform/envs/prod output -json | scripts/overlay-settings prod
    scripts/overlay-settings dev </dev/null

A value that the file has already and Terraform does not give is kept, so that what you typed in by hand survives; what neither has comes
from the example. Passwords are made once. Nothing secret is printed.
"""

import argparse
import json
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

OVERLAYS = Path(__file__).parents[1] / "manifests" / "overlays"
_PASSWORD_BYTES = 32


class SettingsError(Exception):
    """The outputs cannot be used; the message says what to do."""


def main() -> int:
    """The command line; 2 when the outputs cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", help="name of an overlay: dev, prod")
    parser.add_argument("--overlays", type=Path, default=OVERLAYS, help="folder of the overlays")
    options = parser.parse_args()
    try:
        written = write(options.overlays / options.environment, outputs_of(sys.stdin.read()))
    except SettingsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    for path in written:
        sys.stdout.write(f"{path}\n")
    return 0


def outputs_of(text: str) -> dict[str, Any]:
    """The values of ``terraform output -json``; empty for no text."""
    if not text.strip():
        return {}
    try:
        return {name: output["value"] for name, output in json.loads(text).items()}
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise SettingsError("standard input is not the text of `terraform output -json`") from error


def write(overlay: Path, outputs: Mapping[str, Any]) -> list[Path]:
    """Writes the overlay's files; the paths of those that are new or different."""
    folder = overlay / "settings"
    if not folder.is_dir():
        there = ", ".join(sorted(path.parent.name for path in overlay.parent.glob("*/settings")))
        raise SettingsError(f"there is no overlay '{overlay.name}' with settings; there are: {there}")
    files = {folder / "settings.env": settings_text(folder, outputs.get("settings", {}))}
    prices = folder / "prices.yaml"
    if "prices" in outputs:
        files[prices] = json.dumps(outputs["prices"], indent=2) + "\n"  # every JSON text is a YAML text
    elif not prices.exists():
        files[prices] = prices.with_suffix(".yaml.example").read_text()
    if (overlay / "secrets").is_dir():
        files |= passwords(overlay / "secrets")
    changed = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    for path in changed:
        path.touch(mode=0o600)
        path.write_text(files[path])
    return changed


def settings_text(folder: Path, given: Mapping[str, str]) -> str:
    """The settings that the overlay uses, one ``name=value`` a line; the example says which."""
    example = _read(folder / "settings.env.example")
    present = _read(folder / "settings.env") if (folder / "settings.env").exists() else {}
    values = example | present | {name: str(value) for name, value in given.items()}
    return "".join(f"{name}={values[name]}\n" for name in example)


def passwords(folder: Path) -> dict[Path, str]:
    """The secret files that are not there yet, with new random values."""
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    files = {
        # The key pair that Kubeflow's own object store ships with; replace it by that of your S3 server.
        folder / "credentials": "[default]\naws_access_key_id=minio\naws_secret_access_key=minio123\n",
    }
    files[folder / "storage.env"] = "AWS_ACCESS_KEY_ID=minio\nAWS_SECRET_ACCESS_KEY=minio123\n"  # the same pair, as KServe wants it
    if not (folder / "password").exists():
        files |= {folder / "password": password, folder / "pg_service.conf": f"[mlflow]\nuser=mlflow\npassword={password}\n"}
    return {path: text for path, text in files.items() if not path.exists()}


def _read(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


if __name__ == "__main__":
    raise SystemExit(main())
