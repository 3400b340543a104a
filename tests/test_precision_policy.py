"""One precision for every method: what stays float32 under bfloat16, and a compiled loss that is checked before it is used."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

import methods
from bench import compilation, config, datasets, pipeline, precision, rng
from bench.errors import BenchError, RunFailed
from bench.step import Step, load_method
from bench.store import Root
from bench.train import inputs
from command_line import bench, mistake
from conftest import tiny_run, tiny_suite

CPU = torch.device("cpu")
GUIDED = {"soflow": ("guidance=2.5", "mix=0.25"), "meanflow": ("omega=0.8", "kappa=0.5"), "flow_matching": ()}


def prepared(method_name: str, *settings: str, progress: float = 1.0) -> tuple[Step, tuple[Tensor, Tensor, Any]]:
    """A step at random weights, and its inputs at the end of training, where SoFlow's gap is smallest."""
    own = [f"methods.{method_name}.{setting}" for setting in GUIDED.get(method_name, ())]
    run = tiny_run(*own, *settings, method=method_name)
    digits = datasets.load("digits")
    step = Step.start(run, digits, CPU)
    generator = rng.generator(0, "test")
    with torch.no_grad():
        for parameter in step.net.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    batch = run.train.batch
    return step, inputs(run, digits, load_method(run, 10), step.share, round(progress * 100) * batch, 100 * batch)


def squares(method_name: str, *settings: str) -> Tensor:
    step, given = prepared(method_name, *settings)
    out: Tensor = step.objective(*given)["mse"].detach()
    assert out.dtype == torch.float32
    return out


def off(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


# bfloat16


@pytest.mark.parametrize("method", methods.names())
def test_bfloat16_moves_the_squares_by_its_rounding_and_no_more(method: str) -> None:
    whole, less = squares(method), squares(method, "train.precision='bf16'")
    assert 1e-5 < off(less, whole) < 0.03


def test_the_difference_quotient_would_drown_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the exact pass is for: without it, at the end of the schedule, nothing of the quotient is left."""
    n = 24  # velocity rows of 32
    whole = squares("soflow")[n:]
    assert off(squares("soflow", "train.precision='bf16'")[n:], whole) < 0.03
    monkeypatch.setattr("bench.step.view", lambda net, _: precision.Autocast(net).__call__)  # a function has no `exact`
    assert off(squares("soflow", "train.precision='bf16'")[n:], whole) > 0.5


def test_times_are_embedded_in_float32_under_autocast() -> None:
    step, (x0, label, draw) = prepared("flow_matching")
    seen: list[Tensor] = []
    step.net.t_embedder.register_forward_hook(lambda _, __, out: seen.append(out.detach()))
    step.net.blocks[0].attn.register_forward_hook(lambda _, __, out: seen.append(out.detach()))
    for call in (precision.view(step.net, "fp32"), precision.view(step.net, "bf16")):
        assert call(x0, draw.t, draw.t, label).dtype == torch.float32
    whole, _, embedded, attended = seen
    assert torch.equal(whole, embedded)
    assert attended.dtype == torch.bfloat16, "or nothing was tested"


def test_float32_goes_around_nothing() -> None:
    net = torch.nn.Linear(1, 1)
    assert precision.view(net, "fp32") is net
    assert precision.view(net, "tf32") is net


def test_a_precision_that_the_device_lacks_is_refused() -> None:
    with pytest.raises(BenchError, match=r"train.precision = 'tf32' on cpu") as caught:
        Step.start(tiny_run("train.precision='tf32'"), datasets.load("digits"), CPU)
    assert caught.value.allowed == "fp32 or bf16 there"
    with pytest.raises(BenchError, match=r"train.precision = 'fp16'"):
        config.load(None, {}, ("train.precision='fp16'",))


def test_it_is_refused_at_the_door(tmp_path: Path) -> None:
    said = mistake(bench("run", "--device", "cpu", "--set", "train.precision=tf32", "--root", str(tmp_path)))
    assert said.startswith("train.precision = 'tf32' on cpu")
    assert not list(tmp_path.iterdir())


def test_a_run_in_bfloat16_says_so_in_every_row(tmp_path: Path) -> None:
    suite = tiny_suite("train.precision='bf16'", "run.epochs=0.2")
    (run,) = suite.runs()
    job = pipeline.Job(config=run, suite=suite, root=Root(tmp_path), dataset=datasets.load("digits"))
    pipeline.run_one(job, pipeline.Stages())
    frame = pd.read_parquet(job.root.result_file(run.name))
    assert set(frame["precision"]) == {"bf16"}
    assert set(frame["status"]) == {"ok"}


def test_the_names_of_runs_without_it_are_as_they_were() -> None:
    plain, compiled = tiny_run(), tiny_run("train.compile=true")
    assert '"compile"' not in plain.model_dump_json().replace('"compile":false', "")
    assert plain.digest != compiled.digest


# Compiled


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced and differentiated as for a GPU, without its slow last stage."""
    monkeypatch.setattr(compilation, "BACKEND", "aot_eager")
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore")  # of torch's own compiler
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("method", methods.names())
def test_the_compiled_loss_is_the_loss(method: str) -> None:
    plain, given = prepared(method, progress=0.3)
    compiled, _ = prepared(method, "train.compile=true", progress=0.3)
    weights = {name: value.clone() for name, value in compiled.net.state_dict().items()}
    assert compiled.verify(*given) < 1e-4
    assert all(torch.equal(value, weights[name]) for name, value in compiled.net.state_dict().items()), "put back"
    for step in (plain, compiled):
        step.objective(*given)["loss"].mean().backward()
    pairs = zip(plain.net.parameters(), compiled.net.parameters(), strict=True)
    for one, other in pairs:
        assert one.grad is not None
        assert other.grad is not None
        assert off(other.grad, one.grad) < 1e-4


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiler_that_drops_tangents_is_found(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step, given = prepared("meanflow", "train.compile=true", f"train.precision='{precision}'", progress=0.3)
    assert step.verify(*given) < 0.005
    torch._dynamo.reset()
    whole = torch.func.jvp
    monkeypatch.setattr(torch.func, "jvp", lambda *given: [part * 0 for part in whole(*given)])
    with pytest.raises(RunFailed, match=r"the compiled loss is off by .* set train.compile = false"):
        step.verify(*given)


@pytest.mark.filterwarnings("ignore")
def test_a_compiler_that_gives_up_ends_the_run_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise AssertionError("no such kernel")

    monkeypatch.setattr(compilation, "BACKEND", broken)
    step, given = prepared("flow_matching", "train.compile=true")
    with pytest.raises(RunFailed, match=r"torch.compile gave up \(.*no such kernel\); set train.compile = false"):
        step.verify(*given)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("method", methods.names())
def test_a_compiled_loss_is_one_graph(method: str) -> None:
    """In pieces it is right too, and slow without a word: its derivative runs uncompiled between them."""
    step, given = prepared(method, "train.compile=true", progress=0.3)
    torch._dynamo.utils.counters.clear()
    step.objective(*given)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert not torch._dynamo.utils.counters["graph_break"]


def test_finite_differences_are_the_derivative() -> None:
    from methods import _path

    step, (x0, label, draw) = prepared("meanflow")
    given = step.net, x0, draw.t, draw.r, label, draw.noise - x0
    exact = _path.time_derivative(*given)
    with _path.central_differences():
        assert 0 < off(_path.time_derivative(*given), exact) < 0.01
    assert torch.equal(_path.time_derivative(*given), exact)
