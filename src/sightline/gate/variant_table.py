"""Every compiled variant on every slice, as the gate's page shows it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class VariantColumn:
    """One variant.

    Attributes:
        name: e.g. "onnx-int8".
        status: "judged", or why it could not be, in a few words.
        values: accuracy per row of the table, None where there is none; the first row is all golden images.
        estimates: difference to the table's first column per row, None in the first column itself.
        outcome: of the comparison with the first column (pass, fail, inconclusive, …); empty for the first column.
        p95_ms: latency at batch 1, None when it was not measured.
        size_mb: size of what would ship, in megabytes (10^6 bytes).
    """

    name: str
    status: str
    values: tuple[float | None, ...]
    estimates: tuple[float | None, ...]
    outcome: str
    p95_ms: float | None
    size_mb: float | None

    @property
    def is_judged(self) -> bool:
        """Whether there are numbers for it."""
        return self.status == "judged"


@dataclass(frozen=True)
class VariantTable:
    """Rows are slices, columns are variants.

    Attributes:
        slices: names of the rows; the first is "overall".
        num_images: golden images per row.
        columns: the variants; the first is what the others are compared with.
    """

    slices: tuple[str, ...]
    num_images: tuple[int, ...]
    columns: tuple[VariantColumn, ...]
