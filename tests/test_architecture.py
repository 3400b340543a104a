"""The rules of the house that a machine can read: dependencies point downwards, the gates of each module, sizes."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(p for folder in ("bench", "methods", "reports") for p in (ROOT / folder).rglob("*.py"))

# What each layer may import of ours; a module is in the first layer that names it.
LAYERS = {
    "errors": set(),
    "store": {"errors"},
    "rows": {"errors", "store"},
    "plugins": {"errors"},
    "download": {"errors", "store"},
    "intervals": set(),
    "weights": {"errors", "store", "download"},
    "metrics": set(),
    "protocol": set(),
    "scores": {"dist", "errors", "estimates", "extractors", "metrics", "references"},
    "rng": set(),
    "linear": set(),
    "nets": set(),
    "dit": {"linear", "nets"},
}
NO_TORCH = (
    "cli", "cli_budget", "cli_cluster", "cli_data", "cli_report", "cli_scores", "cli_setup", "cli_speed", "cluster",
    "cluster_job", "cluster_queue", "cluster_submit", "console_report", "errors", "gate.forms", "guard", "intervals",
    "options", "progress", "provenance", "rows", "sections", "speed.request", "speed.results", "store", "weights",
)  # fmt: skip
NO_TORCH = (*(f"bench.{name}" for name in NO_TORCH), "reports.budget", "reports.render", "reports.speed", "reports.tables")


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Dotted names of the modules that a file imports."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name == "methods"], ids=name_of)
def test_methods_import_torch_and_each_other_at_most(path: Path) -> None:
    ours = {name for name in imports(path) if name.split(".")[0] in ("bench", "reports", "methods")}
    assert all(name.startswith("methods._path") or name == "methods" for name in ours)
    third_party = {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names) - {"methods"}
    assert third_party <= {"torch"}


@pytest.mark.parametrize("path", [p for p in FILES if "reports" in p.parts], ids=name_of)
def test_reports_import_no_torch_and_no_torch_part_of_bench(path: Path) -> None:
    allowed = ("bench.errors", "bench.store", "bench.rows", "bench.provenance", "bench.intervals", "bench.speed.results")
    for name in imports(path):
        assert name.split(".")[0] not in ("torch", "methods", "torchvision"), name
        assert not name.startswith("bench.") or name.startswith(allowed), name


@pytest.mark.parametrize("module", sorted(LAYERS))
def test_lower_layers_import_nothing_above_them(module: str) -> None:
    ours = {name.split(".")[1] for name in imports(ROOT / f"bench/{module}.py") if name.startswith("bench.")}
    assert ours <= LAYERS[module]


def test_training_never_evaluates() -> None:
    for module in ("train", "step", "checkpoint", "sample"):
        found = imports(ROOT / f"bench/{module}.py")
        assert not {
            name for name in found if name.startswith(("bench.evaluate", "bench.extractors", "bench.metrics", "reports"))
        }


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_one_room_for_each_thing(path: Path) -> None:
    text, found = path.read_text(), imports(path)
    if name_of(path) not in ("bench/config.py", "reports/published.py"):
        assert "tomllib" not in found, "only config reads settings; published.py reads the claims beside it"
    cli = (
        "bench/cli.py", "bench/cli_budget.py", "bench/cli_cluster.py", "bench/cli_data.py", "bench/cli_report.py",
        "bench/cli_scores.py", "bench/cli_setup.py", "bench/cli_speed.py",
    )  # fmt: skip
    if name_of(path) not in (*cli, "bench/guard.py", "bench/options.py"):
        assert "typer" not in found, "only cli parses and exits"
        assert "sys.exit" not in text
    if name_of(path) not in (
        "bench/show.py", "bench/console.py", "bench/console_budget.py", "bench/console_cluster.py", "bench/console_data.py",
        "bench/console_report.py", "bench/console_scores.py", "bench/console_setup.py", "bench/extractors/digits.py",
    ):  # fmt: skip
        calls = [node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
        assert not any(isinstance(f, ast.Name) and f.id == "print" for f in calls), "only what a person sees prints"
    assert "pickle.load" not in text
    assert "weights_only=False" not in text


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 300, "a second concern lives in it"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno <= 50, node.name
    assert ast.get_docstring(ast.parse(text)), "says what it is"


@pytest.mark.parametrize("module", NO_TORCH)
def test_reading_needs_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


def test_paths_of_the_run_directory_live_in_store() -> None:
    for path in FILES:
        if name_of(path) not in ("bench/store.py", "bench/cli.py"):
            text = path.read_text()
            for word in ('"status.json"', '"train.jsonl"', '"provenance.json"', '"snapshots"', '"config.toml"'):
                assert word not in text, (name_of(path), word)


@pytest.mark.parametrize("words", ["--help", "list", "table", "report", "budget --hours 1", "speed --help", "status"])
def test_a_verb_that_only_reads_starts_without_torch(words: str, tmp_path: Path) -> None:
    """As it is typed, to its end: an import inside the verb counts too."""
    code = (
        "import atexit, os, sys; from bench.cli import main; "
        "atexit.register(lambda: os._exit(77 if 'torch' in sys.modules else 0)); main()"
    )
    roots = [] if "--help" in words else ["--root", str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", code, *words.split(), *roots], check=False, cwd=ROOT, capture_output=True)
    assert done.returncode != 77, "torch was imported"
