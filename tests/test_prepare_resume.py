"""Preparing latents goes on after a kill at any point, mends what is damaged, and gives the same in several processes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed
import torch.multiprocessing

from bench import latents, prepare, shards, vae
from bench.errors import BenchError
from pictures import noise_image
from tiny_vae import Killed, content, save_tree, save_vae, stop_at, tiny_ways


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vae(tmp_path_factory.mktemp("vae"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return save_tree(tmp_path / "tree")


# Killed


@pytest.mark.parametrize("call", [2, 4, 6, 8])  # 1 is a warm-up; then two batches a shard, one in the last
def test_killed_while_encoding_goes_on_to_the_same_bytes(
    tree: Path, tmp_path: Path, network: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    prepare.prepare(tree, tmp_path / "whole", tiny_ways(network))
    with monkeypatch.context() as patch:
        stop_at(patch, call, vae.Vae, "encode")
        with pytest.raises(Killed):
            prepare.prepare(tree, tmp_path / "out", tiny_ways(network))
    with pytest.raises(BenchError, match="not all of them yet"):
        latents.read_manifest(tmp_path / "out")
    calls = stop_at(monkeypatch, 0, vae.Vae, "encode")
    prepare.prepare(tree, tmp_path / "out", tiny_ways(network))
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    kept = (call - 2) // 2
    assert len(calls) == 1 + 7 - 2 * kept, "whole shards are not made again"


@pytest.mark.parametrize("call", range(1, 12))  # the plan; array and note of four shards; the labels; the manifest
def test_killed_while_writing_goes_on_to_the_same_bytes(
    tree: Path, tmp_path: Path, network: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    prepare.prepare(tree, tmp_path / "whole", tiny_ways(network))
    calls: list[int] = []
    with monkeypatch.context() as patch:
        for where in (prepare, shards, latents):  # one count for all
            stop_at(patch, call, where, "write_atomic", calls)
        with pytest.raises(Killed):
            prepare.prepare(tree, tmp_path / "out", tiny_ways(network))
    (tmp_path / "out" / "shards" / ".00001.npy.77.tmp").write_bytes(b"what a kill leaves")
    prepare.prepare(tree, tmp_path / "out", tiny_ways(network))
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert not list((tmp_path / "out").rglob("*.tmp"))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip_bit(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-9] ^= 4
    path.write_bytes(raw)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "truncated": lambda folder: truncate(folder / "shards" / "00001.npy"),
    "flipped bit": lambda folder: flip_bit(folder / "shards" / "00003.npy"),
    "missing": lambda folder: (folder / "shards" / "00002.npy").unlink(),
    "no note": lambda folder: (folder / "shards" / "00000.json").write_text("{"),
    "no labels": lambda folder: (folder / "labels.npy").unlink(),
    "labels": lambda folder: flip_bit(folder / "labels.npy"),
    "manifest": lambda folder: truncate(folder / "manifest.json"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_made_anew(tree: Path, tmp_path: Path, network: Path, damage: str) -> None:
    prepare.prepare(tree, tmp_path / "out", tiny_ways(network))
    before = content(tmp_path / "out")
    DAMAGE[damage](tmp_path / "out")
    prepare.prepare(tree, tmp_path / "out", tiny_ways(network))
    assert content(tmp_path / "out") == before


def test_another_image_makes_its_shard_anew(tree: Path, tmp_path: Path, network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = prepare.prepare(tree, tmp_path / "out", tiny_ways(network))
    noise_image(77, 50, 50).save(tree / "n03" / "004.png")
    with monkeypatch.context() as patch:
        stop_at(patch, 2, vae.Vae, "encode")
        with pytest.raises(Killed):
            prepare.prepare(tree, tmp_path / "out", tiny_ways(network))
    with pytest.raises(BenchError, match="not all of them yet"):  # or training would read some old, some new
        latents.read_manifest(tmp_path / "out")
    calls = stop_at(monkeypatch, 0, vae.Vae, "encode")
    after = prepare.prepare(tree, tmp_path / "out", tiny_ways(network))
    assert len(calls) == 2
    assert [a == b for a, b in zip(before.shards, after.shards, strict=True)] == [True, True, True, False]
    assert before.digest != after.digest


# Several processes


def worker(rank: int, world: int, folder: str, network: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    ways = tiny_ways(Path(network), flips=True)
    with pytest.MonkeyPatch.context() as patch:
        calls = stop_at(patch, 0, vae.Vae, "encode")
        manifest = prepare.prepare(Path(folder) / "tree", Path(folder) / "two", ways)
    (Path(folder) / f"{rank}.txt").write_text(f"{manifest.digest} {len(calls)}")
    (Path(folder) / "tree" / "n02" / "002.png").write_bytes(b"no image")
    torch.distributed.barrier()
    try:
        prepare.prepare(Path(folder) / "tree", Path(folder) / "broken", ways)
    except BenchError as error:
        (Path(folder) / f"{rank}.error").write_text(error.given)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_two_processes_write_what_one_does(tree: Path, tmp_path: Path, network: Path) -> None:
    one = prepare.prepare(tree, tmp_path / "one", tiny_ways(network, flips=True))
    torch.multiprocessing.spawn(worker, (2, str(tmp_path), str(network)), nprocs=2)
    assert content(tmp_path / "two") == content(tmp_path / "one")
    assert latents.read_manifest(tmp_path / "two").made["processes"] == 2
    # Each half of the shards: a warm-up, then two versions of two batches a shard, of one in the last.
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in range(2)] == [f"{one.digest} 9", f"{one.digest} 7"]
    errors = [(tmp_path / f"{rank}.error").read_text() for rank in range(2)]
    assert errors[0] == errors[1], "each process says the same"
    assert "n02/002.png (no image)" in errors[0]
