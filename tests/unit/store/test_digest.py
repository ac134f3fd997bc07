import hashlib
from pathlib import Path

import pytest

from sightline.store.digest import sha256_bytes, sha256_file, sha256_value


@pytest.mark.parametrize("size", [0, 1, 4096, 1_000_003])
def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path, size: int) -> None:
    data = bytes(index % 251 for index in range(size))
    (tmp_path / "x").write_bytes(data)
    assert sha256_file(tmp_path / "x") == sha256_bytes(data) == hashlib.sha256(data).hexdigest()


def test_the_digest_of_a_value_does_not_depend_on_key_order() -> None:
    assert sha256_value({"a": 1, "b": [1.5, "ü"]}) == sha256_value({"b": [1.5, "ü"], "a": 1})


def test_different_values_have_different_digests() -> None:
    values = [{"a": 1}, {"a": 1.5}, {"a": "1"}, {"a": None}, {"a": [1]}, {"a": {"a": 1}}, {"a": True}, [], {}, "", None]
    assert len({sha256_value(value) for value in values}) == len(values)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_has_no_digest(value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        sha256_value({"x": value})
