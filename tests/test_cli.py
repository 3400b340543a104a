"""The command line as a person meets it: help, exit codes, messages in three parts, no traceback."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench import checkpoint, show
from bench.config import RunConfig, Suite
from bench.rows import read
from bench.store import Root
from command_line import bench, mistake
from conftest import TINY, tiny_suite
from pictures import make_tree, own_cache
from reports import tables

Finished = tuple[Root, list[RunConfig], Suite]
VERBS = (
    "run",
    "train",
    "eval",
    "sample",
    "speed",
    "table",
    "report",
    "list",
    "config",
    "explain",
    "check",
    "import",
    "plan",
    "status",
)
SETTINGS = [word for setting in TINY for word in ("--set", setting)]


# Help


def test_help_of_every_verb_has_an_example() -> None:
    assert all(verb in bench("--help").output for verb in VERBS)
    for verb in VERBS:
        assert f"Example: bench {verb}" in bench(verb, "--help").output, verb


def test_help_needs_no_torch() -> None:
    code = "import sys; from bench.cli import app\ntry: app(['--help'])\nfinally: sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_exit_codes_are_in_the_help_and_the_readme() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    for code in ("0", "1", "2", "130"):
        assert re.search(rf"\b{code}\b", bench("--help").output)
        assert re.search(rf"\| {code} \|", readme)


# From nothing to the page


def test_the_first_evening(tmp_path: Path) -> None:
    root = ["--root", str(tmp_path)]
    result = bench("run", "soflow", "flow_matching", "--seeds", "2", *SETTINGS, "--set", "run.epochs=0.2", *root)
    assert result.exit_code == 0, result.output
    assert "expected in all" in result.stderr
    assert "Fréchet distance ↓" in result.stdout
    assert "±" in result.stdout, "two seeds have a spread"
    again = bench("run", "soflow", "flow_matching", "--seeds", "2", *SETTINGS, "--set", "run.epochs=0.2", *root)
    assert again.stderr.count("is trained already") == 4
    for form in ("markdown", "csv", "latex", "json"):
        for kind in ("quality", "cost"):
            assert "soflow" in bench("table", kind, "--format", form, *root).stdout.replace("\\_", "_")
    page = Path(bench("report", *root).stdout.strip())
    assert page == tmp_path / "site" / "index.html"
    assert page.with_name("quality.html").read_text().count("<svg") >= 2
    assert "finished 100%" in bench("list", "runs", *root).stdout


def test_a_grid_of_samples(finished: Finished, tmp_path: Path) -> None:
    root, runs, _ = finished
    out = tmp_path / "grid.png"
    result = bench("sample", runs[0].name, "--root", str(root.path), "--out", str(out), "--steps", "2", "--rows", "2")
    assert result.stdout.strip() == str(out)
    assert out.read_bytes().startswith(b"\x89PNG")


def test_scoring_again_under_another_protocol_adds_a_table(finished: Finished, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(finished[0].path, tmp_path / "copy")
    root = ["--root", str(tmp_path / "copy")]
    assert bench("eval", "--samples", "32", "--steps", "1", "--set", "eval.extra_steps={}", *root).exit_code == 0
    protocols = re.findall(r"Protocol (\S+)\.", " ".join(bench("table", *root).stdout.split()))  # the note wraps
    assert len(set(protocols)) == 2


def test_dry_runs_do_nothing(tmp_path: Path) -> None:
    for verb in ("run", "train"):
        result = bench(verb, "soflow", "--dry-run", "--root", str(tmp_path))
        assert tiny_suite("run.net=T/2", "run.epochs=240", "train.batch=128").runs()[0].name in result.stdout
        assert "431,360 images" in result.stdout
    assert not list(tmp_path.iterdir())


def test_config_prints_every_setting(tmp_path: Path) -> None:
    text = bench("config", "soflow", "--set", "methods.soflow.guidance=2.0").stdout
    assert "guidance = 2.0" in text
    assert "velocity_ratio = 0.75" in text
    path = tmp_path / "copy.toml"
    path.write_text(text)
    assert bench("config", "--config", str(path)).stdout == text


# Mistakes


@pytest.mark.parametrize(
    ("words", "given"),
    [
        (["run", "solow"], "Unknown method 'solow' (did you mean 'soflow'?)"),
        (["run", "--dataset", "digit"], "Unknown data set 'digit' (did you mean 'digits'?)"),
        (["run", "--net", "Q/2"], "Unknown net 'Q/2'"),
        (["run", "--net", "T/3"], "Unknown net 'T/3'"),
        (["run", "--net", "T"], "Unknown net 'T'"),
        (["run", "--set", "run.nett=1"], "Unknown key 'run.nett' (did you mean 'net'?)"),
        (["run", "--epochs", "0"], "run.epochs = 0"),
        (["run", "--epochs", "-1"], "run.epochs = -1"),
        (["run", "--seeds", "0"], "run.seeds = 0"),
        (["run", "--batch", "0"], "train.batch = 0"),
        (["run", "--device", "cuda:99"], "device cuda:99"),
        (["run", "--steps", "one"], "--steps one"),
        (["run", "--dataset", "image_folder"], "folder"),
        (["run", "--dataset", "image_folder", "--set", "datasets.image_folder.folder=/nowhere"], "/nowhere"),
        (["run", "--dataset", "image_folder", "--set", "datasets.image_folder.colour=1"], "colour"),
        (["run", "--config", "/nowhere.toml"], "Cannot read /nowhere.toml"),
        (["table"], "No results in"),
        (["report"], "results"),
        (["table", "speed"], "Unknown table 'speed'"),
        (["table", "--format", "html"], "Unknown format 'html'"),
        (["eval"], "No finished runs"),
        (["eval", "nope"], "Unknown run 'nope'"),
        (["sample", "nope"], "Unknown run 'nope'"),
        (["list", "method"], "Unknown list 'method' (did you mean 'methods'?)"),
    ],
)
def test_a_mistake_gets_three_parts(words: list[str], given: str, tmp_path: Path) -> None:
    takes_root = words[0] not in ("config", "speed")
    assert given in mistake(bench(*words, *(["--root", str(tmp_path)] if takes_root else [])))
    assert not (tmp_path / "runs").exists()


def test_a_patch_that_does_not_divide_the_image(tmp_path: Path) -> None:
    settings = ["--set", "datasets.gaussian.size=4", "--root", str(tmp_path)]
    message = mistake(bench("run", "--dataset", "gaussian", "--net", "N/8", *settings))
    assert "patch 8 does not divide the image size 4" in message
    assert "N/1, N/2, N/4" in message


def test_an_unknown_option_is_a_mistake() -> None:
    result = bench("run", "--epoch", "3")
    assert result.exit_code == 2
    assert "--epochs" in result.stderr


def test_steps_that_a_sampler_can_not_take(finished: Finished) -> None:
    root, runs, _ = finished
    assert mistake(bench("sample", runs[0].name, "--root", str(root.path), "--device", "cuda:77"))


def test_a_command_that_would_make_another_run_is_refused(tmp_path: Path) -> None:
    words = ["run", "soflow", "--dry-run", "--root", str(tmp_path)]
    name = re.findall(r"would run (\S+):", bench(*words).stdout)[0]
    assert bench(*words, "--expect", name).exit_code == 0
    assert name in mistake(bench(*words, "--expect", name, "--set", "train.learning_rate=0.5"))


def test_a_run_that_is_refused_does_not_stop_the_others(tmp_path: Path) -> None:
    words = ["run", "soflow", "flow_matching", "--root", str(tmp_path), *SETTINGS, "--set", "run.epochs=0.1"]
    assert bench(*words).exit_code == 0
    root = Root(tmp_path)
    locked, other = (run.name for run in tiny_suite("run.epochs=0.1", methods=("soflow", "flow_matching")).runs())
    root.result_file(other).unlink()
    with root.run(locked).locked():
        result = bench(*words)
    assert result.exit_code == 2
    assert "in use by another process" in result.stderr
    assert root.result_file(other).is_file()


def test_runs_are_scored_where_their_data_moved_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_cache(tmp_path, monkeypatch)
    make_tree(tmp_path / "here" / "photos", {"cat": 4, "dog": 4})
    monkeypatch.chdir(tmp_path / "here")
    settings = ["--dataset", "image_folder", *SETTINGS, "--set", "datasets.image_folder.size=8", "--root", str(tmp_path)]
    assert bench("train", "soflow", *settings, "--set", "datasets.image_folder.folder=photos").exit_code == 0
    monkeypatch.chdir(tmp_path)
    assert bench("eval", "--samples", "8", "--root", str(tmp_path)).exit_code == 0, "from another directory"
    (tmp_path / "here" / "photos").rename(tmp_path / "moved")
    words = ["eval", "--samples", "9", "--root", str(tmp_path)]
    assert "does not exist" in mistake(bench(*words))
    assert bench(*words, "--set", "datasets.image_folder.folder=moved").exit_code == 0


def test_no_number_is_cut_on_a_narrow_terminal(finished: Finished) -> None:
    import json

    root = ["--root", str(finished[0].path)]
    for kind in ("quality", "cost"):
        text = bench("table", kind, *root).stdout
        assert "…" not in text
        markdown = bench("table", kind, "--format", "markdown", *root).stdout
        for number in re.findall(r"\b\d[\d,.]*\d\b", " ".join(line for line in markdown.splitlines() if line.startswith("| "))):
            assert number in text, number
    assert json.loads(bench("table", "--format", "json", *root).stdout)


def test_a_long_name_wraps_before_a_number_is_cut(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    frame, _ = read(finished[0].results)
    frame["method"] = frame["method"] + "_" + "x" * 90
    page = io.StringIO()
    monkeypatch.setattr(show, "out", Console(width=80, file=page, highlight=False))
    for table in tables.quality(frame) + tables.cost(frame):
        show.print_table(table)
        for line in table.lines:
            assert all(cell.text in page.getvalue() for cell in line.cells)
    assert "…" not in page.getvalue()


def test_a_scratch_method_runs_through_to_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import methods

    folder = tmp_path / "scratch"
    folder.mkdir()
    source = Path(methods.__path__[0]) / "flow_matching.py"
    (folder / "scratch_method.py").write_text(source.read_text().replace('time: str = "uniform"', 'time: str = "logit_normal"'))
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(folder)])
    root = ["--root", str(tmp_path)]
    assert bench("train", "scratch_method", *SETTINGS, *root).exit_code == 0
    assert bench("eval", "--samples", "16", *root).exit_code == 0
    assert "scratch_method" in bench("table", *root).stdout
    assert "scratch_method" in Path(bench("report", *root).stdout.strip()).read_text()
    sys.modules.pop("methods.scratch_method")


# Interrupted from outside


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_same_command_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    words = ["train", "soflow", "--root", str(tmp_path), *SETTINGS, "--set", "run.epochs=300"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    child = subprocess.Popen([sys.executable, "-m", "bench.cli", *words], stderr=subprocess.PIPE, text=True, env=environment)
    (config,) = tiny_suite("run.epochs=300").runs()
    run = Root(tmp_path).run(config.name)
    deadline = time.monotonic() + 120
    while not run.train_log.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(number)
    _, message = child.communicate(timeout=60)
    assert child.returncode == 130, message
    assert "the same command goes on from there" in message
    assert "Traceback" not in message
    status = run.read_status()
    assert status["state"] == "stopped"
    assert int(checkpoint.state_files(run.state)[0].stem) == status["images"] > 0
    with run.locked():
        assert "in use by another process" in mistake(bench(*words))


def test_a_failed_run_is_told_and_the_others_go_on(tmp_path: Path, monkeypatch: Any) -> None:
    from bench import train
    from bench.errors import RunFailed

    whole = train.train

    def fail_soflow(config: RunConfig, *rest: Any, **more: Any) -> Any:
        if config.method == "soflow":
            raise RunFailed("the loss stopped being finite")
        return whole(config, *rest, **more)

    monkeypatch.setattr(train, "train", fail_soflow)
    words = ["run", "soflow", "flow_matching", "--root", str(tmp_path), *SETTINGS, "--set", "run.epochs=0.1"]
    result = bench(*words)
    assert result.exit_code == 1
    assert "failed: the loss stopped being finite" in result.stderr
    assert "finite" in result.stdout, "the table shows the failure"
    assert "flow_matching" in result.stdout
