"""What a file says of its run, held against the kinds that `bench.provenance` writes: what is of another is left out.

    description, dropped = sound({"sessions": 5, "commit": "4e43aad"})   # {"commit": "4e43aad"}, ["sessions"]

All that reads a description after this may rely on it; a part that is missing was always possible.
"""

from collections.abc import Iterator, Mapping
from typing import Any

TEXTS = ("command", "started_by", "started_at", "commit", "device", "processor", "platform", "data_digest", "config_digest")
TABLES = ("config", "versions")
OF_PROTOCOL = {"measurements": (), "protocols": ("extractor", "label_rule", "weights", "memory")}  # with what are texts in each
DEEPEST = 30  # levels of a part; this suite writes four


def sound(description: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The parts that can be used, and the names of those that can not: "sessions", "protocols: digits-n2000"."""
    kept: dict[str, Any] = {}
    dropped = []
    for key, value in description.items():
        if value is None:
            continue
        if key in OF_PROTOCOL and isinstance(value, Mapping):
            kept[key] = {name: part for name, part in value.items() if _part(part, OF_PROTOCOL[key])}
            dropped += [f"{key}: {name}" for name in value if name not in kept[key]]
        elif key not in OF_PROTOCOL and _usable(key, value) and _plain(value):
            kept[key] = value
        else:
            dropped.append(key)
    return kept, sorted(dropped)


def _usable(key: str, value: Any) -> bool:
    if key in TEXTS:
        return isinstance(value, str)
    if key in TABLES:
        return isinstance(value, Mapping)
    if key == "sessions":
        return isinstance(value, list) and all(isinstance(session, Mapping) for session in value)
    return key != "dirty" or isinstance(value, bool)


def _part(value: Any, texts: tuple[str, ...]) -> bool:
    """Of one protocol: a table, its texts texts, its number of samples a number."""
    if not (isinstance(value, Mapping) and _plain(value)):
        return False
    samples = value.get("samples")
    return all(isinstance(value.get(key, ""), str) for key in texts) and (samples is None or type(samples) is int)


def _plain(value: Any) -> bool:
    """Nothing in it is too deep to walk through, or a number that no calculation could take."""
    return all(depth < DEEPEST and not (isinstance(leaf, int) and leaf.bit_length() > 64) for depth, leaf in _leaves(value))


def _leaves(value: Any) -> Iterator[tuple[int, Any]]:
    """With how deep they lie; nothing below the deepest level."""
    waiting = [(0, value)]
    while waiting:
        depth, found = waiting.pop()
        below = list(found.values()) if isinstance(found, Mapping) else found if isinstance(found, list) else None
        if below is None or depth == DEEPEST:
            yield depth, found
        else:
            waiting += [(depth + 1, item) for item in below]
