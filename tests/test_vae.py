"""The VAE: the same from a folder and from the hub's cache, in chunks and precisions; what is refused."""

import dataclasses
import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import safetensors.torch
import torch
from diffusers import AutoencoderKL

from bench import vae
from bench.datasets import quantise
from bench.errors import BenchError, RunFailed
from tiny_vae import SIDE, save_vae

IMAGES = torch.randint(0, 256, (5, 3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vae(tmp_path_factory.mktemp("vae"))


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache, and no network: asking for a host's address fails the test."""
    asked: list[object] = []
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)

    def look_up(host: object, *_: object, **__: object) -> None:
        asked.append(host)
        raise socket.gaierror(f"{host} is not looked up in tests")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield tmp_path / "hub"
    assert not asked


# What it computes


def test_it_is_diffusers_own(folder: Path) -> None:
    network, theirs = vae.load(str(folder)), AutoencoderKL.from_pretrained(folder).eval()
    with torch.no_grad():
        posterior = theirs.encode(IMAGES.float() / 127.5 - 1).latent_dist
        pixels = theirs.decode(posterior.mean).sample
    mean, std = network.encode(IMAGES)
    for ours, expected in ((mean, posterior.mean), (std, posterior.std), (network.decode(mean), pixels)):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(network.to_uint8(mean), quantise(network.decode(mean)))
    assert network.scale == theirs.config.scaling_factor
    assert (network.factor, network.channels) == (8, 4)
    assert not any(parameter.requires_grad for parameter in network.module.parameters())


@pytest.mark.parametrize("images", [1, 2, 100])
def test_chunks_do_not_matter(folder: Path, images: int) -> None:
    whole, parts = vae.load(str(folder)), vae.load(str(folder), images=images)
    for a, b in zip(whole.encode(IMAGES), parts.encode(IMAGES), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    latents = whole.encode(IMAGES)[0]
    assert (whole.to_uint8(latents).int() - parts.to_uint8(latents).int()).abs().max() <= 1


def test_low_precision_is_close_and_of_the_same_weights(folder: Path) -> None:
    exact, low = vae.load(str(folder)), vae.load(str(folder), precision="bf16")
    assert low.digest == exact.digest
    latents = exact.encode(IMAGES)[0]
    difference = (low.decode(latents) - exact.decode(latents)).abs()
    assert low.decode(latents).dtype == torch.float32
    assert 0 < float(difference.max()) < 0.1


def test_fp32_does_not_use_tf32_and_leaves_the_switches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = vae.load(str(folder))
    seen: list[bool] = []
    monkeypatch.setattr(
        network.module.decoder, "forward", lambda z, *_: (seen.append(torch.backends.cudnn.allow_tf32), torch.zeros(len(z)))[1]
    )
    before = torch.backends.cudnn.allow_tf32
    network.decode(torch.zeros(2, 4, 4, 4))
    assert seen == [False]
    assert torch.backends.cudnn.allow_tf32 == before


def test_what_is_not_finite_stops_with_a_hint(folder: Path) -> None:
    network = vae.load(str(folder))
    with pytest.raises(RunFailed, match=r"decoded images that are not finite in fp32$"):
        network.decode(torch.full((1, 4, 4, 4), float("inf")))
    half = dataclasses.replace(network, precision="fp16", module=network.module.half())
    with pytest.raises(RunFailed, match="use fp32 or bf16"):
        half.decode(torch.full((1, 4, 4, 4), 1e6))


def test_sides_that_the_factor_does_not_divide(folder: Path) -> None:
    with pytest.raises(BenchError, match="Images of 36x32 pixels"):
        vae.load(str(folder)).encode(torch.zeros(1, 3, 32, 36, dtype=torch.uint8))


# The digest


def test_the_digest_is_of_weights_not_of_files(folder: Path, tmp_path: Path) -> None:
    module = AutoencoderKL.from_pretrained(folder)
    module.save_pretrained(tmp_path / "again", max_shard_size="1GB")
    first = vae.load(str(folder)).digest
    assert vae.load(str(tmp_path / "again")).digest == first
    with torch.no_grad():
        weight = module.decoder.conv_in.bias
        weight[0] = torch.nextafter(weight[0], torch.tensor(9.0))
    assert vae.digest_of(module) != first
    assert vae.load(str(save_vae(tmp_path / "scaled", scale=1.0))).digest == first, "the scale is held apart"


# Where it is found


def put_in_cache(hub: Path, folder: Path, name: str, files: tuple[str, ...] = (vae.CONFIG, vae.WEIGHTS)) -> None:
    """As the hub's client lays a repository out: refs/main, and a snapshot of its files."""
    root = hub / f"models--{name.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("0" * 40)
    (root / "snapshots" / ("0" * 40)).mkdir(parents=True)
    for file in files:
        shutil.copy(folder / file, root / "snapshots" / ("0" * 40) / file)


def test_an_id_is_found_in_the_hubs_cache_without_a_network(folder: Path, hub: Path) -> None:
    put_in_cache(hub, folder, "stabilityai/sd-vae-ft-mse")
    found = vae.load("stabilityai/sd-vae-ft-mse")
    assert found.digest == vae.load(str(folder)).digest
    assert found.name == "stabilityai/sd-vae-ft-mse"


def test_the_layout_that_the_published_vaes_have(folder: Path, tmp_path: Path) -> None:
    """sd-vae-ft-mse and -ema: attention's weights under older names, and no scale in the configuration: it is 0.18215."""
    shutil.copytree(folder, tmp_path / "vae")
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = {}
    for name, tensor in safetensors.torch.load_file(folder / vae.WEIGHTS).items():
        part = next((part for part in older if f"attentions.0.{part}." in name), "")
        weights[name.replace(part, older[part]) if part else name] = tensor
    assert sum("proj_attn" in name for name in weights) == 4
    safetensors.torch.save_file(weights, tmp_path / "vae" / vae.WEIGHTS)
    path = tmp_path / "vae" / vae.CONFIG
    kept = {"block_out_channels", "down_block_types", "up_block_types", "norm_num_groups", "latent_channels", "_class_name"}
    configuration = {key: value for key, value in json.loads(path.read_text()).items() if key in kept}
    path.write_text(json.dumps(configuration | {"_diffusers_version": "0.4.2", "sample_size": 256}))
    found = vae.load(str(tmp_path / "vae"))
    assert found.digest == vae.load(str(folder)).digest
    assert found.scale == 0.18215


def test_a_whole_pipelines_folder_has_it_in_vae(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "pipeline" / "vae")
    assert vae.find(str(tmp_path / "pipeline")) == tmp_path / "pipeline" / "vae"


@pytest.mark.parametrize("name", ["stabilityai/sd-vae-ft-mse", "no such folder", "../nowhere/at/all"])
def test_nothing_is_downloaded_unasked(name: str) -> None:
    with pytest.raises(BenchError) as caught:
        vae.load(name)
    assert name in caught.value.given
    assert "safetensors" in caught.value.allowed


def test_online_without_a_network_says_so(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with pytest.raises(BenchError, match=r"could not be downloaded \(no route to host\)"):
        vae.load("stabilityai/sd-vae-ft-mse", online=True)
    assert not hub.exists()


def test_a_cache_without_safetensors_is_refused(folder: Path, hub: Path) -> None:
    put_in_cache(hub, folder, "some/vae", (vae.CONFIG,))
    with pytest.raises(BenchError, match="not in the hub's cache"):
        vae.load("some/vae")


def test_files_that_run_code_are_not_read(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / vae.CONFIG, tmp_path / vae.CONFIG)
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(BenchError) as caught:
        vae.load(str(tmp_path))
    assert "diffusion_pytorch_model.bin: files that run code" in caught.value.given
    assert "safe_serialization" in caught.value.remedy


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"shift_factor": 0.1159}, "shift_factor"),
        ({"_class_name": "AutoencoderTiny"}, "an AutoencoderTiny|a AutoencoderTiny"),
        ({"latent_channels": 8}, "can not be read"),
        ({"act_fn": "nonsense"}, "can not be read"),
    ],
    ids=["shift", "class", "channels", "activation"],
)
def test_a_vae_of_another_kind_is_refused(folder: Path, tmp_path: Path, change: dict[str, object], named: str) -> None:
    shutil.copytree(folder, tmp_path / "vae")
    path = tmp_path / "vae" / vae.CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BenchError, match=named):
        vae.load(str(tmp_path / "vae"))


def test_damaged_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "vae")
    path = tmp_path / "vae" / vae.WEIGHTS
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BenchError, match="can not be read"):
        vae.load(str(tmp_path / "vae"))


def test_unknown_precision(folder: Path) -> None:
    with pytest.raises(BenchError, match="fp8"):
        vae.load(str(folder), precision="fp8")
