import base64
import json
import struct

import numpy as np
import pytest

from sightline.serve.protocol import MAX_BATCH, RefusedError, pack_files, parse_request

SIZE = 4


def body(**tensor: object) -> bytes:
    return json.dumps({"inputs": [tensor]}).encode()


def refusal(data: bytes, header_length: int | None = None) -> str:
    with pytest.raises(RefusedError) as caught:
        parse_request(data, header_length=header_length, size_px=SIZE)
    assert caught.value.status == 400
    return caught.value.text


def test_pixels_come_nested_or_flat_or_binary() -> None:
    pixels = np.arange(SIZE * SIZE * 3, dtype=np.uint8).reshape(1, SIZE, SIZE, 3)
    head = {"name": "images", "shape": [1, SIZE, SIZE, 3], "datatype": "UINT8"}
    binary = body(**head, parameters={"binary_data_size": pixels.size})
    for data, length in (
        (body(**head, data=pixels.tolist()), None),
        (body(**head, data=pixels.ravel().tolist()), None),
        (binary + pixels.tobytes(), len(binary)),
    ):
        found = parse_request(data, header_length=length, size_px=SIZE)
        assert found.images_NHWC is not None
        np.testing.assert_array_equal(found.images_NHWC, pixels)
        assert found.outputs == {"probabilities": False, "label": False}


def test_files_come_as_base64_or_binary() -> None:
    files = (b"one", b"", b"\x00three")
    head = {"name": "image_bytes", "shape": [3], "datatype": "BYTES"}
    packed = pack_files(files)
    binary = body(**head, parameters={"binary_data_size": len(packed)})
    for data, length in (
        (body(**head, data=[base64.b64encode(file).decode() for file in files]), None),
        (binary + packed, len(binary)),
    ):
        assert parse_request(data, header_length=length, size_px=SIZE).files == files


IMAGES = {"name": "images", "shape": [1, SIZE, SIZE, 3], "datatype": "UINT8"}
BYTES = {"name": "image_bytes", "shape": [1], "datatype": "BYTES"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"inputs": 3}',
        b'{"inputs": []}',
        json.dumps({"inputs": [IMAGES, IMAGES]}).encode(),
        b"[" * 100_000,
        b'{"inputs": [' + b"[" * 20 + b"]" * 20 + b"]}",
        b"\xff\xfe\x00",
        body(name="pixels", shape=[1], datatype="UINT8", data=[1]),
        body(**{**IMAGES, "datatype": "FP32"}, data=[0] * 48),
        body(**{**IMAGES, "shape": [1, 3, SIZE, SIZE]}, data=[0] * 48),
        body(**{**IMAGES, "shape": [0, SIZE, SIZE, 3]}, data=[]),
        body(**{**IMAGES, "shape": [-1, SIZE, SIZE, 3]}, data=[0] * 48),
        body(**{**IMAGES, "shape": [MAX_BATCH + 1, SIZE, SIZE, 3]}, data=[0] * 48),
        body(**IMAGES, data=[0] * 47),
        body(**IMAGES, data=[256] * 48),
        body(**IMAGES, data=[-1] * 48),
        body(**IMAGES, data=[0.5] * 48),
        body(**IMAGES, data=["0"] * 48),
        body(**IMAGES, data=[[0], [0, 1]]),
        body(**IMAGES, data=[10**30] * 48),
        body(**IMAGES),
        body(**IMAGES, data=[0] * 48, parameters={"binary_data_size": 48}),
        body(**{**BYTES, "shape": [2]}, data=["aGk="]),
        body(**BYTES, data=["not base64!"]),
        body(**BYTES, data=["ü"]),
        body(**BYTES, data=[7]),
        body(**BYTES, data=["aGk="], parameters={"content_type": "str"}),
        body(**{**BYTES, "shape": []}, data=["aGk="]),
        json.dumps({"inputs": [{**BYTES, "data": ["aGk="]}], "outputs": [{"name": "logits"}]}).encode(),
    ],
)
def test_a_malformed_request_is_refused_with_a_short_text(data: bytes) -> None:
    text = refusal(data)
    assert 0 < len(text) <= 200
    assert "Traceback" not in text
    assert "sightline" not in text


def test_binary_lengths_must_add_up() -> None:
    def request(size: int, rest: bytes) -> tuple[bytes, int]:
        head = body(**BYTES, parameters={"binary_data_size": size})
        return head + rest, len(head)

    packed = pack_files([b"abc"])
    assert "follow the JSON" in refusal(*request(len(packed) + 1, packed))
    assert "ends within a length" in refusal(*request(2, b"ab"))
    assert "ends within an element" in refusal(*request(8, struct.pack("<I", 2**31) + b"abcd"))
    assert "no input has" in refusal(body(**BYTES, data=["aGk="]) + b"rest", len(body(**BYTES, data=["aGk="])))
    assert "Inference-Header-Content-Length" in refusal(b"{}", 3)


def test_outputs_can_be_chosen_and_binary() -> None:
    text = json.dumps(
        {
            "inputs": [{**BYTES, "data": ["aGk="]}],
            "outputs": [{"name": "embedding", "parameters": {"binary_data": True}}, {"name": "label"}],
        }
    ).encode()
    assert parse_request(text, header_length=None, size_px=SIZE).outputs == {"embedding": True, "label": False}
