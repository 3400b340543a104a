"""Trees of tiny images for tests, and a cache folder that is not the user's."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import rng


def noise_image(seed: int, width: int = 8, height: int = 8) -> Image.Image:
    """RGB of uniform noise."""
    numbers = np.random.default_rng(rng.derive(seed, "picture"))
    return Image.fromarray(numbers.integers(0, 256, (height, width, 3), dtype=np.uint8))


def make_tree(root: Path, classes: dict[str, int], width: int = 8, height: int = 8) -> Path:
    """root/<class>/<i>.png, losslessly; image i of all has noise_image's seed i."""
    seed = 0
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            noise_image(seed, width, height).save(root / name / f"{i:03}.png")
            seed += 1
    return root


def own_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the suite keep decoded images below `folder`; returns where it does."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "one-step-bench"
