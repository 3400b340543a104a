"""Settings: bench.toml, its presets and flags; a mistake says what was given, what is allowed and what to do."""

import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import config, provenance
from bench.cli import app
from bench.config import RunConfig, Suite
from bench.errors import BenchError
from conftest import tiny_suite

WriteFile = Callable[[str, str], Path]


def test_the_shipped_file_says_what_the_defaults_are() -> None:
    raw = config.read_toml(config.SHIPPED)
    for table in ("run", "train", "loop", "eval", "speed"):
        defaults = getattr(Suite(), table).model_dump(mode="json")
        assert raw[table] == defaults, table


def test_every_key_of_the_shipped_file_has_a_comment() -> None:
    for line in config.SHIPPED.read_text().splitlines():
        is_key = "=" in line and not line.startswith("#")
        if is_key and not line.startswith("epochs = 20"):
            assert "#" in line, line


def test_later_wins_file_preset_flags(write_file: WriteFile) -> None:
    file = write_file(
        "my.toml",
        '[train]\nbatch = 8\nema = 0.5\n[preset.digits.train]\nbatch = 16\n[preset.gaussian.train]\nbatch = 99\n'
        "[methods.soflow]\nmix = 0.5\n[preset.digits.methods.soflow]\nguidance = 2.0\n",
    )  # fmt: skip
    assert config.load(file, {}).train.batch == 16
    assert config.load(file, {}).train.ema == 0.5
    assert config.load(file, {"run": {"dataset": "gaussian"}}).train.batch == 99
    assert config.load(file, {"train": {"batch": 32}}).train.batch == 32
    assert config.load(file, {"train": {"batch": 32}}, ("train.batch=64",)).train.batch == 64
    soflow = config.load(file, {"run": {"methods": ["soflow"]}}).runs()[0].hyperparameters
    assert (soflow["mix"], soflow["guidance"], soflow["p"]) == (0.5, 2.0, 1.0)


def test_one_run_a_method_and_seed() -> None:
    suite = tiny_suite("run.seed=3", "run.seeds=2", methods=("soflow", "meanflow"))
    runs = suite.runs()
    assert [(r.method, r.seed) for r in runs] == [("soflow", 3), ("meanflow", 3), ("soflow", 4), ("meanflow", 4)]
    assert len({r.name for r in runs}) == 4


def test_the_name_follows_what_determines_the_weights_and_nothing_else() -> None:
    base = tiny_suite().runs()[0].name
    for same in ("eval.samples=7", "loop.save_seconds=1", "speed.batch=2", "methods.meanflow.p=0.5"):
        assert tiny_suite(same).runs()[0].name == base, same
    for other in ("train.batch=16", "run.seed=1", "run.net=N/4", "run.epochs=2", "methods.soflow.p=0.5", "train.ema=0.9"):
        assert tiny_suite(other).runs()[0].name != base, other


def test_where_the_data_lies_is_not_in_the_name() -> None:
    names = set()
    for folder in ("here", "there"):
        settings = ("run.dataset=image_folder", f'datasets.image_folder.folder="{folder}"')
        names.add(tiny_suite(*settings).runs()[0].name)
    assert len(names) == 1


def test_images_are_epochs_in_whole_batches() -> None:
    run = tiny_suite("train.batch=128").runs()[0]
    assert run.model_copy(update={"epochs": 240}).total_images(1797) == 3370 * 128
    assert run.model_copy(update={"epochs": 0.001}).total_images(1797) == 128


def test_the_resolved_copy_is_a_bench_toml(tmp_path: Path) -> None:
    run = tiny_suite("methods.soflow.start_time=[0.5, 0.5]", "run.seed=7").runs()[0]
    path = tmp_path / "config.toml"
    suite = tiny_suite("eval.samples=5", "run.seed=7")
    path.write_text(run.as_toml(suite))
    again = config.load(path, {})
    assert again.runs() == [run]
    assert (again.eval, again.speed) == (suite.eval, suite.speed)


def test_the_command_in_the_provenance_makes_the_same_run() -> None:
    for settings in (
        (),
        ("methods.soflow.start_time=[0.5, 0.5]", "methods.soflow.schedule=cosine", "eval.samples=33"),
        ("run.seed=7",),
    ):
        suite = tiny_suite(*settings)
        (run,) = suite.runs()
        again = suite_of(provenance.command(run, suite))
        assert again.runs() == [run]
        assert (again.eval, again.speed) == (suite.eval, suite.speed)


def suite_of(command: str) -> Suite:
    """What `bench run` would read from a command line."""
    import typer

    words = shlex.split(command)
    verb = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    given: dict[str, Any] = verb.make_context("run", words[2:]).params
    flags = {"run": {k: given[k] for k in ("methods", "dataset", "net", "epochs", "seed")}}
    return config.load(config.SHIPPED, flags, tuple(given["settings"] or ()))


