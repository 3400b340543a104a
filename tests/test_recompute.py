"""`loop.recompute`: the gradient stays what it is, to the bit where uncompiled, and less is kept for the backward pass."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import Tensor, nn

import methods
from bench import compilation, datasets, dit, rng
from bench.step import Step, load_method
from bench.train import inputs
from conftest import tiny_run

CPU = torch.device("cpu")
GUIDED = {"soflow": ("guidance=2.5", "mix=0.25"), "meanflow": ("omega=0.8", "kappa=0.5"), "flow_matching": ()}
BATCH = 32


def prepared(
    method_name: str, *settings: str, recompute: bool, together: bool = False, micro_batch: int = 0
) -> tuple[Step, tuple[Tensor, Tensor, Any]]:
    """A step at random weights (zero gates would hide a bug) and one batch."""
    own = [f"methods.{method_name}.{setting}" for setting in GUIDED.get(method_name, ())]
    config = tiny_run(*own, f"train.batch={BATCH}", *settings, method=method_name)
    dataset = datasets.load("digits")
    step = Step.start(config, dataset, CPU, together=together, micro_batch=micro_batch, recompute=recompute)
    generator = rng.generator(0, "test")
    with torch.no_grad():
        for parameter in step.net.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return step, inputs(config, dataset, load_method(config, dataset.num_classes), step.share, 0, 10 * BATCH)


def gradients(method_name: str, *settings: str, **how: Any) -> dict[str, Tensor]:
    step, given = prepared(method_name, *settings, **how)
    step(*given, images=0)  # a learning rate of 0
    found = {name: p.grad.clone() for name, p in step.net.named_parameters() if p.grad is not None}
    assert found
    return found


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("micro_batch", [0, 8])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", methods.names())
def test_the_gradient_is_the_same_to_the_bit(method: str, precision: str, micro_batch: int) -> None:
    kept, again = (
        gradients(method, f"train.precision='{precision}'", recompute=on, micro_batch=micro_batch) for on in (False, True)
    )
    assert equal(kept, again)


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    for name in methods.names():
        ways = [gradients(name, recompute=on, together=True, micro_batch=8) for on in (False, True)]  # two pieces each
        assert equal(*ways), name
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_the_same_in_two_processes(tmp_path: Any) -> None:
    torch.multiprocessing.spawn(worker, (str(tmp_path),), nprocs=2)


# Where blocks are computed


def calls_of(net: dit.DiT, work: Callable[[], object]) -> float:
    """How often the blocks are computed, in passes of the whole network."""
    count = 0

    def note(*_: object) -> None:
        nonlocal count
        count += 1

    hooks = [block.register_forward_pre_hook(note) for block in net.blocks]
    work()
    for hook in hooks:
        hook.remove()
    return count / len(net.blocks)


# Passes a step: those with gradient, those without. Guided as above: the velocities, then f(x_l) or the derivative.
PASSES = {"flow_matching": (1, 0), "soflow": (1, 2), "meanflow": (1, 2)}


@pytest.mark.parametrize("method", PASSES)
def test_only_passes_with_gradient_are_computed_again(method: str) -> None:
    with_gradient, without = PASSES[method]
    for recompute, passes in ((False, with_gradient + without), (True, 2 * with_gradient + without)):
        step, given = prepared(method, recompute=recompute)
        assert calls_of(step.net, lambda step=step, given=given: step(*given, images=0)) == passes  # type: ignore[misc]


def test_sampling_and_the_average_compute_once() -> None:
    step, (x0, label, draw) = prepared("soflow", recompute=True)
    assert step.net.recompute
    assert not step.ema.recompute
    assert calls_of(step.ema, lambda: step.ema(x0, draw.t, draw.t, label)) == 1
    method = load_method(tiny_run(), 10)
    assert calls_of(step.net, lambda: method.sample(step.net, x0, label, 1)) == 1


def test_names_of_weights_do_not_change() -> None:
    plain, again = (prepared("soflow", recompute=on)[0] for on in (False, True))
    assert list(plain.net.state_dict()) == list(again.net.state_dict()) == list(dit.build("N/2", (1, 8, 8), 10).state_dict())
    assert list(plain.objective.state_dict()) == list(again.objective.state_dict())


# Memory


def kept_bytes(depth: int, batch: int, recompute: bool) -> int:
    """What one pass keeps for its backward pass besides the parameters, each storage once."""
    width = 32
    net = dit.DiT(image_size=8, channels=1, patch=2, width=width, depth=depth, heads=2, num_classes=10)
    net.recompute = recompute
    parameters = {p.untyped_storage().data_ptr() for p in net.parameters()}
    storages: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no address comes twice

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            storages[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    x, t, label = torch.randn(batch, 1, 8, 8), torch.rand(batch), torch.zeros(batch, dtype=torch.int64)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = net(x, t, t / 2, label)
    assert out.requires_grad
    return sum(storages.values())


def test_a_block_keeps_its_input_and_nothing_else() -> None:
    """One more block is (B, N, width) float32 more; without recomputation more than ten times that."""
    batch, tokens, width = 4, 16, 32
    more = {on: kept_bytes(3, batch, on) - kept_bytes(2, batch, on) for on in (False, True)}
    assert more[True] == 4 * batch * tokens * width
    assert more[False] > 10 * more[True]


# Compiled


@pytest.mark.filterwarnings("ignore")  # of torch's own compiler
@pytest.mark.parametrize(("method", "precision"), [("flow_matching", "fp32"), ("meanflow", "fp32"), ("soflow", "bf16")])
def test_the_compiled_loss_passes_its_check(method: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "BACKEND", "aot_eager")
    torch._dynamo.reset()
    bits = f"train.precision='{precision}'"
    plain, given = prepared(method, bits, recompute=False)
    compiled, _ = prepared(method, bits, "train.compile=true", recompute=True)
    bound = {"fp32": 1e-4, "bf16": 0.02}[precision]
    assert compiled.verify(*given) < bound
    for step in (plain, compiled):
        step(*given, images=0)
    ours, theirs = ([p.grad for p in step.net.parameters() if p.grad is not None] for step in (compiled, plain))
    norm = nn.utils.get_total_norm
    assert len(ours) == len(theirs)
    assert float(norm([a - b for a, b in zip(ours, theirs, strict=True)]) / norm(theirs)) < bound
