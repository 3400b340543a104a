"""What `bench speed` counts: operations, bytes of tensors, the ceiling they are set against. No assertion on times."""

import os
import statistics
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

import methods
from bench import dit, nets
from bench.errors import BenchError
from bench.linear import torch_linear
from bench.speed import ceiling, flops, held, published
from bench.step import Objective

CPU = torch.device("cpu")
NET, SHAPE, CLASSES, BATCH = "N/2", (4, 8, 8), 10, 8
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: the allocator of CUDA is not tried")


# Operations. The network's products by hand, in FLOPs an image: N tokens of width W


def parts() -> dict[str, float]:
    size, patch = nets.SIZES["N"], 2
    w, n, pixels = size.width, (SHAPE[1] // patch) ** 2, patch * patch * SHAPE[0]
    linear = 2 * (256 * w + w * w)  # two time embedders
    linear += size.depth * (6 * w * w + n * 12 * w * w)  # modulation; qkv 3, projection 1, MLP 8
    linear += 2 * w * w + n * w * pixels  # last layer
    found = {"patches": 2 * n * w * pixels, "linear": 2 * linear, "attention": 2 * size.depth * 2 * n * n * w}
    return found | {"first": found["patches"] + 2 * 2 * 256 * w}  # what images and times go into: no gradient flows on


P = parts()
FORWARD = P["patches"] + P["linear"] + P["attention"]
TRAIN = 3 * FORWARD - P["first"]
DERIVATIVE = 2 * FORWARD + P["attention"]  # of a product: a' b, and where both factors move a b' too
EAGER = 3 * FORWARD  # as torch has it: a zero for every weight's tangent
OFF = {"soflow": {"guidance": 1.0, "mix": 1.0}, "meanflow": {"omega": 1.0, "kappa": 0.0}}


def count(name: str, load: Callable[..., methods.Method] = methods.load, **more: Any) -> flops.Flops:
    return flops.training_flops(load(name, num_classes=CLASSES, **more), NET, SHAPE, CLASSES, BATCH)


def test_the_papers_count_is_the_sum_by_hand() -> None:
    assert 2 * dit.forward_macs(NET, SHAPE, CLASSES) == FORWARD
    assert flops.sampling_flops(NET, SHAPE, CLASSES, 4) == 4 * FORWARD


@pytest.mark.parametrize(
    ("name", "off", "forwards", "derivatives"),
    [
        ("flow_matching", False, 0, 0),
        ("soflow", True, 1 / 4, 0),  # f(x_l, l, s) of the jump rows
        ("soflow", False, 1 + 1 / 4 + 1 / 4, 0),  # and the null velocity of all, the own one of the jump rows
        ("meanflow", True, 0, 1 / 4),
        ("meanflow", False, 1 + 1 / 4, 1 / 4),
    ],
)
def test_a_step_needs_what_its_rows_add_up_to(name: str, off: bool, forwards: float, derivatives: float) -> None:
    found = count(name, **(OFF[name] if off else {}))
    assert found.needed == pytest.approx(TRAIN + forwards * FORWARD + derivatives * DERIVATIVE, rel=1e-12)


@pytest.mark.parametrize("name", methods.names())
def test_flops_per_image_are_those_executed_and_cost_is_a_bound(name: str) -> None:
    method = methods.load(name, num_classes=CLASSES)
    found = count(name)
    assert flops.flops_per_image(method, NET, SHAPE, CLASSES, BATCH) == found.executed
    assert found.needed <= found.executed
    assert found.needed == pytest.approx(method.cost * FORWARD, rel=0.1)


@pytest.mark.parametrize("name", published.NAMES)
def test_the_published_structures_are_counted_too(name: str) -> None:
    derivatives = {"meanflow": 2 * FORWARD + (EAGER - FORWARD)}  # two guiding velocities; the tangents beside the value
    others = {"flow_matching": 0.0, "soflow": 1.5 * FORWARD}
    found = count(name, published.load)
    assert found.executed == pytest.approx(TRAIN + (derivatives | others)[name], rel=1e-12)


def test_products_with_zeros_are_told_apart() -> None:
    with torch_linear():
        eager = count("meanflow", **OFF["meanflow"])
    ours = count("meanflow", **OFF["meanflow"])
    assert eager.executed == pytest.approx(TRAIN + EAGER / 4, rel=1e-12)
    assert eager.by_zero == pytest.approx((P["patches"] + P["linear"]) / 4, rel=1e-12)
    assert eager.needed == ours.needed == pytest.approx(TRAIN + DERIVATIVE / 4, rel=1e-12)


def test_what_is_called_a_product_with_zeros_is_one() -> None:
    """The same step with numbers in it: every factor is looked at."""

    class Zeros(TorchDispatchMode):
        flops = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            formula = flop_registry.get(func._overloadpacket)
            if formula and any(isinstance(a, Tensor) and a.dim() > 1 and not a.any() for a in args):
                self.flops += formula(*args, **(kwargs or {}), out_val=out)
            return out

    method, net, given = step_inputs("meanflow")
    with Zeros() as zeros, dit.attention_backend("math"), torch_linear():
        Objective(method, net)(*given)["loss"].mean().backward()
    with torch_linear():
        assert zeros.flops / BATCH == count("meanflow").by_zero > 0


@pytest.mark.parametrize("name", methods.names())
def test_sampling_costs_one_forward_pass_a_step(name: str) -> None:
    method = methods.load(name, num_classes=CLASSES)
    with torch.device("meta"):
        net, noise, label = dit.build(NET, SHAPE, CLASSES), torch.empty(3, *SHAPE), torch.zeros(3, dtype=torch.int64)
        with FlopCounterMode(display=False) as counter, dit.attention_backend("math"):
            method.sample(net, noise, label, 4)
    assert counter.get_total_flops() == 3 * flops.sampling_flops(NET, SHAPE, CLASSES, 4)


def test_counting_changes_no_random_state() -> None:
    before = torch.get_rng_state()
    flops.training_flops(methods.load("soflow", num_classes=CLASSES), NET, SHAPE, CLASSES, 5)
    assert torch.equal(before, torch.get_rng_state())


# Bytes


def step_inputs(name: str) -> tuple[Any, dit.DiT, tuple[Tensor, Tensor, Any]]:
    """A method, a network with weights that are nowhere zero, and a batch."""
    method, generator = methods.load(name, num_classes=CLASSES), torch.Generator().manual_seed(0)
    net = dit.build(NET, SHAPE, CLASSES)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0, 0.05, generator=generator)
    x0, label = torch.randn(BATCH, *SHAPE, generator=generator), torch.arange(BATCH) % CLASSES
    return method, net, (x0, label, method.draw(x0, label, generator, 0.5))


