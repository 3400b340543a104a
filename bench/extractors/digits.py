"""Features of a small convolutional classifier of the digits: the embedded stand-in for Inception. Not FID.

Trained by `python -m bench.extractors.digits`, which prints the held-out accuracy and writes digits.safetensors.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.errors import BenchError
from bench.extractors import FEATURE_METRICS, Outputs, checked

WEIGHTS = Path(__file__).with_name("digits.safetensors")
SHA256 = "bcd6e52c0650b3ee6a110dee2ed1ae84566f609343a584e0ce6a91972f60d5dc"


class Classifier(nn.Module):
    """8x8 grey images in [-1, 1] -> 64 features -> 10 classes. 56,394 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.conv3 = nn.Conv2d(64, 64, 3, padding=1)
        self.head = nn.Linear(64, 10)

    def features(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.silu(self.conv2(F.silu(self.conv1(x)))), 2)  # (B, 64, 4, 4)
        return F.silu(self.conv3(x)).mean((2, 3))  # (B, 64)

    def forward(self, x: Tensor) -> Tensor:
        return self.both(x)[1]

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, 64) and logits (B, 10)."""
        features = self.features(x)
        return features, self.head(features)


def to_float(images: Tensor) -> Tensor:
    """uint8 (B, 1, 8, 8) -> float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


class Extractor:
    name = "digits"
    dim = 64
    digest = SHA256
    metrics = (*FEATURE_METRICS, "class_accuracy")

    def __init__(self, shape: tuple[int, int, int] = (1, 8, 8), device: str = "cpu") -> None:
        from safetensors.torch import load_file

        if tuple(shape) != (1, 8, 8):
            raise BenchError(
                f"Extractor digits on images of {'x'.join(map(str, shape))} (channels x height x width)",
                "1x8x8, the handwritten digits",
                "Use --set eval.extractor=pixels, which takes any image, or --dataset digits.",
            )
        self.device = device
        self.net = Classifier().eval().requires_grad_(False)
        self.net.load_state_dict(load_file(checked(WEIGHTS, SHA256)))
        self.net.to(device)

    @torch.inference_mode()
    def outputs(self, images: Tensor) -> Outputs:
        return Outputs(*self.net.both(to_float(images.to(self.device))))

    def features(self, images: Tensor) -> Tensor:
        return self.outputs(images).features

    def logits(self, images: Tensor) -> Tensor | None:
        return self.outputs(images).logits


# Training


def shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each image moved by -1, 0 or 1 pixel in each direction; the paper of the digits is -1."""
    padded = F.pad(x, (1, 1, 1, 1), value=-1.0)
    move = torch.randint(3, (len(x), 2), generator=generator)
    return torch.stack([p[:, i : i + 8, j : j + 8] for p, (i, j) in zip(padded, move.tolist(), strict=True)])


def fit(x: Tensor, label: Tensor, epochs: int = 60, seed: int = 0) -> Classifier:
    """AdamW, batch 64, cosine learning rate from 3e-3, label smoothing 0.1, shifts."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net = Classifier()
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(x), generator=generator), 64):
            loss = F.cross_entropy(net(shifted(x[rows], generator)), label[rows], label_smoothing=0.1)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        schedule.step()
    return net.eval()


def main() -> None:
    """Measure the accuracy on a held-out fifth, then fit on all images and write the weights."""
    import hashlib

    from safetensors.torch import save_file

    from bench.datasets import load

    dataset = load("digits")
    x, label = dataset.images(torch.arange(dataset.train_images))
    x = to_float(dataset.to_uint8(x))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    test, train = order[: len(x) // 5], order[len(x) // 5 :]
    accuracy = (fit(x[train], label[train])(x[test]).argmax(1) == label[test]).float().mean()
    print(f"held-out accuracy {accuracy:.4f} on {len(test)} images (fitted on the other {len(train)})")
    save_file(fit(x, label).state_dict(), WEIGHTS)
    print(f"wrote {WEIGHTS.name}, fitted on all {len(x)} images; SHA256 = {hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
