"""Where things are in the site: file names and fragments made of names that anybody may have chosen.

run_page("digits-soflow-T-2-s0-abc")     # "runs/digits-soflow-T-2-s0-abc.html"
anchor("a b", "protocol")                # "protocol-a-b-1f3870be"
"""

import hashlib
import re

LONGEST = 80  # characters of a name; file systems allow 255 bytes


def slug(name: str) -> str:
    """Safe in a file name, an id and a link, and different for different names."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "-", name)[:LONGEST]
    return safe if safe == name and name else f"{safe}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:8]}"


def anchor(name: str, kind: str = "run") -> str:
    """A fragment."""
    return f"{kind}-{slug(name)}"


def run_page(run: str) -> str:
    return f"runs/{slug(run)}.html"


def method_page(method: str) -> str:
    return f"methods/{slug(method)}.html"
