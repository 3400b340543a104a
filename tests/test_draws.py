"""What each method draws: row shares, time distributions, schedules, guidance decay; and the values it refuses.

Distributions are compared within four standard errors of 20,000 rows, on the logits: LN(mean, std) is normal there.
"""

import dataclasses
import math
from statistics import NormalDist
from typing import Any

import pytest
import torch
from torch import Tensor

import methods
from methods import flow_matching, meanflow, soflow

N = 20_000
X0 = torch.zeros(N, 1, 1, 1, dtype=torch.float64)
LABEL = torch.zeros(N, dtype=torch.int64)


def draw(method: Any, progress: float = 0.0) -> Any:
    return method.draw(X0, LABEL, torch.Generator().manual_seed(0), progress)


def assert_normal(values: Tensor, mean: float, std: float) -> None:
    n = len(values)
    assert abs(values.mean() - mean) < 4 * std / n**0.5
    assert abs(values.std() - std) < 4 * std / (2 * n) ** 0.5


def assert_frequency(hits: Tensor, probability: float) -> None:
    assert abs(hits.double().mean() - probability) < 4 * (probability * (1 - probability) / len(hits)) ** 0.5


# All methods


def test_take_cuts_every_field() -> None:
    for name in methods.names():
        whole = draw(methods.load(name, num_classes=1))
        for rows in (slice(2, 5), torch.tensor([2, 3, 4])):
            cut = methods.take(whole, rows)
            assert type(cut) is type(whole)
            for field in dataclasses.fields(cut):
                assert torch.equal(getattr(cut, field.name), getattr(whole, field.name)[2:5])


@pytest.mark.parametrize("name", methods.names())
def test_noise_is_standard_normal(name: str) -> None:
    assert_normal(draw(methods.load(name, num_classes=1)).noise.flatten(), 0.0, 1.0)


def check_row_share(module: Any, *, ratio: str) -> None:
    """floor(ratio * B) rows, the first ones."""
    for share, batch, expected in ((0.75, 8, 6), (0.75, 10, 7), (0.25, 8, 2), (0.0, 8, 0), (1.0, 8, 8)):
        method = module.Method(num_classes=1, **{ratio: share})
        assert method.velocity_rows(batch) == expected
        given = method.draw(X0[:batch], LABEL[:batch], torch.Generator().manual_seed(0), 0.0)
        end = given.r if ratio == "equal_ratio" else given.s
        assert (given.t == end).tolist() == [True] * expected + [False] * (batch - expected)


@pytest.mark.parametrize(("module", "ratio"), [(meanflow, "equal_ratio"), (soflow, "velocity_ratio")])
def test_row_share(module: Any, ratio: str) -> None:
    check_row_share(module, ratio=ratio)


def test_cost() -> None:
    """The counts of forward-equivalents: backward 2, derivative 2."""
    assert flow_matching.Method(num_classes=1).cost == 3
    assert meanflow.Method(num_classes=1, omega=1.0, kappa=0.0).cost == 3.5
    assert meanflow.Method(num_classes=1, omega=1.0, kappa=0.5).cost == 3 + 1 + 0.25 + 0.5
    assert soflow.Method(num_classes=1, guidance=1.0, mix=1.0).cost == 3.25
    assert soflow.Method(num_classes=1).cost == 4.5


# Times


def test_flow_matching_times() -> None:
    uniform = draw(flow_matching.Method(num_classes=1)).t
    assert_frequency(uniform < 0.25, 0.25)
    assert_frequency(uniform < 0.5, 0.5)
    assert_frequency(uniform < 0.75, 0.75)
    shifted = draw(flow_matching.Method(num_classes=1, time="logit_normal", time_mean=0.3, time_std=0.7)).t
    assert_normal(shifted.logit(), 0.3, 0.7)


def test_meanflow_times() -> None:
    """Both are LN(-0.4, 1), sorted; on the rows r = t the time is the larger of the two."""
    times = draw(meanflow.Method(num_classes=1))
    n = 3 * N // 4
    both = torch.cat([times.t[n:], times.r[n:]]).logit()
    assert_normal(both, -0.4, 1.0)
    larger = times.t[:n].logit()
    mean, std = -0.4 + 1 / math.sqrt(math.pi), math.sqrt(1 - 1 / math.pi)  # of the maximum of two normals
    assert_normal(larger, mean, std)
    assert torch.equal(times.t[:n], times.r[:n])


def test_soflow_times() -> None:
    """Velocity rows LN(-0.2, 1); jumps start at LN(0.2, 0.8) and end at LN(-1, 0.8), cut to 1e-4 before the start."""
    times = draw(soflow.Method(num_classes=1))
    n = 3 * N // 4
    assert_normal(times.t[:n].logit(), -0.2, 1.0)
    assert_normal(times.t[n:].logit(), 0.2, 0.8)
    cut = times.s[n:] == times.t[n:] - 1e-4
    assert_frequency(cut, NormalDist(mu=1.2, sigma=0.8 * math.sqrt(2)).cdf(0))  # of start before end, as logits
    late = draw(soflow.Method(num_classes=1, velocity_ratio=0.0, start_time=(12.0, 0.1)))  # starts too late to cut
    assert_normal(late.s.logit(), -1.0, 0.8)


