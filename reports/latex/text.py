"""Text for LaTeX, without a package: characters escaped, long words that may break, and how wide a text is.

escape_latex("a_b ↓")                # "a\\_b $\\downarrow$"
breakable("digits-soflow-T-2-s0")    # may break after each hyphen
width("0.276")                       # 22.8 pt at 10 pt
"""

import functools
import re
import unicodedata

LATEX = {
    "\\": r"\textbackslash{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # at the beginning of a row, the one before would take it for its own option
    "*": "{*}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "±": r"$\pm$",
    "–": "--",
    "—": "---",
    "−": "$-$",
    "≈": r"$\approx$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≠": r"$\neq$",
    "→": r"$\to$",
    "∞": r"$\infty$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "∂": r"$\partial$",
    "⁻": r"\textsuperscript{--}",
    "²": r"\textsuperscript{2}",
    "³": r"\textsuperscript{3}",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "§": r"\S{}",
    "…": r"\dots{}",
    "“": "``",
    "”": "''",
    "‘": "`",
    "’": "'",
    "α": r"$\alpha$",
    "δ": r"$\delta$",
    "κ": r"$\kappa$",
    "μ": r"$\mu$",
    "π": r"$\pi$",
    "σ": r"$\sigma$",
    "ω": r"$\omega$",
}
# What pdflatex's own font has: an ASCII letter under one of these accents, and a few letters more.
ACCENTS = "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327"
LETTERS = "ßæœøłÆŒØŁ"
LIGATURES = re.compile(r"(?<=-)(?=-)|(?<=[?!])(?=`)|(?<=')(?=')|(?<=`)(?=`)")  # "--" would become one dash

WORDS = re.compile(r"\s+(?![↓↑](?:\s|$))")  # an arrow stays beside its word
LONG = 12  # characters; a longer word may break after any of these
BREAKS = re.compile(r"[^-_/=]*[-_/=]+|[^-_/=]+")
LONGEST = 20  # characters; a part that is longer still, a digest for example, may break after every CUT
CUT = 4

# Computer Modern at 10 pt, rounded up; kerning makes a text a little narrower.
WIDTHS = {
    char: points
    for points, chars in (
        (2.8, "il.,:;'!`|[]·’‘"),
        (3.4, "fj -"),
        (4.0, "rst()I_"),
        (4.5, "cez?†‡§⁻²³"),
        (5.3, "kvxyqJ"),
        (5.6, "bdhnpuS"),
        (6.8, "ZLFEPαδκμπσω"),
        (7.4, "BCTRwæœ"),
        (7.9, "ADGHKNOQUVXYØŁ=+@&<>±−≈×≤≥≠"),
        (8.4, "m%#"),
        (10.3, "MWÆŒ→∞—…"),
    )
    for char in chars
}
USUAL = 5.0  # digits, and most of the rest
BOLD = 1.16  # times as wide
ROUNDING = 1e-6


def escape_latex(text: str) -> str:
    """The text as pdflatex sets it, character for character; what its font has not stands there as `plain` says."""
    return "{}".join("".join(LATEX.get(char, char) for char in part) for part in LIGATURES.split(plain(text)))


def breakable(text: str) -> str:
    """The same, for a caption or a column of fixed width: a long word may break, and white space is one space."""
    found = "".join(escape_latex(piece) + ("" if piece.endswith(" ") else r"\allowbreak{}") for piece in pieces(text))
    return found.strip()


def plain(text: str) -> str:
    """In characters that `escape_latex` can write: an accent that the font has not is dropped, 名 becomes U+540D."""
    return "".join(map(_plain, unicodedata.normalize("NFC", text)))


@functools.cache  # of characters there are few
def _plain(char: str) -> str:
    if char.isspace():
        return " "
    if char in LATEX or char in LETTERS or (char.isascii() and char.isprintable()):
        return char
    parts = unicodedata.normalize("NFD", char)
    if char < "\u0180" and parts[0].isascii() and parts[0].isalpha() and len(parts) == 2 and parts[1] in ACCENTS:
        return char
    known = unicodedata.normalize("NFKD", char)
    known = "".join(part for part in known if part.isascii() and part.isprintable())
    return known or f"U+{ord(char):04X}"


@functools.lru_cache(100_000)  # widths are tried one after another
def pieces(text: str) -> tuple[str, ...]:
    """The text cut wherever a line may end: words, and parts of long ones; where a word ends, a space is behind it."""
    found: list[str] = []
    for word in filter(None, WORDS.split(plain(text).strip())):
        parts = [word] if len(word) <= LONG else BREAKS.findall(word)
        cut = [piece for part in parts for piece in _cut(part)]
        found += [*cut[:-1], f"{cut[-1]} "]
    return tuple(found)


def _cut(part: str) -> list[str]:
    return [part] if len(part) <= LONGEST else [part[i : i + CUT] for i in range(0, len(part), CUT)]


def width(text: str, *, bold: bool = False) -> float:
    """About how many points wide the text is at 10 pt, rather too many than too few."""
    return _width(text) * (BOLD if bold else 1.0)


@functools.lru_cache(100_000)
def _width(text: str) -> float:
    bases = (unicodedata.normalize("NFD", char)[0] for char in plain(text))
    return sum(WIDTHS.get(char, USUAL) for char in bases)


def lines_of(text: str, room: float) -> list[str]:
    """The text in lines that are no wider than `room` at 10 pt; a piece that is wider alone has a line of its own."""
    lines: list[str] = []
    used = 0.0
    for piece in pieces(text):
        if not lines or used + width(piece.rstrip()) > room + ROUNDING:
            lines.append("")
            used = 0.0
        lines[-1] += piece
        used += width(piece)
    return [line.rstrip() for line in lines]


def narrowest(text: str) -> float:
    """Points at 10 pt that its widest piece takes: no column of it can be narrower."""
    return max((width(piece.rstrip()) for piece in pieces(text)), default=0.0)
