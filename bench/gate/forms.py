"""What a check found, as text for a terminal, markdown for a person's page, JUnit XML and JSON for machines.

    files = {"summary.md": markdown(report), "junit.xml": junit(report), "check.json": as_json(report)}

Imports no torch.
"""

import json
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.gate.judgement import ALPHA, EXIT_NOTHING, MEANING, Verdict, exit_code

ORDER = {"regressed": 0, "missing": 1, "improved": 2, "not judged": 3, "held": 4}  # what matters first
SIGNS = {"regressed": "❌", "missing": "❌", "improved": "⬆️", "not judged": "◽", "held": "✅"}
ARROWS = {"min": " ↓", "max": " ↑", "": ""}
JUDGES = {
    "seeds": "Training anew, against the spread over training seeds",
    "same weights": "From the same weights, where nothing may move",
    "speed": "Speed, as a ratio to a reference workload in the same run",
}


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that a check found."""

    verdicts: tuple[Verdict, ...]
    failures: tuple[str, ...] = ()  # a sentence a run that failed
    notes: tuple[str, ...] = ()  # what a reader should know, and no verdict
    seconds: float = 0.0
    baseline: dict[str, Any] = field(default_factory=dict)  # provenance of either
    check: dict[str, Any] = field(default_factory=dict)

    @property
    def code(self) -> int:
        return exit_code(self.verdicts, self.failures)

    def sorted(self, judge: str) -> list[Verdict]:
        """The verdicts of one judge, what matters first, else in the baseline's order."""
        return sorted((v for v in self.verdicts if v.judged_by == judge), key=lambda v: ORDER[v.outcome])


def headline(report: Report) -> str:
    """For example "bench check: regressed (2 of 31 regressed, 29 held; 92 s)"."""
    counts = {outcome: sum(v.outcome == outcome for v in report.verdicts) for outcome in ORDER}
    parts = [f"{n} {outcome}" for outcome, n in counts.items() if n]
    parts += [f"{len(report.failures)} failed to run"] * bool(report.failures)
    return f"bench check: {MEANING[report.code]} ({', '.join(parts) or 'no quantities'}; {report.seconds:.0f} s)"


def number(value: float) -> str:
    """Four digits; a dash for what is not there."""
    return "–" if math.isnan(value) else f"{value:.4g}"


def expected(verdict: Verdict) -> str:
    """The interval that it should lie in."""
    if math.isnan(verdict.low):
        return "–"
    return f"{number(verdict.low)} to {number(verdict.high)}"


def change(verdict: Verdict) -> str:
    """In percent of what was expected; "" where that is zero or unknown."""
    if not math.isfinite(verdict.found) or not math.isfinite(verdict.expected) or verdict.expected == 0:
        return ""
    return f"{100 * (verdict.found / verdict.expected - 1):+.2g} %"


# A terminal


def text(report: Report) -> str:
    """What did not hold, a line each, and the headline last."""
    loud = [v for judge in JUDGES for v in report.sorted(judge) if v.outcome != "held"]
    lines = [f"  failed: {reason}" for reason in report.failures]
    lines += [f"  {v.outcome}: {v.quantity.method}, {v.quantity.label}: {one_line(v)}" for v in loud]
    lines += [f"  {note}" for note in report.notes]
    return "\n".join([*lines, headline(report)])


def one_line(verdict: Verdict) -> str:
    if verdict.outcome in ("missing", "not judged"):
        return verdict.reason
    found = f"{number(verdict.found)}, expected {expected(verdict)}"
    return f"{found} ({verdict.reason})" if verdict.reason else found


# A page


def markdown(report: Report) -> str:
    parts = [f"## {escape(headline(report))}"]
    parts += ["\n".join(f"- failed: {escape(reason)}" for reason in report.failures)] if report.failures else []
    for judge, title in JUDGES.items():
        found = report.sorted(judge)
        if found:
            loud = [v for v in found if v.outcome != "held"]
            quiet = [v for v in found if v.outcome == "held"]
            parts.append(f"### {title}")
            parts += [table(loud)] if loud else []
            held = f"<details><summary>{len(quiet)} held</summary>\n\n{table(quiet)}\n\n</details>"
            parts += [held] if quiet else []
    parts += ["\n".join(f"- {escape(note)}" for note in report.notes)] if report.notes else []
    parts.append(escape(footnote(report)))
    return "\n\n".join(parts) + "\n"


