"""Where each run comes from: one entry a run, with all that makes it again."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import tomli_w

from bench.rows import Row
from bench.store import RunDirectory
from reports.lines import Descriptions, flatten, grouped

NOT_RECORDED = "not recorded"
UNKNOWN = "unknown method"


@dataclasses.dataclass(frozen=True)
class Entry:
    run: str
    task: Mapping[str, Any]  # what ran: method, dataset, net, epochs, seed; "" for what was not recorded
    state: str  # ok | partly failed | failed | skipped | the state of a run without result rows
    reasons: tuple[str, ...]  # why something is not ok
    command: str  # makes the run again; "" where it was not recorded
    facts: tuple[tuple[str, str], ...]  # (name, value)
    config: str  # resolved settings, as TOML
    commit: str  # shortened, "+" after one whose work tree had changes; "" where it was not recorded
    started: str  # ISO 8601; "" where it was not recorded


def protocols(descriptions: Descriptions) -> dict[str, list[tuple[str, str]]]:
    """Each recorded protocol's conditions, by its id: (name, value)."""
    found: dict[str, list[tuple[str, str]]] = {}
    for description in descriptions.values():
        recorded = description.get("protocols")
        for name, conditions in recorded.items() if isinstance(recorded, Mapping) else ():
            if isinstance(conditions, Mapping):
                found[str(name)] = [(key, str(value)) for key, value in sorted(flatten(conditions).items())]
    return dict(sorted(found.items()))


def entries(rows: Sequence[Row], descriptions: Descriptions, directories: Mapping[str, RunDirectory]) -> list[Entry]:
    """All runs with result rows or a run directory, by name. `descriptions`: of those with a directory alone too."""
    by_run = {run: of_run for (run,), of_run in grouped(rows, ["run"]).items()}
    return [
        _entry(run, by_run.get(run, []), descriptions.get(run, {}), directories.get(run))
        for run in sorted({*by_run, *descriptions, *directories})
    ]


def _entry(run: str, rows: Sequence[Row], description: Mapping[str, Any], directory: RunDirectory | None) -> Entry:
    reasons = dict.fromkeys(
        f"{_what(row)} {row.status}: {row.reason or 'no reason was recorded'}" for row in rows if row.status != "ok"
    )
    state = _state(rows)
    if not rows:
        status = directory.read_status() if directory else {"state": "empty"}
        state = f"{status['state']}, no result rows"
        reasons = dict.fromkeys(filter(None, [str(status.get("reason") or "")]))
    config = description.get("config")
    return Entry(
        run=run,
        task=task_of(rows, description),
        state=state,
        reasons=tuple(reasons),
        command=str(description.get("command") or ""),
        facts=tuple(_facts(description)),
        config=_toml(config) if isinstance(config, Mapping) else "",
        commit=_short_commit(description),
        started=str(description.get("started_at") or ""),
    )


def task_of(rows: Sequence[Row], description: Mapping[str, Any]) -> dict[str, Any]:
    """What a run was to do, from its rows, else from its recorded settings; "" for what neither has."""
    if rows:
        row = rows[0]
        return {"method": row.method, "dataset": row.dataset, "net": row.net, "epochs": row.epochs, "seed": row.train_seed}
    config = description.get("config")
    given = config.get("run") if isinstance(config, Mapping) else None
    given = given if isinstance(given, Mapping) else {}
    methods = given.get("methods")
    method = methods[0] if isinstance(methods, list) and methods else UNKNOWN
    asked = {key: given.get(key) for key in ("dataset", "net", "epochs", "seed")}
    return {"method": method, **{key: "" if value is None else value for key, value in asked.items()}}


def _short_commit(description: Mapping[str, Any]) -> str:
    commit = str(description.get("commit") or "")
    return f"{commit[:10]}{'+' if description.get('dirty') else ''}" if commit else ""


def _what(row: Row) -> str:
    steps = "" if row.steps is None else ", 1 step," if row.steps == 1 else f", {row.steps} steps,"
    return f"{row.metric.replace('_', ' ')}{steps}"


def _state(rows: Sequence[Row]) -> str:
    states = {row.status for row in rows}
    return "partly failed" if "ok" in states and len(states) > 1 else min(states, default="")


def _facts(description: Mapping[str, Any]) -> list[tuple[str, str]]:
    def of(key: str) -> str:
        return str(description.get(key) or NOT_RECORDED)

    versions = description.get("versions")
    listed = ", ".join(f"{k} {v}" for k, v in versions.items()) if isinstance(versions, Mapping) else NOT_RECORDED
    dirty = ", with changes that are not in it" if description.get("dirty") else ""
    facts = [
        ("typed as", of("started_by")),
        ("started", of("started_at")),
        ("commit", of("commit") + dirty),
        ("device", of("device")),
        ("processor", of("processor")),
        ("platform", of("platform")),
        ("versions", listed),
        ("data digest", of("data_digest")),
        ("config digest", of("config_digest")),
    ]
    facts += [("training went on", _circumstances(session)) for session in _listed(description.get("sessions"))[1:]]
    measurements = description.get("measurements")
    for protocol, measured in sorted(measurements.items()) if isinstance(measurements, Mapping) else ():
        facts.append((f"measured, {protocol}", f"{_circumstances(measured)}: {measured.get('command', NOT_RECORDED)}"))
    return facts


def _listed(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _circumstances(record: Mapping[str, Any]) -> str:
    """When, at which commit, on which device."""
    dirty = ", with changes that are not in it" if record.get("dirty") else ""
    return f"{record.get('started_at')}, commit {record.get('commit')}{dirty}, {record.get('device')}"


def _toml(config: Mapping[str, Any]) -> str:
    try:
        return tomli_w.dumps(config)
    except TypeError:  # a null, which TOML has no word for: not written by this suite, shown all the same
        return json.dumps(config, indent=1, sort_keys=True)
