"""A file in a folder is a plug-in: found by its name, imported only when asked for."""

import importlib
import pkgutil
from types import ModuleType
from typing import Any

from bench.errors import unknown


def plugin_names(package: ModuleType) -> list[str]:
    """The public modules of a package, sorted."""
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def plugin_class(package: ModuleType, name: str, cls: str, kind: str) -> type[Any]:
    """The class called `cls` in the package's module `name`. Raises BenchError for an unknown name."""
    names = plugin_names(package)
    if name not in names:
        raise unknown(
            kind, name, names, f"`bench list` shows them; a new one is a file in {package.__name__.replace('.', '/')}/."
        )
    found: type[Any] = getattr(importlib.import_module(f"{package.__name__}.{name}"), cls)
    return found