@pytest.mark.parametrize(
    ("setting", "given", "allowed"),
    [
        ("train.bacth=3", "Unknown key 'train.bacth' (did you mean 'batch'?)", "attention, batch, betas"),
        ("trian.batch=3", "Unknown table 'trian' (did you mean 'train'?)", "datasets, eval, extractors, loop"),
        ("run.epochs=0", "run.epochs = 0", "greater than 0"),
        ("run.epochs=-3", "run.epochs = -3", "greater than 0"),
        ("run.epochs=nan", "run.epochs = nan", "finite number"),
        ("run.seeds=0", "run.seeds = 0", "greater than 0"),
        ("run.seed=-1", "run.seed = -1", "greater than or equal to 0"),
        ("run.seed=99999999999999999999", "run.seed = 99999999999999999999", "less than"),
        ("run.methods=[]", "run.methods = []", "at least 1 item"),
        ("methods.sofow.p=1", "Unknown method in [methods] 'sofow' (did you mean 'soflow'?)", "flow_matching, meanflow"),
        ("methods.meanflow.p=-1", "meanflow with p = -1", "p >= 0"),
        ("eval.extra_steps.flowmatching=[3]", "Unknown method in [eval.extra_steps] 'flowmatching'", "flow_matching"),
        ("datasets.digitz.size=2", "Unknown data set in [datasets] 'digitz' (did you mean 'digits'?)", "gaussian"),
        ("train.batch=0", "train.batch = 0", "greater than or equal to 2"),
        ("train.batch=1.5", "train.batch = 1.5", "valid integer"),
        ("train.learning_rate=0", "train.learning_rate = 0", "greater than 0"),
        ("train.betas=[0.9]", "train.betas", "required"),
        ("train.betas=[0.9,1.0]", "train.betas.1 = 1.0", "less than 1"),
        ("train.precision=fp8", "train.precision = 'fp8'", "'fp32'"),
        ("train.attention=flesh", "train.attention = 'flesh'", "'flash'"),
        ("loop.device=gpu", "loop.device = 'gpu'", "auto|cpu"),
        ("eval.label_rule=any", "eval.label_rule = 'any'", "'random' or 'balanced'"),
        ("eval.steps=[0]", "eval.steps.0 = 0", "greater than 0"),
        ("batch", "--set batch", "TABLE.KEY=VALUE"),
        ("batch=3", "--set batch=3", "TABLE.KEY=VALUE"),
        ("run.methods=[\"soflo\"]", "Unknown method 'soflo' (did you mean 'soflow'?)", "flow_matching, meanflow, soflow"),
        ("methods.soflow.gidance=1", "hyperparameter 'gidance' of soflow (did you mean 'guidance'?)", "velocity_ratio, p"),
        ("methods.soflow.p=-1", "p = -1", "p >= 0"),
        ("methods.soflow.p=\"one\"", "p = 'one'", "a finite number"),
        ("methods.soflow.path=curved", "path = 'curved'", "linear, trigonometric"),
        ("methods.soflow.start_time=[1]", "start_time = [1]", "2 finite numbers"),
    ],
)  # fmt: skip
def test_a_mistake_gets_three_parts(setting: str, given: str, allowed: str) -> None:
    with pytest.raises(BenchError) as error:
        tiny_suite(setting).runs()
    assert given in error.value.given
    assert allowed in error.value.allowed
    assert error.value.remedy


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("run = 3", "run = 3"),
        ("[run]\nmethods = 3", "run.methods = 3"),
        ("[preset.gaussian.train]\nbacth = 3", "Unknown key 'train.bacth'"),
        ("[preset.digitz.train]\nbatch = 3", "Unknown data set in [preset] 'digitz'"),
        ("[methods]\nsoflow = 3", "methods.soflow = 3"),
        ("[eval]\nextra_steps = 3", "eval.extra_steps = 3"),
    ],
)
def test_files_of_another_form(write_file: WriteFile, text: str, given: str) -> None:
    with pytest.raises(BenchError) as error:
        config.load(write_file("my.toml", text), {})
    assert given in error.value.given


def test_files_that_can_not_be_read(write_file: WriteFile, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="No such file"):
        config.load(tmp_path / "none.toml", {})
    with pytest.raises(BenchError, match="is not TOML"):
        config.load(write_file("bad.toml", "[run\n"), {})
    with pytest.raises(BenchError, match="Is a directory"):
        config.load(tmp_path, {})


def test_a_setting_that_is_not_toml_is_text() -> None:
    assert config.parse_setting("a.b=x y") == {"a": {"b": "x y"}}
    assert config.parse_setting("a.b.c=[1, 2]") == {"a": {"b": {"c": [1, 2]}}}
    assert tomllib.loads("v = 1_000")["v"] == config.parse_setting("a.b=1_000")["a"]["b"]


def test_run_names_are_safe_as_folders() -> None:
    config_ = tiny_suite().runs()[0]
    assert "/" not in RunConfig.model_copy(config_, update={"net": "XL/2"}).name


def test_two_spellings_of_a_number_are_one_run() -> None:
    assert tiny_suite("methods.soflow.p=1").runs() == tiny_suite("methods.soflow.p=1.0").runs()
    assert tiny_suite("methods.soflow.start_time=[0, 1]").runs() == tiny_suite("methods.soflow.start_time=[0.0, 1.0]").runs()


def test_a_folder_is_kept_whole() -> None:
    (run,) = tiny_suite("run.dataset=image_folder", "datasets.image_folder.folder=2024").runs()
    assert run.dataset_options["folder"] == str(Path("2024").resolve())
    suite = tiny_suite(
        "run.dataset=image_folder", 'datasets.image_folder.folder="f\u00f6tos \U0001f600"', "run.epochs=0.1234567"
    )
    assert suite_of(provenance.command(suite.runs()[0], suite)).runs() == suite.runs()
