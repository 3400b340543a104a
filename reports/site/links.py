"""Where things are in the site: file names and fragments made of names that anybody may have chosen.

run_page("digits-soflow-T-2-s0-abc")     # "runs/digits-soflow-T-2-s0-abc.html"
anchor("a b", "protocol")                # "protocol-a-b.c8687a08"
"""

import hashlib
import re

LONGEST = 80  # characters of a name; file systems allow 255 bytes


def slug(name: str) -> str:
    """Safe in a file name, an id and a link, and different for different names.

    A safe name stands as it is; any other is made safe, and a "." before its digest, which no safe name has, keeps them apart.
    """
    safe = re.sub(r"[^A-Za-z0-9_-]", "-", name)[:LONGEST]
    if safe == name and name:
        return safe
    # File names that are no UTF-8 hold surrogates, by which alone they may differ.
    return f"{safe or 'unnamed'}.{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def anchor(name: str, kind: str = "run") -> str:
    """A fragment."""
    return f"{kind}-{slug(name)}"


def run_page(run: str) -> str:
    return f"runs/{slug(run)}.html"


def method_page(method: str) -> str:
    return f"methods/{slug(method)}.html"
