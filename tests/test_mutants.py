"""Planted bugs must be caught: each mutant changes a method's source text, and the named check must fail on it.

The unchanged source passes the same check, and the text that a mutant replaces must occur exactly once, so that a
mutant neither passes for a wrong reason nor rots when the code moves.
"""

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import methods
import test_contract as contract
import test_draws as draws
import test_oracles as oracles
import test_transcription as transcription

FOLDER = Path(methods.__file__).parent


def source(file: str, changes: list[tuple[str, str]]) -> str:
    text = (FOLDER / f"{file}.py").read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1, f"{file}.py holds {old!r} {text.count(old)} times: write the mutant anew"
        text = text.replace(old, new)
    return text


@contextmanager
def executed(method: str, changes: list[tuple[str, str, str]]) -> Iterator[Any]:
    """The module of `method` after the changes (file, old, new) to its file and to _path.py."""
    modules = {}
    original = sys.modules["methods._path"]
    try:
        for file in ("_path", method):
            module = types.ModuleType(f"methods.{file}" if file == "_path" else f"mutant_{file}")
            sys.modules[module.__name__] = modules[file] = module  # dataclasses look their module up
            exec(source(file, [(old, new) for where, old, new in changes if where == file]), module.__dict__)
            methods._path = modules["_path"]  # `from methods import _path` reads the attribute
        yield modules[method]
    finally:
        sys.modules["methods._path"] = methods._path = original
        sys.modules.pop(f"mutant_{method}", None)


