"""bench plan: arithmetic that can be checked by hand, the probe's lines, what is refused, and that nothing is written."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import checkpoint, dit, pipeline, plan, probe
from bench.errors import BenchError, RunFailed
from bench.probe import Measured, Probe, Shapes
from bench.store import Root
from command_line import bench, mistake
from conftest import TINY, tiny_suite

METHODS = ("soflow", "meanflow", "flow_matching")
WORDS = [word for setting in TINY for word in ("--set", setting)]


@pytest.fixture(autouse=True)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes are made up, except where a test asks for one."""
    measured = Measured((Probe(8, 1.0, 2_000_000_000), Probe(16, 1.5, 3_000_000_000)), 500_000_000, 0.01)
    monkeypatch.setattr(probe, "apart", lambda *_: measured)


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory and disk for any run, whatever this machine has left; a test of what does not fit sets its own."""
    monkeypatch.setattr(probe, "free_memory", lambda _: 10**12)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10**13})())


def test_arithmetic() -> None:
    """Images, steps, operations and hours of a run, and the disk of all, from their definitions."""
    suite = tiny_suite("run.net=N/2", "run.epochs=10", "run.seeds=2", "train.batch=32", methods=METHODS)
    outcome = plan.plan(suite, Root(Path()))
    net = dit.build("N/2", (1, 8, 8), 10)
    parameters = sum(p.numel() for p in net.parameters())
    macs = dit.forward_macs("N/2", (1, 8, 8), 10)
    for one, equivalents in zip(outcome.plans, (3.5, 3.5, 3.0), strict=True):
        assert (one.parameters, one.forward_macs, one.forward_equivalents) == (parameters, macs, equivalents)
        assert (one.images, one.steps) == (32 * 562, 562), "17,970 images, rounded up to whole batches"
        assert one.gpu_hours["H100"] == pytest.approx(one.images * 2 * macs * equivalents / (0.5 * 67e12) / 3600)
        assert len(one.runs) == 2
        assert one.disk == 2 * (36 * parameters + plan.RESULTS)
    assert outcome.disk == 6 * (36 * parameters + plan.RESULTS) + 16 * parameters
    assert not outcome.missing
    assert not outcome.refusals


def test_bytes_a_parameter_are_those_of_the_files(tmp_path: Path, digits: Any) -> None:
    """States and snapshots are as large as the plan says, to the positions and the header."""
    suite = tiny_suite("run.net=T/2", "run.epochs=0.05", "loop.save_seconds=0.000001")
    config = suite.runs()[0]
    job = pipeline.Job(config=config, suite=suite, root=Root(tmp_path), dataset=digits)
    pipeline.run_one(job, pipeline.Stages(evaluate=False, speed=False))
    parameters = plan.plan(suite, Root(tmp_path), measure=False).plans[0].parameters
    state, snapshot = checkpoint.state_files(job.run.state)[0], job.run.newest_snapshot()
    assert snapshot is not None
    assert state.stat().st_size == pytest.approx(plan.STATE * parameters, rel=0.03)
    assert snapshot.stat().st_size == pytest.approx(plan.SNAPSHOT * parameters, rel=0.03)


def test_lines_through_the_probes() -> None:
    suite = tiny_suite("train.batch=32", "run.epochs=10", methods=("soflow",))
    one = plan.plan(suite, Root(Path())).plans[0]
    assert one.batch == 32
    assert one.memory == 5_000_000_000
    assert one.train_seconds == pytest.approx(2.5 * one.steps)
    assert one.score_seconds == pytest.approx(0.01 * (1 + 2) * 1 * 64)
    assert probe.at(100, [(10, 5.0)], 1.0) == pytest.approx(1 + 0.4 * 100), "one probe: from what is held without images"
    assert probe.at(100, [(10, 5.0), (20, 4.0)], 0.0) == 4.0, "a line that falls is none"


def test_several_processes_share_a_batch() -> None:
    suite = tiny_suite("train.batch=32", methods=("soflow",))
    alone, four = (plan.plan(suite, Root(Path()), gpus=n).plans[0] for n in (1, 4))
    assert (alone.batch, four.batch) == (32, 8)
    assert four.gpu_hours["A100"] == pytest.approx(alone.gpu_hours["A100"] / 4)
    assert four.train_seconds == pytest.approx(1.0 * four.steps)
    assert four.memory == 2_000_000_000


def test_small_pieces_of_a_batch() -> None:
    suite = tiny_suite("train.batch=32", "loop.micro_batch=8", methods=("soflow",))
    one = plan.plan(suite, Root(Path())).plans[0]
    assert (one.batch, one.memory) == (8, 2_000_000_000)
    assert one.train_seconds == pytest.approx(4 * 1.0 * one.steps)


def test_a_batch_that_can_not_be_shared_out() -> None:
    """As training refuses it."""
    assert "on 64 processes" in mistake(bench("plan", "soflow", *WORDS, "--gpus", "64"))


# What can not fit


def test_memory_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Refused after the table; without a probe where weights and moments alone are too much."""
    monkeypatch.setattr(probe, "free_memory", lambda _: 4_000_000_000)
    result = bench("plan", "soflow", *WORDS, "--root", str(tmp_path))
    assert "soflow needs 5.0 GB of memory for 32 images at a time" in " ".join(mistake(result).split())
    assert "parameters" in result.stdout
    monkeypatch.setattr(probe, "apart", lambda *_: pytest.fail("there is no room for a probe"))
    monkeypatch.setattr(probe, "free_memory", lambda _: 100_000)
    assert "needs at least" in mistake(bench("plan", "soflow", *WORDS, "--root", str(tmp_path)))


