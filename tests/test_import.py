"""bench import: published weights mean here what they mean by their own specification, or are refused."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from bench import checkpoint, dit, rows, sample
from bench.importing import layouts
from bench.store import Root
from command_line import bench, mistake
from conftest import tiny_run
from pictures import make_tree, own_cache
from published_weights import CLASSES, forward, state

SOFLOW = {f"network.{key}": value for key, value in state("t_embedder", "s_embedder").items()}
MEANFLOW = state("t_embedder", "r_embedder", seed=1)
SIT = state("t_embedder", outputs=2, seed=2)
OURS = ("--dataset", "digits", "--epochs", "1")


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, t, s < t, labels, the null label among them."""
    generator = torch.Generator().manual_seed(5)
    t = torch.tensor([1.0, 0.9, 0.4, 0.05])
    return (
        torch.randn(4, 1, 8, 8, generator=generator),
        t,
        t * torch.tensor([0.0, 0.7, 0.2, 0.5]),
        torch.tensor([0, 3, 9, CLASSES]),
    )


def saved(folder: Path, what: Any, name: str = "weights.pt") -> Path:
    torch.save(what, folder / name)
    return folder / name


def imported(path: Path, root: Path, *words: str) -> str:
    """The name of the run."""
    result = bench("import", str(path), *OURS, "--root", str(root), *words)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def model_of(root: Path, name: str) -> sample.Model:
    newest = Root(root).run(name).newest_snapshot()
    assert newest is not None
    return sample.load_model(checkpoint.load_snapshot(newest), torch.device("cpu"))


def refusal(path: Path, *words: str) -> str:
    return mistake(bench("import", str(path), *OURS, "--root", str(path.parent / "root"), *words))


# The same output as the specification


@torch.no_grad()
def test_soflow(tmp_path: Path) -> None:
    """F(x, t, s) with t and t - s, the averaged weights of the two."""
    other = {key: 2 * value for key, value in SOFLOW.items()}
    name = imported(saved(tmp_path, {"model": other, "ema_model": SOFLOW, "steps": 7}), tmp_path)
    assert name.startswith("digits-soflow-N-2-imported-")
    x, t, s, label = inputs()
    weights = {key.removeprefix("network."): value for key, value in SOFLOW.items()}
    expected = forward(weights, x, {"t_embedder": t, "s_embedder": t - s}, label)
    model = model_of(tmp_path, name)
    torch.testing.assert_close(model.net(x, t, s, label).double(), expected, rtol=0, atol=1e-5)
    assert expected.abs().mean() > 0.05
    assert model.images == 7 * 128, "the file's steps of train.batch images"


