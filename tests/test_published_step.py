"""The public codes' arithmetic after a backward pass: kernel by kernel as theirs, in numbers as ours."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bench import rng, step
from bench.errors import BenchError
from bench.speed import published
from bench.train import inputs
from conftest import tiny_run

CPU = torch.device("cpu")


def assert_same(found: Tensor, expected: Tensor, relative: float) -> None:
    assert found.shape == expected.shape
    assert expected.norm() > 0
    assert (found - expected).norm() <= relative * expected.norm()


def prepared(name: str, digits: Any, kind: type[step.Step], micro_batch: int = 0) -> tuple[step.Step, Any]:
    """A step at random weights, and its inputs."""
    run = tiny_run("train.weight_decay=0.1", "train.warmup_images=64", method=name)
    one = kind.start(run, digits, CPU, micro_batch=micro_batch)
    generator = rng.generator(0, "test")
    with torch.no_grad():
        for parameter in one.net.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return one, inputs(run, digits, step.load_method(run, 10), one.share, 0, 3200)


@pytest.mark.parametrize("name", published.NAMES)
def test_an_update_does_what_ours_does(name: str, digits: Any) -> None:
    pair = [prepared(name, digits, kind)[0] for kind in (step.Step, published.Step)]
    for i in range(3):
        norms = []
        for one in pair:
            generator = torch.Generator().manual_seed(i)
            for parameter in one.net.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            norms.append(one.update(32 * (i + 1)))
        assert_same(norms[1], norms[0], 1e-6)
    ours, theirs = pair
    for a, b in ((theirs.net, ours.net), (theirs.ema, ours.ema)):
        for found, expected in zip(a.parameters(), b.parameters(), strict=True):
            assert_same(found, expected, 1e-6)


class Operations(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def operations_of_an_update(name: str, digits: Any, kind: type[step.Step]) -> tuple[Counter[str], int]:
    one, _ = prepared(name, digits, kind)
    for parameter in one.net.parameters():
        parameter.grad = torch.ones_like(parameter)
    with Operations() as seen:
        one.update(32)
    return seen.count, len(list(one.net.parameters()))


def test_an_update_loops_over_parameters_as_the_public_codes_do(digits: Any) -> None:
    ours, _ = operations_of_an_update("soflow", digits, step.Step)
    assert ours["_fused_adamw_"] == 1
    assert ours["_foreach_lerp_"] == 1
    found = {name: operations_of_an_update(name, digits, published.Step) for name in published.NAMES}
    for count, _ in found.values():
        assert count["_fused_adamw_"] == count["_foreach_lerp_"] == 0
    soflow, parameters = found["soflow"]
    assert soflow["pow"] - found["meanflow"][0]["pow"] == parameters  # the norm, one by one
    for name in ("flow_matching", "meanflow"):  # the number that is read every step
        assert found[name][0]["_local_scalar_dense"] - soflow["_local_scalar_dense"] == 1


@pytest.mark.parametrize("name", published.NAMES)
def test_a_step_in_pieces_has_the_published_loss_and_our_numbers(name: str, digits: Any) -> None:
    (ours, given), (theirs, _) = (prepared(name, digits, kind, 8) for kind in (step.Step, published.Step))
    assert isinstance(theirs.objective.method, published.STRUCTURES[name].published)
    assert not theirs.optimiser.defaults["fused"]
    expected, norm = ours(*given, images=0)
    found, their_norm = theirs(*given, images=0)
    assert_same(found["mse"], expected["mse"], 1e-4)
    assert_same(their_norm, norm, 1e-4)


def test_a_step_with_another_method_is_refused(digits: Any) -> None:
    one, _ = prepared("soflow", digits, published.Step)
    one.objective.method = object()  # type: ignore[assignment]
    with pytest.raises(BenchError, match="optimised variant"):
        one.update(32)


def test_recomputing_blocks_under_a_derivative_is_refused(digits: Any) -> None:
    """torch fails there, in the backward pass and in words of its own."""
    with pytest.raises(BenchError, match="optimised variant"):
        published.Step.start(tiny_run(method="meanflow"), digits, CPU, recompute=True)
    assert published.Step.start(tiny_run(), digits, CPU, recompute=True).net.recompute


def test_the_check_of_a_compiled_loss_knows_the_published_derivative(digits: Any) -> None:
    """Its finite differences stand beside the derivative: were they left out, the error would be 0."""
    one, given = prepared("meanflow", digits, published.Step)
    assert 1e-7 < one.verify(*given) < 1e-3
