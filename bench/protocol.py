"""Protocols: everything about a measurement that moves its value, under a short id that stands in every row.

Values whose protocols differ are never put into one column. The number of steps has a column of its own; a method's
sampler and guidance are among its hyperparameters, hence in the run's name.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Protocol:
    """`title` is what a person reads first; `conditions` (JSON) is what the hash covers."""

    title: str
    conditions: dict[str, Any]

    @property
    def id(self) -> str:
        """For example digits-n2000-random-3f9ac1."""
        text = json.dumps(self.conditions, sort_keys=True)
        return f"{self.title}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