def test_disk_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    result = bench("plan", *WORDS, "--json", "--root", str(tmp_path / "not" / "yet"))
    assert "of disk, where 0 MB are free" in mistake(result)
    found = json.loads(result.stdout)
    assert found["refusals"]
    assert found["disk"] > found["disk_free"] == 1000


def test_settings_that_can_not_be_run() -> None:
    assert "Unknown net 'Q/2'" in mistake(bench("plan", "--net", "Q/2"))
    assert "did you mean 'soflow'" in mistake(bench("plan", "solow"))
    with pytest.raises(BenchError, match="folder"):
        plan.plan(tiny_suite("run.dataset=image_folder"), Root(Path()), measure=False)


# What is missing, and what is printed


def test_data_and_weights_that_are_not_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """ImageNet's size is known without it; each missing file is named with what to do."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("BENCH_INCEPTION_WEIGHTS", raising=False)
    result = bench("plan", "soflow", "--config", "imagenet-b4", "--no-probe", "--root", str(tmp_path / "root"))
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    for told in ("131.17 M", "5.56 GMAC", "4.5 forwards", "102 M", "400,365", "1,281,167 images"):
        assert told in text, told
    assert "missing: data imagenet_latents" in text
    assert "missing: extractor inception: The weights 'inception' are missing" in text
    assert "missing: reference: " in text
    assert not (tmp_path / "root").exists()


def test_the_table_fits_80_columns_and_json_has_all_of_it(tmp_path: Path) -> None:
    result = bench("plan", *METHODS, *WORDS, "--gpus", "8", "--root", str(tmp_path))
    assert result.exit_code == 0, result.output
    table = result.stdout.partition("\n\n")[0].splitlines()
    assert len(table) > 10
    assert all(len(line) <= 80 for line in table)
    assert all(method in table[0] for method in METHODS)
    assert "an estimate" in result.stdout
    found = json.loads(bench("plan", *METHODS, *WORDS, "--json", "--root", str(tmp_path)).stdout)
    assert [one["method"] for one in found["plans"]] == list(METHODS)
    assert found["assumed"]["utilisation"]["bf16"] == 0.25
    assert not list(tmp_path.iterdir())


# The probe itself


def test_a_real_probe_takes_steps() -> None:
    config = tiny_suite(methods=("meanflow",)).runs()[0]
    found = probe.measure(config, Shapes((1, 8, 8), 10, 100), torch.device("cpu"), 32, 1e9)
    assert [p.batch for p in found.probes] == [8, 32]
    assert all(p.seconds > 0 and p.peak > 10_000_000 for p in found.probes)
    assert 0 < found.evaluation < 1


def test_batches_are_small_where_a_step_is_long() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert probe.batches(256, 1e12, cpu) == (2, 8)
    assert probe.batches(256, 1e12, gpu) == (10, 40)
    assert probe.batches(256, 1e6, cpu) == (64, 256)
    assert probe.batches(2, 1e12, cpu) == (2,)


def test_a_probe_that_fails_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RunFailed("no memory")

    monkeypatch.setattr(probe, "apart", fails)
    outcome = plan.plan(tiny_suite(), Root(Path()))
    assert outcome.notes == ("soflow: no probe here, no memory.",)
    assert outcome.plans[0].memory is None


def test_a_precision_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No probe, and the hours of GPUs that have it."""
    monkeypatch.setattr(probe, "apart", lambda *_: pytest.fail("it would measure another precision"))
    suite = tiny_suite("train.precision=tf32", "loop.device=cpu")
    outcome = plan.plan(suite, Root(Path()))
    assert "TF32 is of NVIDIA GPUs" in outcome.notes[0]
    exact = plan.plan(tiny_suite(), Root(Path()), measure=False).plans[0].gpu_hours["A100"]
    assert outcome.plans[0].gpu_hours["A100"] == pytest.approx(exact * (19.5 * 0.5) / (156 * 0.25))


def test_memory_of_a_container(tmp_path: Path) -> None:
    for name, text in {"memory.max": "1000", "memory.current": "700", "memory.stat": "anon 1\ninactive_file 50\n"}.items():
        (tmp_path / name).write_text(text)
    assert probe._of_group(tmp_path) == 350
    (tmp_path / "memory.max").write_text("max\n")
    assert probe._of_group(tmp_path) is None
    assert probe._of_group(tmp_path / "none") is None
