"""Numbers as people read them: shares as per cent, differences as points, a narrow no-break space before units."""

import datetime
import math
from collections.abc import Callable

MISSING = "not recorded"
_NARROW = "\u202f"


def percent(share: float | None, digits: int = 1) -> str:
    """0.931 as "93.1 %"."""
    return _text(share, lambda value: f"{value * 100:.{digits}f}{_NARROW}%")


def points(difference: float | None, digits: int = 1) -> str:
    """0.042 as "+4.2": a difference of shares in percentage points, always signed."""
    return _text(difference, lambda value: _signed(value * 100, digits))


def count(number: float | None) -> str:
    """1204 as "1 204"."""
    return _text(number, lambda value: f"{round(value):,}".replace(",", _NARROW))


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits without an exponent where that stays short."""
    return _text(value, lambda known: f"{known:.{digits}g}".replace("-", "−"))


def decimals(value: float | None) -> str:
    """Three decimals, so that figures of a column line up."""
    return _text(value, lambda known: f"{known:.3f}".replace("-", "−"))


def milliseconds(value: float | None) -> str:
    """3.14159 as "3.1 ms"."""
    return _text(value, lambda known: f"{known:.{2 if known < 1 else 1}f}{_NARROW}ms")


def seconds(value: float | None) -> str:
    """125.3 as "2 min 05 s"."""
    return _text(value, lambda s: f"{s:.1f}{_NARROW}s" if s < 100 else f"{int(s // 60)}{_NARROW}min {int(s % 60):02d}{_NARROW}s")


def megabytes(size_bytes: float | None) -> str:
    """Bytes as megabytes (10^6), kilobytes below one."""
    return _text(size_bytes, lambda b: f"{b / 1e6:.1f}{_NARROW}MB" if b >= 1e6 else f"{b / 1e3:.0f}{_NARROW}kB")


def ratio(value: float | None) -> str:
    """6.82 as "6.8×"."""
    return _text(value, lambda known: f"{known:.1f}×")


def p_value(value: float | None) -> str:
    """A probability; small ones as "< 0.001"."""
    return _text(value, lambda p: f"<{_NARROW}0.001" if p < 0.001 else f"{p:.3f}")


def interval(low: float | None, high: float | None) -> str:
    """Bounds of a difference of shares, in points: "+2.6 … +5.9"; an open side is left out."""
    if not finite(low) and not finite(high):
        return MISSING
    if not finite(high):
        return f"at least {points(low)}"
    return f"{points(low)} … {points(high)}" if finite(low) else f"at most {points(high)}"


def moment(unix_s: float | None) -> str:
    """A point in time in UTC, to the minute."""
    if not unix_s or not finite(unix_s):
        return MISSING
    return datetime.datetime.fromtimestamp(unix_s, tz=datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def digest(text: str) -> str:
    """The first 12 characters of a digest."""
    return text.removeprefix("sha256:")[:12] if text else MISSING


def finite(value: float | None) -> bool:
    """Whether the value is there and is a number."""
    return value is not None and math.isfinite(value)


def _text(value: float | None, show: Callable[[float], str]) -> str:
    return show(value) if value is not None and math.isfinite(value) else MISSING


def _signed(value: float, digits: int) -> str:
    rounded = round(value, digits)
    if rounded == 0:
        return f"±{0:.{digits}f}"
    return f"{rounded:+.{digits}f}".replace("-", "−")
