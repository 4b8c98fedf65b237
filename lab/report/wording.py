"""Figures as a reader sees them: percent and points, seconds, counts and bytes."""

from __future__ import annotations

import math


def percent(share: float) -> str:
    """A share in 0..1 as percent with one decimal, without the sign: 0.9312 -> "93.1"."""
    return f"{100 * share:.1f}"


def span(low: float, high: float, decimals: int = 0, signed: bool = False) -> str:
    """An interval of shares in percent, "90..95", signed for differences; "no interval" where it has no end."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "no interval"
    sign = "+" if signed else ""
    return "..".join(f"{100 * end:{sign}.{decimals}f}" for end in (low, high))


def points(estimate: float, low: float, high: float) -> str:
    """A difference of shares with its interval: "+3.2 points (+0.1..+6.3)"."""
    return f"{100 * estimate:+.1f} points ({span(low, high, 1, signed=True)})"


def rise(estimate: float, low: float, high: float, mark: str = "") -> str:
    """A difference in bits per byte with its interval and a mark behind it: "+0.120*  +0.101..+0.139"."""
    ends = f"{low:+.3f}..{high:+.3f}" if math.isfinite(low) and math.isfinite(high) else "no interval"
    return f"{estimate:+.3f}{mark}  {ends}"


def seconds(value: float) -> str:
    """Seconds to two or three digits: "0.012", "3.4", "1240"."""
    return "0" if value == 0 else f"{value:.2g}" if value < 10 else f"{value:.0f}"


def money(value: float) -> str:
    """An amount to two digits or to whole units, never with an exponent: "0.000023", "4.5", "310", "12,400"."""
    if value == 0 or abs(value) >= 9.95:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 1 - math.floor(math.log10(abs(value))))}f}"


def times_a_month(count: float, what: str) -> str:
    """ "1 update a month", "2 updates a month"."""
    return f"{count:g} {what}{'' if count == 1 else 's'} a month"


def count(value: float) -> str:
    """A number of things, to three digits from ten thousand on: "310", "12.3k", "1.2M"."""
    if value < 9999.5:
        return f"{value:.0f}"
    unit, factor = ("k", 1e3) if value < 999_500 else ("M", 1e6) if value < 999.5e6 else ("G", 1e9)
    return f"{value / factor:.3g}{unit}"


def size(value: float) -> str:
    """Bytes in decimal units, to three digits: "512 B", "1.4 MB"."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= 0.9995 * factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.0f} B"


def listed(names: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
