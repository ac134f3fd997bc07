"""Small images inside the page, within a budget of bytes, so that the page stays one file that opens at once."""

import base64
import io
from dataclasses import dataclass

from sightline.images import ImageU8, resize

EDGE_PX = 96
BUDGET_BYTES = 1_800_000


@dataclass(frozen=True)
class Thumbnail:
    """An image as a data URI, what a screen reader says, and the caption below it."""

    uri: str
    alt: str
    caption: str = ""


class Thumbnails:
    """Makes thumbnails until the budget is spent; what comes first gets images, the rest is told in words.

    Args:
        budget_bytes: characters of data URIs in total.
    """

    def __init__(self, budget_bytes: int = BUDGET_BYTES) -> None:
        self._left = budget_bytes

    def make(self, pixels: ImageU8, alt: str, caption: str = "") -> Thumbnail | None:
        """The thumbnail of an RGB image (height, width, 3), uint8; None when the budget is spent."""
        from PIL import Image

        edge = min(EDGE_PX, max(pixels.shape[:2]))
        buffer = io.BytesIO()
        Image.fromarray(resize(pixels, edge)).save(buffer, "JPEG", quality=82)
        uri = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        if len(uri) > self._left:
            self._left = 0
            return None
        self._left -= len(uri)
        return Thumbnail(uri, alt, caption)