# name: (method, [(file, old, new)], check, its arguments)
DERIVATIVE = "lambda x, t: net(x, t, s, label)"
MUTANTS: dict[str, tuple[str, list[tuple[str, str, str]], Any, dict[str, Any]]] = {
    # MeanFlow
    "meanflow: sign of the derivative": (
        "meanflow", [("meanflow", "return v - expand(t - r, v)", "return v + expand(t - r, v)")],
        oracles.check_meanflow_residual, {}),
    "meanflow: tangent dt = 0": (
        "meanflow", [("_path", "torch.ones_like(t))", "torch.zeros_like(t))")], oracles.check_meanflow_residual, {}),
    "meanflow: tangent dr = 1": (
        "meanflow", [("_path", DERIVATIVE, "lambda x, t: net(x, t, s + t - primals[1], label)")],
        oracles.check_meanflow_residual, {}),
    "meanflow: tangent dx = 0": (
        "meanflow", [("_path", "(velocity.clone(),", "(0 * velocity,")], oracles.check_meanflow_residual, {}),
    "meanflow: tangent of the unguided velocity": (
        "meanflow", [("meanflow", "v[n:]) if n <", "(draw.noise - x0)[n:]) if n <")], transcription.check_meanflow, {}),
    "meanflow: t and r swapped in the residual": (
        "meanflow", [("meanflow", "net(x_t, draw.t, draw.r, label) -", "net(x_t, draw.r, draw.t, label) -")],
        oracles.check_meanflow_residual, {}),
    "meanflow: t and r swapped in the loss": (
        "meanflow", [("meanflow", "net(x_t, t, r, given)", "net(x_t, r, t, given)")], transcription.check_meanflow, {}),
    "meanflow: t and r swapped when sampling": (
        "meanflow", [("meanflow", "net(x, t, r, label)", "net(x, r, t, label)")], oracles.check_meanflow_sampler, {}),
    "meanflow: guidance sign": (
        "meanflow", [("meanflow", "weight = 1 - self.omega - self.kappa", "weight = self.omega + self.kappa - 1")],
        transcription.check_meanflow, {}),
    "meanflow: guided outside the interval": (
        "meanflow", [("meanflow", "(draw.t >= low) & (draw.t <= high) & ", "")], transcription.check_meanflow, {}),
    "meanflow: interval open at its ends": (
        "meanflow", [("meanflow", "(draw.t >= low)", "(draw.t > low)")], transcription.check_meanflow, {}),
    "meanflow: dropped rows are guided": (
        "meanflow", [("meanflow", " & ~draw.drop", "")], transcription.check_meanflow, {}),
    "meanflow: labels are not dropped": (
        "meanflow", [("meanflow", "null_where(draw.drop, label, self.num_classes)", "label")],
        transcription.check_meanflow, {}),
    "meanflow: missing stop-gradient": (
        "meanflow",
        [("_path", "with torch.no_grad(), sdpa_kernel", "with sdpa_kernel"),
         ("_path", "return derivative.detach()", "return derivative"),
         ("meanflow", "torch.cat([v[:n], jump]).detach()", "torch.cat([v[:n], jump])")],
        transcription.check_meanflow, {}),
    "meanflow: row split": (
        "meanflow", [("meanflow", "floor(self.equal_ratio * batch)", "floor((1 - self.equal_ratio) * batch)")],
        draws.check_row_share, {"ratio": "equal_ratio"}),
    "meanflow: the last rows are drawn equal": (
        "meanflow", [("meanflow", "torch.cat([t[:n], r[n:]])", "torch.cat([r[:n], t[n:]])")],
        contract.check_draw, {}),
    "meanflow: weight carries gradient": (
        "meanflow", [("_path", "(square.detach() + eps)", "(square + eps)")], transcription.check_meanflow, {}),
    "meanflow: weight of the mean of squares": (
        "meanflow", [("meanflow", "square = sum_px(error", "square = mean_px(error")], transcription.check_meanflow, {}),
    # SoFlow
    "soflow: sign of b": (
        "soflow", [("soflow", "return torch.ones_like(t), s - t", "return torch.ones_like(t), t - s")],
        oracles.check_soflow_quotient, {}),
    "soflow: sign of b in the loss": (
        "soflow", [("soflow", "torch.sign(b) * mean_px", "mean_px")], transcription.check_soflow, {}),
    "soflow: sign of the derivative": (
        "soflow", [("soflow", "x_l = x_t + v *", "x_l = x_t - v *")], oracles.check_soflow_quotient, {}),
    "soflow: x_l is x_t": (
        "soflow", [("soflow", "x_l = x_t + v *", "x_l = x_t + 0 * v *")], oracles.check_soflow_quotient, {}),
    "soflow: t and s swapped in the loss": (
        "soflow", [("soflow", "return net(x_t, draw.t, draw.s, label)", "return net(x_t, draw.s, draw.t, label)")],
        transcription.check_soflow, {}),
    "soflow: t and s swapped": (
        "soflow", [("soflow", "expand(b, x) * net(x, t, s, label)", "expand(b, x) * net(x, s, t, label)")],
        oracles.check_soflow_sampler, {}),
    "soflow: slope of b": (
        "soflow", [("soflow", 'return 1.0 if self.parameterization == "euler" else HALF_PI', "return 1.0")],
        transcription.check_soflow, {"parameterization": "trigonometric"}),
    "soflow: sign of the trigonometric velocity": (
        "soflow", [("soflow", "HALF_PI * (cos * noise - sin * x0)", "HALF_PI * (cos * noise + sin * x0)")],
        transcription.check_soflow, {"path": "trigonometric"}),
    "soflow: guidance sign": (
        "soflow", [("soflow", "(self.guidance - 1), v)", "(1 - self.guidance), v)")], transcription.check_soflow, {}),
    "soflow: guidance does not fade": (
        "soflow", [("soflow", "expand(self.guidance_decay(draw.t) *", "expand(torch.ones_like(draw.t) *")],
        transcription.check_soflow, {}),
    "soflow: dropped rows are guided": (
        "soflow", [("soflow", "torch.where(expand(draw.drop, v), v, guided)", "guided")], transcription.check_soflow, {}),
    "soflow: mix the wrong way round": (
        "soflow", [("soflow", "self.mix * guided + (1 - self.mix)", "(1 - self.mix) * guided + self.mix")],
        transcription.check_soflow, {}),
    "soflow: gradient through f(x_l, l, s)": (
        "soflow", [("soflow", "with torch.no_grad():\n            f_l", "with torch.enable_grad():\n            f_l")],
        transcription.check_soflow, {}),
    "soflow: gradient through the target velocity": (
        "soflow",
        [("soflow", "@torch.no_grad()\n    def _guide", "def _guide"), ("soflow", "output[:n].detach()", "output[:n]")],
        transcription.check_soflow, {}),
    "soflow: row split": (
        "soflow", [("soflow", "floor(self.velocity_ratio * batch)", "floor((1 - self.velocity_ratio) * batch)")],
        draws.check_row_share, {"ratio": "velocity_ratio"}),
    "soflow: row split of the loss": (
        "soflow", [("soflow", "draw, given, n)\n", "draw, given, n); n = len(x0) - n\n")],
        transcription.check_soflow, {}),
    "soflow: l and s swapped in the draw": (
        "soflow", [("soflow", "t=t, s=s, l=l, drop=drop)", "t=t, s=l, l=s, drop=drop)")], contract.check_draw, {}),
    "soflow: renoise ignored": (
        "soflow", [("soflow", "_path.fresh_noise(renoise, i - 1, noise)", "noise")], oracles.check_soflow_sampler, {}),
    "soflow: weight carries gradient": (
        "soflow", [("_path", "(square.detach() + eps)", "(square + eps)")], transcription.check_soflow, {}),
    # Flow Matching
    "flow_matching: sign of the velocity": (
        "flow_matching", [("flow_matching", "draw.t, label) - v", "draw.t, label) + v")],
        oracles.check_flow_matching_residual, {}),
    "flow_matching: labels are not dropped": (
        "flow_matching", [("flow_matching", "null_where(draw.drop, label, self.num_classes)", "label")],
        transcription.check_flow_matching, {"drop": "some"}),
    "flow_matching: guidance sign": (
        "flow_matching", [("flow_matching", "v_null + self.guidance *", "v_null - self.guidance *")],
        oracles.check_guided_sampling, {}),
    "flow_matching: Heun's second velocity is the first": (
        "flow_matching", [("flow_matching", "(v + self._velocity(net, ahead, r, label)) / 2", "v")],
        oracles.check_ode_order, {"sampler": "heun", "order": 2}),
    "flow_matching: Heun pays twice": (
        "flow_matching", [("flow_matching", "count = steps // per_step", "count = steps")],
        oracles.check_evaluations, {"net": "velocity_net", "steps": 8, "sampler": "heun"}),
    "flow_matching: the path the wrong way round": (
        "flow_matching", [("_path", "(1 - t) * x0 + t * noise", "t * x0 + (1 - t) * noise")],
        transcription.check_flow_matching, {"drop": "some"}),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(name: str) -> None:
    method, changes, check, arguments = MUTANTS[name]
    with executed(method, []) as unchanged:
        check(unchanged, **arguments)
    with executed(method, changes) as mutant, pytest.raises(AssertionError):
        check(mutant, **arguments)


def test_the_modules_are_left_as_they_were() -> None:
    before = methods._path
    with executed("soflow", []) as module:
        assert module._path is not before
    assert methods._path is before is sys.modules["methods._path"]
