"""Two processes compute the gradient that one computes, for every method."""

from typing import Any

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import nn

import methods
from bench import datasets, dist, provenance, rng
from bench.errors import BenchError
from bench.step import Step, load_method
from bench.train import inputs
from conftest import tiny_run

CPU = torch.device("cpu")
GUIDED = {"soflow": ("guidance=2.5", "mix=0.25"), "meanflow": ("omega=0.8", "kappa=0.5"), "flow_matching": ()}


def gradients(
    method_name: str, together: bool, micro_batch: int = 0, batch: int = 32, around_the_wrapper: bool = False
) -> dict[str, torch.Tensor]:
    """The gradient of one global batch, at random weights (zero gates would hide any bug), before the optimiser's step."""
    settings = [f"methods.{method_name}.{setting}" for setting in GUIDED.get(method_name, ())]
    config = tiny_run(*settings, f"train.batch={batch}", method=method_name)
    dataset = datasets.load("digits")
    step = Step.start(config, dataset, CPU, together=together, micro_batch=micro_batch)
    generator = rng.generator(0, "test")
    with torch.no_grad():
        for parameter in step.net.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    method = load_method(config, dataset.num_classes)
    if around_the_wrapper and together:
        step.objective = step.objective.module  # type: ignore[assignment]
    step(*inputs(config, dataset, method, step.share, 0, 10 * batch), images=0)  # a learning rate of 0
    found = {name: p.grad.clone() for name, p in step.net.named_parameters() if p.grad is not None}
    assert found
    return found


# Micro-batches, and batches that two processes do not divide evenly: (micro_batch, batch).
CASES = {"whole": (0, 32), "pieces": (8, 32), "uneven": (0, 36), "uneven pieces": (12, 38)}


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    found = {f"{name} {case}": gradients(name, True, *how) for name in methods.names() for case, how in CASES.items()}
    found["around"] = gradients("meanflow", True, around_the_wrapper=True)
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


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", methods.names())
def test_two_processes_have_the_gradient_of_one(two_processes: list[dict[str, Any]], method: str, case: str) -> None:
    one = gradients(method, False, batch=CASES[case][1])
    first, second = (found[f"{method} {case}"] for found in two_processes)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert relative_difference(first, one) < 1e-5


@pytest.mark.parametrize("method", methods.names())
def test_pieces_of_a_batch_add_up(method: str) -> None:
    assert relative_difference(gradients(method, False, 12, 38), gradients(method, False, 0, 38)) < 1e-5


def test_a_forward_around_the_wrapper_would_be_caught(two_processes: list[dict[str, Any]]) -> None:
    first, second = (found["around"] for found in two_processes)
    assert relative_difference(first, second) > 0.01


def test_a_gpu_that_is_not_there_is_named() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU: the message for one without can not be shown")
    with pytest.raises(BenchError, match="device cuda, but torch sees no GPU"):
        dist.pick_device("cuda")
    assert dist.pick_device("auto") == CPU


def test_a_speed_is_of_the_threads_that_were_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread of two is another device for hours and speeds, and the same one for scores, which do not depend on it."""
    monkeypatch.setattr(provenance.os, "sched_getaffinity", lambda _: {0, 1})
    labels, scored = [], set()
    for used in (2, 1, 4):
        monkeypatch.setattr(torch, "get_num_threads", lambda used=used: used)
        labels.append(dist.timing_label(CPU))
        scored.add(dist.device_label(CPU))
    assert [label.rpartition(" (")[2] for label in labels] == ["2 threads)", "1 of 2 threads)", "4 threads on 2)"]
    assert scored == {labels[0]}
    monkeypatch.setattr(provenance.os, "sched_getaffinity", lambda _: {0})
    assert dist.device_label(CPU).endswith(" (1 thread)")