@pytest.mark.parametrize(("progress", "ratio"), [(0.0, 0.1), (0.5, math.sqrt(0.1 * 0.002)), (1.0, 0.002)])
def test_soflow_draws_l_at_the_schedules_ratio(progress: float, ratio: float) -> None:
    times = draw(soflow.Method(num_classes=1, velocity_ratio=0.0), progress)
    gap = (times.t - times.s) * ratio
    torch.testing.assert_close(times.t - times.l, gap.clamp(min=1e-4), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("start", [0.2, -9.0])  # at -9, t is at its floor of 1e-4
@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_soflow_times_stay_apart_in_float32(start: float, progress: float) -> None:
    """0 <= s <= l < t: the quotient divides by t - l."""
    method = soflow.Method(num_classes=1, velocity_ratio=0.0, start_time=(start, 0.8))
    times = method.draw(X0.float(), LABEL, torch.Generator().manual_seed(1), progress)
    assert (times.s >= 0).all()
    assert (times.s <= times.l).all()
    assert (times.t - times.l >= 0.999e-4).all()


# Schedules


def test_gap_schedules() -> None:
    """From r_init to r_end, falling; "constant" stays."""
    steps = [i / 20 for i in range(21)]
    middles = {"exponential": math.sqrt(0.1 * 0.002), "linear": 0.051, "cosine": 0.051}
    for schedule, middle in middles.items():
        method = soflow.Method(num_classes=1, schedule=schedule)
        values = [method.gap_ratio(step) for step in steps]
        assert values[0] == pytest.approx(0.1, rel=1e-12)
        assert values[10] == pytest.approx(middle, rel=1e-12)
        assert values[-1] == pytest.approx(0.002, rel=1e-12)
        assert values == sorted(values, reverse=True)
        assert len(set(values)) == len(values)
    assert {soflow.Method(num_classes=1, schedule="constant").gap_ratio(step) for step in steps} == {0.1}
    assert soflow.Method(num_classes=1, schedule="linear").gap_ratio(0.25) == pytest.approx(0.0755)
    cosine = soflow.Method(num_classes=1, schedule="cosine").gap_ratio(0.25)
    assert cosine == pytest.approx(0.002 + 0.098 * math.cos(math.pi / 8) ** 2)


def test_guidance_decay() -> None:
    """Published: full up to t = 0.8, 0.025 at t = 0.9, practically off after."""
    t = torch.tensor([0.0, 0.5, 0.8, 0.9, 0.95, 1.0], dtype=torch.float64)
    decay = soflow.Method(num_classes=1).guidance_decay(t)
    expected = [1, 1, 1, 1 - math.exp(-0.025), 1 - math.exp(-0.025 / 3), 0]
    torch.testing.assert_close(decay, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)
    assert decay[3] == pytest.approx(0.025, abs=5e-4)
    fine = soflow.Method(num_classes=1).guidance_decay(torch.linspace(0, 1, 1001, dtype=torch.float64))
    assert (fine.diff() <= 0).all()
    assert torch.equal(soflow.Method(num_classes=1, guidance_cutoff=1.0).guidance_decay(t), torch.ones_like(t))


REFUSED = [
    ("flow_matching", {"time": "gauss"}, "time = 'gauss'; allowed: uniform, logit_normal"),
    ("flow_matching", {"time_std": 0.0}, "time_std = 0.0; allowed: a positive"),
    ("flow_matching", {"sampler": "rk4"}, "sampler = 'rk4'; allowed: euler, heun"),
    ("flow_matching", {"guidance": -1.0}, "guidance = -1.0; allowed: a number >= 0"),
    ("meanflow", {"equal_ratio": 1.1}, "equal_ratio = 1.1; allowed: 0 <= equal_ratio <= 1"),
    ("meanflow", {"p": -1.0}, "p = -1.0; allowed: p >= 0"),
    ("meanflow", {"eps": 0.0}, "eps = 0.0; allowed: eps > 0"),
    ("meanflow", {"kappa": 1.0}, "kappa = 1.0; allowed: 0 <= kappa < 1"),
    ("meanflow", {"guidance_interval": (0.8, 0.2)}, "guidance_interval = .*; allowed: two times a <= b"),
    ("meanflow", {"time": (0.0, 0.0)}, "time = .*; allowed: .* std > 0"),
    ("soflow", {"velocity_ratio": -0.1}, "velocity_ratio = -0.1; allowed: 0 <= velocity_ratio <= 1"),
    ("soflow", {"r_end": 0.0}, "r_end = 0.0; allowed: both above 0"),
    ("soflow", {"schedule": "expo"}, "schedule = 'expo'; allowed: exponential, linear, cosine, constant"),
    ("soflow", {"mix": 0.0}, "mix = 0.0; allowed: 0 < mix <= 1"),
    ("soflow", {"guidance_cutoff": 2.0}, "guidance_cutoff = 2.0; allowed: a time in"),
    ("soflow", {"path": "triangular"}, "path = 'triangular'; allowed: linear, trigonometric"),
    ("soflow", {"parameterization": "trig"}, "parameterization = 'trig'; allowed: euler, trigonometric"),
    ("soflow", {"end_time": (0.0, -1.0)}, "end_time = .*; allowed: .* std > 0"),
]


@pytest.mark.parametrize(("name", "hyperparameters", "message"), REFUSED)
def test_bad_values_are_refused(name: str, hyperparameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        methods.load(name, num_classes=1, **hyperparameters)


def test_lists_of_a_configuration_file_become_tuples() -> None:
    """TOML knows lists only; the dataclass stays hashable."""
    listed = methods.load("meanflow", num_classes=1, guidance_interval=[0.0, 0.8])
    assert listed == methods.load("meanflow", num_classes=1, guidance_interval=(0.0, 0.8))
    assert hash(methods.load("soflow", num_classes=1, start_time=[0.2, 0.8])) == hash(soflow.Method(num_classes=1))