def table(verdicts: Sequence[Verdict]) -> str:
    heads = ("", "method", "quantity", "baseline", "now", "change", "expected", "seeds", "why")
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for v in verdicts:
        seeds = f"{v.seeds[1]} against {v.seeds[0]}" if v.seeds != (0, 0) else ""
        cells = (
            SIGNS[v.outcome], v.quantity.method, v.quantity.label + ARROWS.get(v.better, ""), number(v.expected),
            number(v.found), change(v), expected(v), seeds, v.reason or ("" if v.outcome == "held" else v.outcome),
        )  # fmt: skip
        lines.append("| " + " | ".join(escape(cell) for cell in cells) + " |")
    return "\n".join(lines)


def footnote(report: Report) -> str:
    """How to read it, and where the baseline comes from."""
    made = report.baseline
    origin = f"commit {str(made.get('commit', 'unknown'))[:12]}{' (work tree changed)' if made.get('dirty') else ''}"
    origin += (
        f", torch {made.get('versions', {}).get('torch', '?')}, {made.get('processor', '?')}, {made.get('started_at', '?')}"
    )
    now = report.check
    ours = f"commit {str(now.get('commit', 'unknown'))[:12]}, torch {now.get('versions', {}).get('torch', '?')}"
    ours += f", {now.get('processor', '?')}"
    return (
        "Seeds: a method of which something lies beyond what is expected gets more of them, and has regressed or improved "
        "where nearly all of these lie beyond nearly all of the baseline's; an unchanged suite does in at most "
        f"{100 * ALPHA:g} % of checks, all quantities together. Baseline: {origin}. This check: {ours}. "
        "A change that is meant: `bench check --update` writes a new baseline."
    )


def escape(given: str) -> str:
    """Plain text for a cell: no markdown, no HTML, one line."""
    line = " ".join(given.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())
    return re.sub(r"([\\|*_\[\]~#])", r"\\\1", line)


# Machines


def junit(report: Report) -> str:
    """A test case a quantity, and one a run that failed; it fails exactly where the exit code is not 0."""
    suite = ElementTree.Element("testsuite", name="bench check", time=f"{report.seconds:.3f}")
    red = 0
    for v in report.verdicts:
        where = legal(f"{v.quantity.method}.{v.judged_by}")
        case = ElementTree.SubElement(suite, "testcase", classname=where, name=legal(v.quantity.label))
        if v.outcome in ("regressed", "missing", "improved"):
            red += 1
            ElementTree.SubElement(case, "failure", type=v.outcome, message=legal(f"{v.outcome}: {one_line(v)}"))
        elif v.outcome == "not judged":
            ElementTree.SubElement(case, "skipped", message=legal(v.reason))
    failures = report.failures or (("nothing of the baseline was measured",) if report.code == EXIT_NOTHING else ())
    for reason in failures:
        case = ElementTree.SubElement(suite, "testcase", classname="run", name=legal(reason.partition(":")[0]))
        ElementTree.SubElement(case, "error", type="failed", message=legal(reason))
    skipped = sum(v.outcome == "not judged" for v in report.verdicts)
    suite.attrib.update(tests=str(len(suite)), failures=str(red), errors=str(len(failures)), skipped=str(skipped))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def legal(given: str) -> str:
    """Without the characters that XML 1.0 can not hold, escaped or not."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "�", given)


def as_json(report: Report) -> str:
    """Everything; what is not finite is null."""
    raw = {
        "exit_code": report.code,
        "meaning": MEANING[report.code],
        "headline": headline(report),
        "seconds": report.seconds,
        "verdicts": [flat(v) for v in report.verdicts],
        "failures": list(report.failures),
        "notes": list(report.notes),
        "baseline": report.baseline,
        "check": report.check,
    }
    return json.dumps(raw, indent=1, allow_nan=False) + "\n"


def flat(verdict: Verdict) -> dict[str, Any]:
    """One level of plain values."""
    record = asdict(verdict)
    quantity = record.pop("quantity")
    baseline_seeds, seeds = record.pop("seeds")
    clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return {**quantity, **clean, "baseline_seeds": baseline_seeds, "seeds": seeds}
