"""What methods/NAME.py says of itself, read as text: nothing of it is imported or run.

    source = read_source("soflow")
    source.fields["p"].meaning              # "power of the adaptive weight"

The file is the one that is here now, which need not be the one that made the rows.
"""

import ast
import io
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "methods"


@dataclass(frozen=True)
class Field:
    """One hyperparameter of a method."""

    default: str  # as it is written; "" where there is none
    meaning: str  # the comment behind it


@dataclass(frozen=True)
class Source:
    docstring: str = ""
    fields: Mapping[str, Field] = field(default_factory=dict)  # in the order of the file
    functions: frozenset[str] = frozenset()  # of the file and of its classes


def read_source(method: str, folder: Path = FOLDER) -> Source:
    """Empty for a method without a file here, or whose file is not Python."""
    if not method.isidentifier():  # a name from a row may be anything, a path out of the folder too
        return Source()
    try:
        text = (folder / f"{method}.py").read_text(encoding="utf-8")
        tree = ast.parse(text)
    except (OSError, ValueError, SyntaxError):
        return Source()
    comments = _comments(text)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    own = [node for part in classes if part.name == "Method" for node in part.body if isinstance(node, ast.AnnAssign)]
    fields = {
        node.target.id: Field(ast.unparse(node.value) if node.value else "", comments.get(node.end_lineno or 0, ""))
        for node in own
        if isinstance(node.target, ast.Name)
    }
    bodies = [tree.body, *(part.body for part in classes)]
    functions = {node.name for body in bodies for node in body if isinstance(node, ast.FunctionDef)}
    return Source(ast.get_docstring(tree) or "", fields, frozenset(functions))


def _comments(text: str) -> dict[int, str]:
    """By line, from 1."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {token.start[0]: token.string.lstrip("# ").rstrip() for token in tokens if token.type == tokenize.COMMENT}