def test_added_bytes_are_those_of_the_fullest_moment() -> None:
    a, b = torch.randn(300, 200), torch.randn(200, 100)
    product = 4 * 300 * 100
    assert held.added_bytes(lambda: a @ b, CPU) == product
    assert held.added_bytes(lambda: (a @ b) @ b.T, CPU) == product + 4 * 300 * 200
    assert held.added_bytes(lambda: None, CPU) == 0

    def falls() -> Tensor:
        for _ in range(3):  # each is freed before the next
            c = (a @ b).relu()
            del c
        return torch.empty(10)

    assert held.added_bytes(falls, CPU) == 2 * product


def test_nothing_of_the_call_is_kept() -> None:
    kept: list[Any] = []

    def work() -> Tensor:
        made = torch.zeros(1000)
        kept.append(weakref.ref(made))
        return made

    assert held.added_bytes(work, CPU) == 4000
    assert kept[0]() is None


def test_older_tensors_that_are_freed_neither_count_nor_speak(capfd: pytest.CaptureFixture[str]) -> None:
    older = [torch.zeros(100_000)]

    def work() -> None:
        older.clear()
        torch.zeros(1000)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert held.added_bytes(work, CPU) == 4000
    assert not older
    assert capfd.readouterr() == ("", "")


def test_what_others_write_and_raise_arrives(capfd: pytest.CaptureFixture[str]) -> None:
    before = os.fstat(2)

    def work() -> None:
        os.write(2, b"a library's warning\n")
        raise RuntimeError("out of something")

    with pytest.raises(RuntimeError, match="out of something"):
        held.added_bytes(work, CPU)
    assert capfd.readouterr().err == "a library's warning\n"
    assert os.path.samestat(before, os.fstat(2))


