"""Our scores in-stream against torch-fidelity's own command on PNG folders, with one random network on both sides."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench import estimates, extractors, metrics, rng, scores
from bench.references import Reference
from random_networks import inception_weights, varied_images

N = 24
WANTED = ("frechet_distance", "inception_score", "kernel_distance_subsets", "precision", "recall")


def save(folder: Path, images: Tensor) -> Path:
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{i:03d}.png")
    return folder


def read(folder: Path) -> Tensor:
    pixels = []
    for path in sorted(folder.iterdir()):
        with Image.open(path) as image:
            pixels.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
    return torch.stack(pixels)


def theirs(a: Path, b: Path, weights: Path) -> dict[str, float]:
    """What the command `fidelity` prints."""
    command = [sys.executable, "-W", "ignore", "-m", "torch_fidelity.fidelity", "--cpu", "--json", "--silent", "--no-cache"]
    command += ["--input1", str(a), "--input2", str(b), "--isc", "--fid", "--kid", "--prc", "--kid-subset-size", "10"]
    command += ["--save-cpu-ram", "--batch-size", "12", "--feature-extractor", "inception-v3-compat"]
    command += ["--feature-extractor-weights-path", str(weights)]
    printed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert printed.returncode == 0, printed.stderr
    found: dict[str, float] = json.loads(printed.stdout)
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, float], dict[str, float], Tensor]:
    """(theirs, ours, our logits)."""
    folder = tmp_path_factory.mktemp("png")
    a, b = save(folder / "a", varied_images(N, seed=1)), save(folder / "b", varied_images(N, seed=2) // 2 + 60)
    weights, sha256 = inception_weights()
    extractor = extractors.load("inception", (3, 32, 32), weights=str(weights), sha256=sha256)
    real = extractors.outputs(extractor, read(b))
    reference = Reference("b", "0" * 64, N, metrics.statistics(real.features), None, lambda: real.features)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimates, "SUBSET", 10)  # of so few images; 1,000 else
        scorer = scores.Scorer(extractor, reference, WANTED, N)
        order = torch.randperm(N, generator=rng.generator(0, "test"))  # as several processes would deliver them
        images = read(a)
        for index in order.split(7):
            scorer.update(index, images[index])
        ours = {score.metric: score.value for score in scorer.scores()}
    return theirs(a, b, weights), ours, torch.cat(scorer.kept["logits"])[torch.cat(scorer.index).argsort()]


@pytest.mark.parametrize(
    ("ours", "key"),
    [
        ("frechet_distance", "frechet_inception_distance"),
        ("inception_score", "inception_score_mean"),
        ("kernel_distance_subsets", "kernel_inception_distance_mean"),
        ("precision", "precision"),
        ("recall", "recall"),
    ],
)
def test_scores_equal_the_command_on_folders(
    both: tuple[dict[str, float], dict[str, float], Tensor], ours: str, key: str
) -> None:
    command, found, _ = both
    print(f"{ours}: {found[ours]!r}, torch-fidelity {command[key]!r}")
    assert found[ours] == pytest.approx(command[key], rel=1e-6)
    # The folders are such that no score is trivial: nothing would agree by being 0 or 1.
    assert 0.1 < found[ours] < 0.95 if ours in ("precision", "recall") else found[ours] not in (0, 1)


# Inception score in ADM's convention


def adm_inception_score(logits: Tensor, chunk: int) -> float:
    """As guided-diffusion's evaluator does: consecutive chunks, exp of the mean KL of each, their mean."""
    p = np.exp(logits.double().numpy() - logits.double().logsumexp(1, keepdim=True).numpy())
    found = []
    for start in range(0, len(p), chunk):
        part = p[start : start + chunk]
        divergence = part * (np.log(part) - np.log(part.mean(0, keepdims=True)))
        found.append(np.exp(divergence.sum(1).mean()))
    return float(np.mean(found))


def test_inception_score_as_adm_takes_it(both: tuple[dict[str, float], dict[str, float], Tensor]) -> None:
    logits = both[2]
    assert estimates.inception_score(logits, splits=4, shuffle=False) == pytest.approx(adm_inception_score(logits, 6), rel=1e-6)
    # Sorted by class, consecutive chunks see one class each: the convention matters.
    classes = torch.eye(5).repeat_interleave(20, 0) * 8
    assert estimates.inception_score(classes, splits=5, shuffle=False) == pytest.approx(1, abs=1e-6)
    assert estimates.inception_score(classes, splits=5, shuffle=True) > 4


def test_adm_chunks_hold_5000_images(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def ask(_: Tensor, *, splits: int, shuffle: bool) -> float:
        asked.append((splits, shuffle))
        return 1.0

    monkeypatch.setattr(estimates, "inception_score", ask)
    for n in (2000, 10_000, 50_000):
        moments = metrics.Moments(1)
        moments.update(torch.zeros(n, 1))
        found = estimates.Found(reference=None, moments=moments, logits=torch.zeros(1, 2), group=torch.zeros(n))  # type: ignore[arg-type]
        estimates.estimate("inception_score_adm", found)
    assert asked == [(1, False), (2, False), (10, False)]
