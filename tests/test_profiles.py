"""The shipped recipes: they load, they hold the published hyperparameters, and the scores they name are published ones."""

import re
from pathlib import Path
from typing import Any

import pytest

from bench import config
from bench.options import settings_file
from bench.step import check_net
from command_line import bench, mistake
from reports import published

FOLDER = Path(config.__file__).parent / "profiles"
RECIPES = sorted(path.stem for path in FOLDER.glob("*.toml") if path.stem != "ci")
METHODS = ("soflow", "meanflow", "flow_matching")
NETS = {"imagenet-b4": ("B/4", 80), "imagenet-b2": ("B/2", 240), "imagenet-m2": ("M/2", 240), "imagenet-l2": ("L/2", 240)}
NETS |= {"imagenet-xl2": ("XL/2", 240), "cifar10": ("S/2", 16_384)}
PUBLISHED = {  # the recipes of reports/published.toml that a profile follows, by method
    "imagenet": {"soflow": "soflow", "meanflow": "meanflow", "flow_matching": "sit"},
    "cifar10": {"soflow": "soflow_cifar", "meanflow": "meanflow_cifar"},
}
LOCKED = {"imagenet": ("betas",), "cifar10": ("betas", "learning_rate", "warmup_images")}  # one optimiser for all methods
EXPECTED = re.compile(r"#   (\w+), (\d+) steps?\s+([\d.]+)\s+\[([a-z0-9-]+)\]")


def text_of(name: str) -> str:
    return (FOLDER / f"{name}.toml").read_text()


def raw() -> Any:
    return config.read_toml(Path(published.__file__).with_suffix(".toml"))


def figures() -> dict[str, dict[str, Any]]:
    """The published figures by id, each with what its source shares."""
    found = {}
    for source in raw()["sources"]:
        shared = {key: value for key, value in source.items() if key != "figures"}
        found |= {figure["id"]: shared | figure for figure in source["figures"]}
    return found


def close(ours: Any, theirs: Any) -> bool:
    return list(ours) == list(theirs) if isinstance(theirs, list) else bool(ours == theirs)


def test_there_is_a_recipe_for_each_size() -> None:
    assert set(NETS) == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_it_resolves_for_every_method(name: str) -> None:
    suite = config.load(settings_file(name), {})
    assert suite.run.methods == METHODS
    assert (suite.run.net, suite.run.epochs) == NETS[name]
    runs = suite.runs()
    assert [run.method for run in runs] == list(METHODS)
    for run in runs:
        check_net(run, (4, 32, 32) if name.startswith("imagenet") else (3, 32, 32))
    steps = runs[0].total_images(1_281_167 if name.startswith("imagenet") else 50_000) / suite.train.batch
    assert steps == pytest.approx({80: 400_000, 240: 1_200_000, 16_384: 800_000}[int(suite.run.epochs)], rel=0.002)


@pytest.mark.parametrize("name", RECIPES)
def test_hyperparameters_are_the_published_ones(name: str) -> None:
    """Or the line says that it is our choice, or what the papers have."""
    kind = name.partition("-")[0]
    recipes, suite, text = raw()["recipes"], config.load(settings_file(name), {}), text_of(name)
    for run in suite.runs():
        recipe = recipes.get(PUBLISHED[kind].get(run.method, ""))
        if recipe is None:
            assert f"[methods.{run.method}]   # nothing was found: all our choice" in text
            continue
        for key, value in recipe["method"].items():
            own = figures_settings(name, run.method).get(key, value)
            assert close(run.hyperparameters[key], own), (run.method, key)
        for key, value in recipe["train"].items():
            if key not in LOCKED[kind]:
                assert close(getattr(suite.train, key), value), (run.method, key)
    assert suite.train.precision == recipes[PUBLISHED[kind]["soflow"]]["precision"] == "tf32"
    for key in LOCKED[kind]:
        line = next(line for line in text.splitlines() if line.startswith(f"{key} = "))
        assert "SoFlow" in line or "as both" in line, "says what the papers have"


def figures_settings(name: str, method: str) -> dict[str, Any]:
    """What the cited figures of this method say of its hyperparameters, beyond their recipe."""
    settings: dict[str, Any] = {}
    for cited, _, _, label in EXPECTED.findall(text_of(name)):
        if cited == method:
            settings |= figures()[label].get("settings", {})
    return settings


@pytest.mark.parametrize("name", RECIPES)
def test_settings_of_the_cited_figures(name: str) -> None:
    """What a cited figure says of its settings holds here; what was not found is marked as our choice."""
    suite, text = config.load(settings_file(name), {}), text_of(name)
    for method, steps, value, label in EXPECTED.findall(text):
        figure = figures()[label]
        assert figure["method"] == method
        assert figure["steps"] == int(steps)
        assert figure["value"] == float(value), label
        assert figure["metric"] == "frechet_distance"
        assert name == "cifar10" or figure["net"] == suite.run.net
        run = next(run for run in suite.runs() if run.method == method)
        for key, own in figure.get("settings", {}).items():
            assert close(run.hyperparameters[key], own), (label, key)
        for key in figure.get("unknown", []):
            line = next(line for line in text.splitlines() if line.startswith(f"{key} = "))
            assert "our choice" in line, (label, key)
        assert figure.get("epochs") in (None, suite.run.epochs) or f"{figure['epochs']} epochs" in text
    cited = {method for method, *_ in EXPECTED.findall(text)}
    assert {"soflow", "meanflow"} <= cited
    assert {label[1:-1] for label in re.findall(r"\[[a-z]+-[a-z0-9-]+\]", text)} <= set(figures())


@pytest.mark.parametrize("name", RECIPES)
def test_scored_at_the_steps_that_are_cited(name: str) -> None:
    suite = config.load(settings_file(name), {})
    for method, steps, _, _ in EXPECTED.findall(text_of(name)):
        assert int(steps) in {*suite.eval.steps, *suite.eval.extra_steps.get(method, ())}
    assert suite.eval.samples == 50_000


def test_a_profile_by_its_bare_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of that name in the current folder comes first; a name that is neither is an error."""
    assert 'net = "B/4"' in bench("config", "soflow", "--config", "imagenet-b4").stdout
    monkeypatch.chdir(tmp_path)
    Path("imagenet-b4").write_text('[run]\nnet = "N/2"\n')
    assert 'net = "N/2"' in bench("config", "soflow", "--config", "imagenet-b4").stdout
    assert "Cannot read imagenet-b5" in mistake(bench("config", "--config", "imagenet-b5"))