@pytest.mark.parametrize("name", methods.names())
def test_a_step_adds_its_gradients_and_the_same_every_time(name: str) -> None:
    method, net, given = step_inputs(name)
    objective = Objective(method, net)

    def work() -> None:
        net.zero_grad(set_to_none=True)
        objective(*given)["loss"].mean().backward()

    def added() -> int:
        net.zero_grad(set_to_none=True)
        return held.added_bytes(work, CPU)

    added()
    first = added()
    assert first > sum(p.nbytes for p in net.parameters())
    assert first == added()


def test_the_state_is_weights_average_and_two_moments() -> None:
    _, net, _ = step_inputs("flow_matching")
    ema = dit.build(NET, SHAPE, CLASSES)
    optimiser = torch.optim.AdamW(net.parameters(), fused=True)
    weights = 4 * dit.parameter_count(net)
    buffers = net.pos_embed.nbytes
    count = len(list(net.parameters()))
    expected = 2 * (weights + buffers) + 2 * weights + 4 * count  # AdamW keeps a step number beside each
    assert held.state_bytes(net) == weights + buffers
    assert held.state_bytes(net, ema, optimiser) == expected, "before the first step: as it will be"
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    assert held.state_bytes(net, ema, optimiser) == expected, "gradients are no state"


@needs_gpu
def test_added_bytes_on_a_gpu() -> None:
    device = torch.device("cuda")
    a = torch.randn(512, 256, device=device)
    work: Callable[[], Tensor] = lambda: a.relu().exp()  # noqa: E731
    work()
    assert held.added_bytes(work, device) == 2 * a.nbytes
    assert held.added_bytes(lambda: None, device) == 0


# The ceiling


def test_the_ceiling_is_of_the_fastest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = {64: [0.9, 1.0, 5.0], 128: [4.0, 4.0, 4.0], 256: [100.0, 100.0, 100.0]}  # 128 does most a second
    sizes = iter(rounds)
    monkeypatch.setattr(ceiling, "_sizes", lambda *_: list(rounds))
    monkeypatch.setattr(ceiling, "time_rounds", lambda *_: rounds[next(sizes)])
    found = ceiling.measure(CPU, "fp32", 1.0)
    assert (found.size, found.rounds, found.precision) == (128, [4.0] * 3, "fp32")
    assert found.flops_per_second == 2 * 128**3 / 4.0
    assert found.tried == {size: 2 * size**3 / statistics.median(r) for size, r in rounds.items()}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_ceiling_multiplies_random_numbers_of_the_precision(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    products: list[Tensor] = []
    real = torch.mm

    def spy(a: Tensor, b: Tensor, *, out: Tensor) -> Tensor:
        products.append(real(a, b, out=out))
        return out

    monkeypatch.setattr(torch, "mm", spy)
    monkeypatch.setattr(ceiling, "FIRST_SIZE", 64)
    monkeypatch.setattr(ceiling, "LAST_SIZE", 64)
    before = torch.get_rng_state()
    found = ceiling.measure(CPU, precision, 0.0)
    assert torch.equal(before, torch.get_rng_state())
    assert found.size == 64
    assert len(found.rounds) >= 5
    assert products[0].dtype == {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    assert products[0].float().std().item() == pytest.approx(8.0, rel=0.1)  # 64 products of N(0, 1): a root of 64


def test_tf32_is_refused_where_there_is_none() -> None:
    with pytest.raises(BenchError, match="tf32 on cpu"):
        ceiling.measure(CPU, "tf32", 0.1)


@needs_gpu
def test_the_ceiling_of_a_gpu_tries_several_sizes() -> None:
    found = ceiling.measure(torch.device("cuda"), "bf16", 0.1)
    assert found.size in found.tried
    assert found.flops_per_second == max(found.tried.values())
