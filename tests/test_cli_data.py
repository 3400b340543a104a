"""bench data as a person types it, and the way from pictures to scores: prepare, check, train, sample, decode, score."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import Result

from bench import datasets, evaluate, extractors, latents, references, rows
from bench.config import Eval
from bench.pipeline import Stages
from bench.speed import run_rows
from bench.store import Root
from command_line import bench, mistake
from conftest import one_run, tiny_suite
from tiny_vae import save_tree, save_vae


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with vae/, tree/ and out/, made by the command line. Read only."""
    root = tmp_path_factory.mktemp("made")
    save_vae(root / "vae")
    save_tree(root / "tree")
    assert prepare(root, root / "out", "--flips").exit_code == 0
    return root


def prepare(made: Path, out: Path, *more: str) -> Result:
    words = ("--source", str(made / "tree"), "--vae", str(made / "vae"), "--out", str(out), "--size", "32")
    return bench("data", "prepare", "imagenet", *words, "--batch", "3", "--shard", "4", "--device", "cpu", *more)


# The verbs


@pytest.mark.parametrize("verb", ["prepare", "verify", "check", "fetch"])
def test_help_has_an_example(verb: str) -> None:
    assert re.search(rf"Example: bench data {verb} \S+", " ".join(bench("data", verb, "--help").output.split()))


def test_prepare_says_size_time_and_digest(made: Path, tmp_path: Path) -> None:
    result = prepare(made, tmp_path / "out", "--half", "--subset", "6")
    assert result.exit_code == 0
    assert "6 images in 3 classes: 4x4x4 float16 latents of 32x32 pixels, plain" in result.stderr
    assert "by the first 3 images" in result.stderr
    assert re.search(r"6 images, digest [0-9a-f]{12}", result.stdout)
    again = prepare(made, tmp_path / "out", "--half", "--subset", "6")
    assert again.stdout == result.stdout
    assert "by the first" not in again.stderr


def test_verify_and_check_leave_with_one_where_something_is_wrong(made: Path, tmp_path: Path) -> None:
    assert bench("data", "verify", str(made / "out")).exit_code == 0
    result = bench("data", "check", str(made / "out"), "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "PSNR (dB)" in result.stdout
    assert ": right" in result.stdout
    other = bench("data", "check", str(made / "out"), "--device", "cpu", "--vae", str(save_vae(tmp_path / "other", seed=1)))
    assert other.exit_code == 1
    assert "its weights have sha256" in other.stdout
    out = shutil.copytree(made / "out", tmp_path / "out")
    shard = out / "shards" / "00000.npy"
    shard.write_bytes(shard.read_bytes()[:-1])
    wrong = bench("data", "verify", str(out))
    assert wrong.exit_code == 1
    assert "is damaged" in wrong.stdout.replace("\n", " ")


def test_several_processes_by_torchrun(made: Path, tmp_path: Path) -> None:
    """The launch line of the README, with its progress from the first process alone."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "bench"]
    words = ["data", "prepare", "imagenet", "--source", str(made / "tree"), "--vae", str(made / "vae"), "--out", "latents"]
    settings = ["--size", "32", "--batch", "3", "--shard", "4", "--device", "cpu", "--flips"]
    result = subprocess.run([*launch, *words, *settings], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert latents.read_manifest(tmp_path / "latents").digest == latents.read_manifest(made / "out").digest
    assert result.stdout.count("14 images, digest") == 1
    assert result.stderr.count("14 images in 3 classes") == 1


def test_mistakes_are_told_in_three_parts(made: Path, tmp_path: Path) -> None:
    assert "'imagnet' (did you mean 'imagenet'?)" in mistake(
        bench("data", "prepare", "imagnet", "--source", str(made), "--vae", "x", "--out", str(tmp_path / "o"))
    )
    assert "made otherwise" in mistake(prepare(made, made / "out", "--half"))
    assert "has no manifest.json" in mistake(bench("data", "verify", str(made / "tree")))
    assert "Unknown data set to fetch 'imagenet'" in mistake(bench("data", "fetch", "imagenet"))
    settings = ("--dataset", "imagenet_latents", "--root", str(tmp_path), "--dry-run")
    assert "a prepared folder" in mistake(bench("run", *settings))


# From pictures to scores


def latents_suite(made: Path, *settings: str) -> Any:
    folder = f'datasets.imagenet_latents.folder="{made / "out"}"'
    return tiny_suite("run.dataset=imagenet_latents", "run.epochs=4", "train.batch=8", "eval.samples=16", folder, *settings)


@pytest.fixture(scope="module")
def latents_run(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Root:
    root = tmp_path_factory.mktemp("run")
    suite = latents_suite(made)
    dataset = datasets.load("imagenet_latents", **suite.datasets["imagenet_latents"])
    one_run(suite, root, dataset, Stages(speed=False))
    return Root(root)


def test_latents_are_trained_on_sampled_decoded_and_scored(latents_run: Root, made: Path) -> None:
    frame, descriptions = rows.read(latents_run.results)
    assert set(frame["status"]) == {"ok"}
    assert {1, 2} <= set(frame.loc[frame["metric"] == "frechet_distance", "steps"])
    ((_, described),) = descriptions.items()
    (conditions,) = described["protocols"].values()
    assert conditions["decoder_precision"] == "fp32"
    assert len(conditions["decoder_vae"]) == 64
    assert list(latents_run.path.rglob("steps-1.png"))
    assert made.exists()


def test_a_decoder_in_another_precision_is_another_protocol(made: Path, tmp_path: Path) -> None:
    ids = set()
    for precision in ("fp32", "bf16"):
        dataset = datasets.load("imagenet_latents", folder=str(made / "out"), decoder_precision=precision)
        judge = extractors.load("pixels", (3, 32, 32))
        real = references.of_dataset(dataset, judge, tmp_path)
        (judged,) = evaluate.make_judges(dataset, [judge], Eval(samples=16), tmp_path)
        ids.add(judged.protocol.id)
        assert judged.reference.digest == real.digest == datasets.pixels_digest(dataset)
    assert len(ids) == 2
    assert len(list(tmp_path.glob("*.npz"))) == 2, "the real images' statistics are kept apart"


def test_protocols_of_pixels_are_what_they_were(digits: Any) -> None:
    """The id at the commit before data sets had conditions of their own."""
    judge = extractors.load("digits", (1, 8, 8))
    real = references.Reference("digits", "0" * 64, 1797, None)  # type: ignore[arg-type]
    protocol = evaluate.make_protocol(real, judge, Eval(), decoder=datasets.conditions_of(digits))
    assert protocol.id == "digits-n2000-random-24d849"


def test_decoding_is_timed_apart(made: Path) -> None:
    suite = latents_suite(made, "speed.batch=4")
    dataset = datasets.load("imagenet_latents", **suite.datasets["imagenet_latents"])
    found = {row.metric: row for row in run_rows.measure(suite.runs()[0], dataset, suite, torch.device("cpu"), 0)}
    assert found["decode_images_per_second"].value > 0  # type: ignore[operator]
    assert found["decode_latency_ms"].value > 0  # type: ignore[operator]
    assert found["decode_latency_ms"].steps is None, "no number of steps changes it"
