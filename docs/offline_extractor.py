"""Does EfficientNet-Lite0 order damage to photographs as a person would? `python docs/offline_extractor.py TRAIN TEST`.

TRAIN and TEST are folders with one folder a class, disjoint. Scores TEST against TRAIN, as it is and damaged, by the functions
of `bench score`, at two numbers of images. Needs the extra "natural"; about ten minutes on two cores.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from bench.score import Ways, score

Pixels = NDArray[np.uint8]
COUNTS = (2000, 5000)


def photographs(root: Path, count: int, classes: int | None = None) -> Pixels:
    """(count, H, W, 3): as many of each class, of the first classes if asked."""
    folders = sorted(path for path in root.iterdir() if path.is_dir())[:classes]
    files = [file for folder in folders for file in sorted(folder.iterdir())[: count // len(folders)]]
    return np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])


def noisy(x: Pixels, strength: float) -> Pixels:
    noise = np.random.default_rng(0).normal(0, strength, x.shape)
    return (x + noise).round().clip(0, 255).astype(np.uint8)


def blurred(x: Pixels) -> Pixels:
    return np.stack([np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(1))) for image in x])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--size", type=int, default=96)
    arguments = parser.parse_args()
    test: dict[str, Callable[[int], Pixels]] = {
        "as it is": lambda n: photographs(arguments.test, n),
        "half of the classes": lambda n: photographs(arguments.test, n, 5),
        "noise of 8 levels": lambda n: noisy(photographs(arguments.test, n), 8),
        "blur of 1 pixel": lambda n: blurred(photographs(arguments.test, n)),
        "noise of 25 levels": lambda n: noisy(photographs(arguments.test, n), 25),
    }
    ways = Ways(protocols=("efficientnet_lite0",), extractor_options={"efficientnet_lite0": {"size": arguments.size}},
                metrics=("frechet_distance", "kernel_distance"))  # fmt: skip
    print("| test images | images | Fréchet distance | kernel distance x 1000 |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for n in COUNTS:
            real = Path(folder) / f"train-{n}.npz"
            np.savez(real, arr_0=photographs(arguments.train, n))
            for name, make in test.items():
                made = Path(folder) / "test.npz"
                np.savez(made, arr_0=make(n))
                (judged,) = score(str(made), str(real), ways, Path(folder)).judged
                values = {s.metric: (s.value, s.standard_error or 0.0) for s in judged.scores}
                (distance, error), (kernel, of_kernel) = values["frechet_distance"], values["kernel_distance"]
                print(
                    f"| {name} | {n:,} | {distance:.1f} ± {error:.1f} | {1e3 * kernel:.1f} ± {1e3 * of_kernel:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
