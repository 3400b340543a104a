"""Processes go on together or give up together: what one finds, all know; what one fails at, all fail at."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
import torch.multiprocessing

from bench import accord, dist
from bench.errors import BenchError, NotFinite, PeerLost, RunFailed, SuiteError


def fail_on(rank: int, error: Exception) -> None:
    if dist.rank() == rank:
        raise error


def outcome(work: Any) -> list[Any]:
    """What was returned, or what was raised and whether another process tells it."""
    try:
        return ["returned", work()]
    except SuiteError as error:
        return [type(error).__name__, list(error.args), error.elsewhere]


def agreed(rank: int, error: Exception) -> None:
    with accord.agreement():
        fail_on(rank, error)


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    called: list[int] = []
    found = {
        "value": outcome(lambda: accord.first(lambda: [called.append(rank), {"naïve": 1.5}][1])),
        "called": called,
        "nothing": outcome(lambda: accord.first(lambda: None)),
        "first fails": outcome(lambda: accord.first(lambda: fail_on(0, BenchError("given", "allowed", "remedy")))),
        "second fails": outcome(lambda: agreed(1, RunFailed("no memory"))),
        "not finite": outcome(lambda: agreed(1, NotFinite("images 3"))),
        "no one fails": outcome(lambda: agreed(2, RunFailed("never"))),
    }
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "step": torch.tensor(7), "half": torch.ones(2, dtype=torch.bfloat16)}
    shared = accord.shared(tensors if rank == 0 else None) or {}
    found["shared"] = [shared.keys() == tensors.keys() and all(torch.equal(shared[k], tensors[k]) for k in tensors)]
    found["none shared"] = [accord.shared(None) is None]
    votes = accord.Votes(2)
    found["votes"] = [votes(rank == 1, False), votes(False, False), votes(False, rank == 0), votes.last()]
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    if rank == 1:
        os._exit(0)  # without a goodbye
    try:
        with accord.company():
            dist.add_up(torch.ones(1))
    except PeerLost as error:
        Path(folder, "lost").write_text(str(error))
    os._exit(0)  # as bench.guard leaves: gloo's threads still wait for the other


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Path]:
    folder = tmp_path_factory.mktemp("gloo")
    torch.multiprocessing.spawn(worker, (str(folder),), nprocs=2)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)], folder


def test_the_first_works_and_all_know(both: tuple[list[dict[str, Any]], Path]) -> None:
    for found in both[0]:
        assert found["value"] == ["returned", {"naïve": 1.5}]
        assert found["nothing"] == found["no one fails"] == ["returned", None]
        assert found["shared"] == found["none shared"] == [True]
    assert [found["called"] for found in both[0]] == [[0], []]


def test_what_fails_on_one_fails_on_all_and_one_tells_it(both: tuple[list[dict[str, Any]], Path]) -> None:
    one, other = both[0]
    assert one["first fails"] == ["BenchError", ["given", "allowed", "remedy"], False]
    assert other["first fails"] == ["BenchError", ["given", "allowed", "remedy"], True]
    assert one["second fails"] == ["RunFailed", ["no memory"], True]
    assert other["second fails"] == ["RunFailed", ["no memory"], False]
    assert one["not finite"] == ["NotFinite", ["images 3"], True]


def test_a_wish_of_one_is_granted_to_all_one_call_later(both: tuple[list[dict[str, Any]], Path]) -> None:
    for found in both[0]:
        assert found["votes"] == [[False, False], [True, False], [False, False], [False, True]]


def test_the_end_of_another_process_is_told_from_other_errors(both: tuple[list[dict[str, Any]], Path]) -> None:
    assert "process 0 of 2 lost another one" in (both[1] / "lost").read_text()
    with pytest.raises(RuntimeError, match="gloo is a word"), accord.company():
        raise RuntimeError("gloo is a word, and this process is alone")


def test_alone_nothing_is_asked() -> None:
    assert accord.first(lambda: 3) == 3
    assert accord.Votes(2)(True, False) == (True, False)
    assert accord.shared(None) is None
