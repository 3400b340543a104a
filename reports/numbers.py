"""Numbers as people read them: three to four significant digits, a unit that fits, one spread a mean.

number(1234.567)               # "1,235"
with_spread(12.345, 0.412)     # "12.35 ± 0.41"
unit_and_divisor("bytes", 3e8) # ("MiB", 1048576)
"""

import math

SI_PREFIXES = ((1e12, "T", "trillion"), (1e9, "G", "billion"), (1e6, "M", "million"), (1e3, "k", "thousand"))
DIGITS = 4
SMALLEST = 1e-4  # below it, powers of ten


def number(value: float) -> str:
    """Four significant digits (three below 0.1), thousands separated; whole numbers whole."""
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    if abs(value) < SMALLEST or abs(value) >= 1e9:
        return f"{value:.3g}"
    return _fixed(value, _decimals(value, DIGITS if abs(value) >= 0.1 else DIGITS - 1))


def with_spread(mean: float, spread: float) -> str:
    """Mean ± spread."""
    return " ± ".join(pair(mean, spread))


def pair(mean: float, spread: float) -> tuple[str, str]:
    """Both with equal decimals: two significant digits of the spread, but no more than the mean shows alone."""
    if spread == 0:
        return number(mean), "0"
    if abs(mean) < SMALLEST and abs(spread) < SMALLEST:
        return f"{mean:.3g}", f"{spread:.1g}"
    decimals = min(_decimals(x, digits) for x, digits in ((mean, DIGITS), (spread, 2)) if x)
    small = float(f"{spread:.{decimals}f}") == 0  # it is not nothing
    return _fixed(mean, decimals), f"<{10.0**-decimals:.{decimals}f}" if small else _fixed(spread, decimals)


def with_interval(value: float, half_width: float) -> tuple[str, str, str]:
    """The value and the ends of its interval with equal decimals: two significant digits of the half-width."""
    if half_width == 0 or half_width < SMALLEST:
        return number(value), number(value - half_width), number(value + half_width)
    decimals = _decimals(half_width, 2)
    return _fixed(value, decimals), _fixed(value - half_width, decimals), _fixed(value + half_width, decimals)


def probability(p_value: float) -> str:
    """ "p = 0.012", "p < 0.001"."""
    return "p < 0.001" if p_value < 1e-3 else f"p = {p_value:.2g}"


def unit_and_divisor(unit: str, largest: float, *, thousandths: bool = False) -> tuple[str, float]:
    """The unit to show, and what to divide by. `largest`: the greatest magnitude that is to be shown.

    Bytes become MiB (words after "bytes", such as resident, stay); counts from ten thousand up and MACs get a prefix;
    pure numbers below 0.1 are shown in thousandths where that is asked for.
    """
    word, _, rest = unit.partition(" ")
    if word == "bytes":
        return f"MiB {rest}".rstrip(), 2.0**20
    counted = unit.upper().startswith("MAC")
    if (counted or not unit) and largest >= 1e4:
        divisor, prefix, spoken = next(found for found in SI_PREFIXES if largest >= found[0])
        return (f"{prefix}{unit}" if counted else spoken), divisor
    return ("×10⁻³", 1e-3) if thousandths and not unit and 0 < largest < 0.1 else (unit, 1.0)


def _decimals(value: float, digits: int) -> int:
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])  # of the rounded value: 9.9999 counts as 10.00
    return max(0, digits - 1 - exponent)


def _fixed(value: float, decimals: int) -> str:
    text = f"{value:,.{decimals}f}"
    return text.removeprefix("-") if math.isclose(float(text.replace(",", "")), 0.0) else text
