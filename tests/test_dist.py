"""Two processes compute the gradient that one computes, for every method."""

import itertools
from typing import Any

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import nn

import methods
from bench import datasets, dist, rng
from bench.errors import BenchError
from bench.step import Step, load_method
from conftest import tiny_run

CPU = torch.device("cpu")
GUIDED = {"soflow": ("guidance=2.5", "mix=0.25"), "meanflow": ("omega=0.8", "kappa=0.5"), "flow_matching": ()}


def gradients(method_name: str, rank: int, world: int, around_the_wrapper: bool = False) -> dict[str, torch.Tensor]:
    """The gradient on this process's rows of one global batch, at random weights (zero gates would hide any bug)."""
    settings = [f"methods.{method_name}.{setting}" for setting in GUIDED.get(method_name, ())]
    config = tiny_run(*settings, method=method_name)
    dataset = datasets.load("digits")
    step = Step.start(config, dataset, CPU)
    generator = rng.generator(0, "test")
    with torch.no_grad():
        for parameter in step.net.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    method = load_method(config, dataset.num_classes)
    x0, label = datasets.batch(dataset, 0, 0, 32)
    draw = method.draw(x0, label, rng.generator(0, "train"), 0.5)
    rows = dist.own_rows(32, method.velocity_rows(32), rank, world)
    forward = step.objective.module if around_the_wrapper else step.objective
    forward(x0[rows], label[rows], methods.take(draw, rows))["loss"].mean().backward()
    return {name: p.grad.clone() for name, p in step.net.named_parameters() if p.grad is not None}


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    found = {name: gradients(name, rank, 2) for name in methods.names()}
    found["around"] = gradients("meanflow", rank, 2, around_the_wrapper=True)
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("gloo")
    torch.multiprocessing.spawn(worker, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def relative_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    norm = nn.utils.get_total_norm
    return float(norm([a[name] - b[name] for name in a]) / norm(list(b.values())))


@pytest.mark.parametrize("method", methods.names())
def test_two_processes_have_the_gradient_of_one(two_processes: list[dict[str, Any]], method: str) -> None:
    one = gradients(method, 0, 1)
    first, second = (found[method] for found in two_processes)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert relative_difference(first, one) < 1e-5


def test_a_forward_around_the_wrapper_would_be_caught(two_processes: list[dict[str, Any]]) -> None:
    first, second = (found["around"] for found in two_processes)
    assert relative_difference(first, second) > 0.01


@pytest.mark.parametrize(("batch", "velocity_rows", "world"), [(32, 24, 1), (32, 24, 2), (32, 24, 8), (16, 0, 4), (16, 16, 2)])
def test_rows_are_shared_out_whole_and_in_kind(batch: int, velocity_rows: int, world: int) -> None:
    shares = [dist.own_rows(batch, velocity_rows, rank, world) for rank in range(world)]
    assert sorted(itertools.chain.from_iterable(share.tolist() for share in shares)) == list(range(batch))
    for share in shares:
        kinds = (share < velocity_rows).tolist()
        assert kinds == sorted(kinds, reverse=True), "velocity rows first"
        assert sum(kinds) == velocity_rows // world


def test_rows_that_do_not_divide_are_refused() -> None:
    with pytest.raises(BenchError, match="24 velocity rows and 8 others on 3 processes"):
        dist.own_rows(32, 24, 0, 3)


def test_a_gpu_that_is_not_there_is_named() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU: the message for one without can not be shown")
    with pytest.raises(BenchError, match="device cuda, but torch sees no GPU"):
        dist.pick_device("cuda")
    assert dist.pick_device("auto") == CPU