@torch.no_grad()
def test_meanflow(tmp_path: Path) -> None:
    """u(x, r, t) with t and t - r; half precision and a safetensors file on the way."""
    rounded = {f"ema.{key}": value.half() for key, value in MEANFLOW.items()}
    safetensors.torch.save_file(rounded, tmp_path / "weights.safetensors")
    name = imported(tmp_path / "weights.safetensors", tmp_path)
    assert name.startswith("digits-meanflow-N-2-imported-")
    x, t, r, label = inputs()
    weights = {key.removeprefix("ema."): value for key, value in rounded.items()}
    expected = forward(weights, x, {"t_embedder": t, "r_embedder": t - r}, label)
    torch.testing.assert_close(model_of(tmp_path, name).net(x, t, r, label).double(), expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_sit_runs_the_other_way(tmp_path: Path) -> None:
    """x = T data + (1 - T) e and dx/dT = data - e: ours at t is minus theirs at 1 - t, and the first half of the channels."""
    name = imported(saved(tmp_path, SIT), tmp_path, "--layout", "sit")
    assert name.startswith("digits-flow_matching-N-2-imported-")
    x, t, _, label = inputs()
    expected = -forward(SIT, x, {"t_embedder": 1 - t}, label)[:, :1]
    model = model_of(tmp_path, name)
    torch.testing.assert_close(model.net(x, t, t, label).double(), expected, rtol=0, atol=1e-5)
    # An Euler step of SiT's ODE from noise, dT = 1 / 4, is a step of ours.
    first = x + forward(SIT, x, {"t_embedder": torch.zeros(4)}, label)[:, :1] / 4
    ours = x - model.net(x, torch.ones(4), torch.ones(4), label) / 4
    torch.testing.assert_close(ours.double(), first, rtol=0, atol=1e-5)


def test_reversed_time_in_closed_form() -> None:
    """The changed layer at t is the layer at 1 - t."""
    weight = torch.randn(5, 256, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    ours = dit.frequencies(t) @ layouts.reverse_time(weight).double().T
    torch.testing.assert_close(ours, dit.frequencies(1 - t) @ weight.T, rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_published_names_with_a_second_embedder(tmp_path: Path) -> None:
    weights = state("t_embedder", "s_embedder", seed=3)
    del weights["pos_embed"]
    path = saved(tmp_path, {f"module._orig_mod.{key}": value for key, value in weights.items()})
    assert "Choose with --method" in refusal(path, "--size", "8")
    assert "--size" in refusal(path, "--method", "soflow")
    name = imported(path, tmp_path, "--method", "meanflow", "--size", "8")
    x, t, s, label = inputs()
    expected = forward(weights, x, {"t_embedder": t, "s_embedder": t - s}, label)
    torch.testing.assert_close(model_of(tmp_path, name).net(x, t, s, label).double(), expected, rtol=0, atol=1e-5)


# A run like others, and never one that was trained here


def test_an_imported_run_is_sampled_and_scored(tmp_path: Path) -> None:
    name = imported(saved(tmp_path, {"model": SOFLOW}), tmp_path, "--raw", "--images", "512")
    root = ("--root", str(tmp_path))
    assert bench("sample", name, "--rows", "1", "--out", str(tmp_path / "grid.png"), *root).exit_code == 0
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")
    result = bench("eval", "--samples", "32", "--steps", "1,2", "--set", "eval.seeds=1", *root)
    assert result.exit_code == 0, result.output
    frame, description = rows.read_file(Root(tmp_path).result_file(name))
    assert set(frame["images"]) == {512}
    assert set(frame["run"]) == {name}
    assert {c["weights"] for c in description["protocols"].values()} == {"raw"}
    table = " ".join(bench("table", *root).stdout.split())
    assert f"soflow (imported soflow raw {description['imported']['sha256'][:12]})" in table, (
        "a table never passes it off as ours"
    )
    record = description["imported"]
    assert (record["file"], record["layout"], record["weights"]) == ("weights.pt", "soflow", "raw")
    assert re.fullmatch("[0-9a-f]{64}", record["sha256"])
    assert description["command"].startswith(f"bench eval {name}")
    pair = [f"{name}:frechet_distance:{steps}:0" for steps in (1, 2)]
    assert "Measured from the first row's snapshot" in bench("explain", *pair, *root).stdout
    again = bench("import", str(tmp_path / "weights.pt"), *OURS, "--raw", "--images", "512", *root)
    assert "here already" in again.stderr


def test_training_never_takes_the_place_of_imported_weights(tmp_path: Path) -> None:
    name = imported(saved(tmp_path, SOFLOW), tmp_path)
    run = Root(tmp_path).run(name)
    result = bench("config", "--config", str(run.config))
    assert f"# {name}" in result.stdout
    own = bench("config", "soflow", *OURS, "--net", "N/2").stdout
    assert name not in own
    assert "origin" not in own
    snapshot = run.newest_snapshot()
    assert snapshot is not None
    snapshot.write_bytes(snapshot.read_bytes()[:-8])
    for verb in (("run", "--config", str(run.config)), ("train", "--config", str(run.config))):
        message = mistake(bench(*verb, "--root", str(tmp_path)))
        assert "imported weights, and they can not be read" in message
    assert not list(run.path.glob("state/*"))
    imported(tmp_path / "weights.pt", tmp_path)
    checkpoint.load_snapshot(snapshot)


def test_other_data_than_the_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data may be away when the file is imported: what does not fit is then refused when it is scored."""
    own_cache(tmp_path / "cache", monkeypatch)
    path = saved(tmp_path, SOFLOW)
    words = ("--dataset", "image_folder", "--epochs", "1", "--root", str(tmp_path))
    message = mistake(bench("import", str(path), "--dataset", "gaussian", "--epochs", "1", "--root", str(tmp_path)))
    assert "(1, 8, 8) with 10 classes" in message
    assert "(1, 4, 4) with 1 classes" in message
    result = bench("import", str(path), *words)
    assert result.exit_code == 0, result.output
    assert "can not be opened" in result.stderr
    name = result.stdout.strip()
    assert json.loads(Root(tmp_path).run(name).provenance.read_text())["data_digest"] == ""
    make_tree(tmp_path / "photos", {"a": 2, "b": 2})
    folder = f"datasets.image_folder.folder={tmp_path / 'photos'}"
    message = bench("eval", name, "--set", folder, "--root", str(tmp_path))
    assert message.exit_code == 2
    assert "is a network for (C, H, W) = (1, 8, 8) with 10 classes" in message.stderr


def test_settings_that_the_file_can_not_know_are_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path, SOFLOW)
    assert "epochs" in mistake(bench("import", str(path), "--dataset", "digits", "--root", str(tmp_path)))
    for words, told in (
        (("--layout", "sofloww"), "did you mean 'soflow'?"),
        (("--method", "meanflow"), "The layout soflow with method meanflow"),
        (("--net", "T/2"), "is a N/2, not a T/2"),
        (("--layout", "sit"), "has the time embedders t_embedder and s_embedder"),
        (("--layout", "meanflow"), "t_embedder and r_embedder, as meanflow has"),
    ):
        assert told in refusal(path, *words)


# What can not be imported


BIAS = "network.blocks.0.mlp.fc1.bias"
WRONG: list[tuple[Any, str]] = [
    ({key: value for key, value in SOFLOW.items() if key != BIAS}, "missing ['blocks.0.mlp.fc1.bias']"),
    (SOFLOW | {"network.more": torch.zeros(1)}, "unexpected ['more']"),
    (SOFLOW | {BIAS: torch.zeros(9)}, "blocks.0.mlp.fc1.bias [9], not [128]"),
    (SOFLOW | {"network.pos_embed": SOFLOW["network.pos_embed"].flip(1)}, "positions"),
    (SOFLOW | {f"module.{BIAS}": torch.zeros(128)}, "behind their prefixes"),
    (SOFLOW | {BIAS: torch.full((128,), torch.nan)}, "not finite"),
    (SOFLOW | {BIAS: torch.zeros(128, dtype=torch.int64)}, "int64"),
    (SOFLOW | {"network.x_embedder.proj.weight": torch.zeros(48, 1, 2, 2)}, "2 blocks of width 48"),
    (SOFLOW | {"network.final_layer.linear.weight": torch.zeros(8, 32)}, "2 output channels"),
    ({"enc.8x8_conv.weight": torch.zeros(4, 1, 3, 3)}, "enc.8x8_conv.weight"),
    ({}, "it is empty"),
    ({"ema_model": {}}, "holds no weights"),
    ({"ema_model": {BIAS: 3.0}}, "of type float"),
    ([torch.zeros(2)], "no names"),
    (torch.zeros(2), "no names"),
    (SIT, "mean different things"),
]


@pytest.mark.parametrize(("weights", "told"), WRONG, ids=[told for _, told in WRONG])
def test_what_does_not_fit_is_named(tmp_path: Path, weights: Any, told: str) -> None:
    assert told in " ".join(refusal(saved(tmp_path, weights)).split())
    assert not list((tmp_path / "root").rglob("*.safetensors"))


def test_a_diffusion_dit_is_no_flow(tmp_path: Path) -> None:
    message = refusal(saved(tmp_path, SIT), "--layout", "dit")
    assert "predicts the noise" in message
    assert "steps 0 to 999" in message


def test_only_the_other_weights(tmp_path: Path) -> None:
    """Never the one for the other; a file that does not say which it holds is taken, and recorded so."""
    averaged = saved(tmp_path, {"ema_model": SOFLOW}, "averaged.pt")
    raw = saved(tmp_path, {"model": SOFLOW}, "raw.pt")
    assert "no raw weights, only 'ema_model'" in refusal(averaged, "--raw")
    assert "no averaged weights, only 'model'" in refusal(raw)
    names = [imported(averaged, tmp_path), imported(raw, tmp_path, "--raw"), imported(saved(tmp_path, SOFLOW), tmp_path)]
    found = [json.loads(Root(tmp_path).run(name).provenance.read_text())["imported"]["weights"] for name in names]
    assert found == ["ema", "raw", "unknown"]
    assert len(set(names)) == 3


class Hostile:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.place,)


@pytest.mark.parametrize("old_form", [False, True])
def test_code_in_a_file_is_not_run(tmp_path: Path, old_form: bool) -> None:
    path = tmp_path / "hostile.pt"
    torch.save({"ema_model": SOFLOW, "args": Hostile(tmp_path / "ran")}, path, _use_new_zipfile_serialization=not old_form)
    message = " ".join(refusal(path).split())
    assert "more than tensors" in message
    assert not (tmp_path / "ran").exists()


def test_files_that_are_none(tmp_path: Path) -> None:
    whole = saved(tmp_path, {"ema_model": SOFLOW}).read_bytes()
    safetensors.torch.save_file(SOFLOW, tmp_path / "whole.safetensors")
    names = (tmp_path / "whole.safetensors").read_bytes()
    cuts = {f"cut{n}.pt": whole[:n] for n in (1, 40, len(whole) // 2, len(whole) - 1)}
    cuts |= {f"cut{n}.safetensors": names[:n] for n in (9, 60, len(names) - 1)}
    for name, content in {"empty.pt": b"", "text.pt": b"no weights", "zip.pt": b"PK\x03\x04" + bytes(64), **cuts}.items():
        path = tmp_path / name
        path.write_bytes(content)
        refusal(path)
    refusal(tmp_path / "nowhere.pt")
    refusal(tmp_path)


def test_snapshots_of_this_suite_are_not_imported(tmp_path: Path) -> None:
    snapshot = Root(tmp_path).run(imported(saved(tmp_path, SOFLOW), tmp_path)).newest_snapshot()
    assert snapshot is not None
    assert "snapshot or a state of this suite" in refusal(snapshot)


def test_runs_of_our_own_keep_their_names() -> None:
    """The name that this run had before there were imported ones; `bench` finds it again, and its results merge."""
    assert tiny_run().name == "digits-soflow-N-2-s0-d894ef2c"
    assert "origin" not in tiny_run().as_suite()
