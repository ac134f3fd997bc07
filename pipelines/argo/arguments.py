"""What a run starts with: its name, and its configuration as one text that Argo cannot misread."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sightline.config.run import RunConfig

KEY_DIGITS = 16


def run_name(pipeline: str, key: str) -> str:
    """The workflow's name for a key: the same key is the same run, whatever characters it has."""
    return f"sightline-{pipeline}-{hashlib.sha256(key.encode()).hexdigest()[:KEY_DIGITS]}"


def config_text(config: RunConfig) -> str:
    """What differs from the defaults, as one line of YAML in ASCII without the two braces that start a variable of Argo's.

    The defaults are those of the images, which are built from the same checkout. Argo replaces variables in the text of a parameter too,
    once it stands in a template, and refuses characters that its own way of quoting does not write as JSON. So every brace within a string
    and every character outside printable ASCII is an escape.
    """
    return _flow(config.model_dump(mode="json", exclude_defaults=True))


def parameter_text(value: Any) -> str:
    """The value of a parameter: a text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quoted(str(key))}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    if isinstance(value, str):
        return _quoted(value)
    text = json.dumps(value, allow_nan=False)
    # YAML 1.1 takes 1e-06 for a word: its numbers have a point before the exponent.
    return text.replace("e", ".0e") if isinstance(value, float) and "e" in text and "." not in text else text


def _quoted(text: str) -> str:
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if " " <= character <= "~" and character not in '"\\{':
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
