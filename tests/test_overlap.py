"""Stages of successive batches: launched ahead, each after the one before it, few at a time, and nothing is lost or hidden."""

import contextlib
import dataclasses
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench import datasets, dist, extractors, late, overlap, sample, scores
from bench.config import Eval
from bench.errors import NotFinite, RunFailed
from bench.evaluate import make_judges, score
from bench.speed.work import fresh_model
from conftest import tiny_run
from toy_scores import ALL, Echo, N, Toy, echo, pictures, toy_judge, toy_reference, toy_scores

NO_GPU = "torch sees no CUDA device: that streams give the scores of one after the other is not tested here"


# The order of things


@dataclasses.dataclass
class Noted:
    """Lanes that compute at once and write down what was asked of them."""

    in_flight: int = 2
    events: list[tuple[Any, ...]] = dataclasses.field(default_factory=list)

    def launch(self, number: int, stage: Callable[[Any], Any], given: Any, ready: Any) -> tuple[Any, Any]:
        value = stage(given)
        self.events.append(("launch", value, number))
        assert ready == (None if number == 0 else ("done", value, number - 1)), "after the stage before it, of the same batch"
        return value, ("done", value, number)

    def wait(self, mark: Any, value: Any) -> None:
        assert mark == ("done", value, 2)
        self.events.append(("wait", value))


@pytest.mark.parametrize("count", range(6))
@pytest.mark.parametrize("in_flight", [1, 2, 3])
def test_all_come_out_in_order_and_few_are_under_way(count: int, in_flight: int) -> None:
    lanes = Noted(in_flight)
    seen: list[list[int]] = [[], [], []]
    stages = [lambda value, own=own: own.append(value) or value for own in seen]
    found = []
    for value in overlap.overlapped(range(count), stages, lanes):
        found.append(value)
        lanes.events.append(("out", value))
    assert found == list(range(count))
    assert seen == [found, found, found]
    launched = waited = 0
    for event in lanes.events:
        launched += event[0] == "launch" and event[2] == 0
        waited += event[0] == "wait"
        assert launched - waited <= in_flight
    assert lanes.events.count(("out", 0)) == min(count, 1)
    for k in range(count - in_flight + 1):
        assert lanes.events.index(("launch", k + in_flight - 1, 0)) < lanes.events.index(("wait", k)), "launched ahead"


def test_what_is_not_finite_is_raised_with_its_name_a_little_later_and_before_it_comes_out() -> None:
    def first(value: int) -> int:
        late.require(torch.tensor(value not in (3, 4)), NotFinite(f"images of batch {value}"))
        return value

    def second(value: int) -> int:
        late.require(torch.tensor(value != 3), RunFailed("of the stage after"))
        return value

    for lanes, last in ((Noted(2), 4), (Noted(1), 2)):
        out: list[int] = []
        with pytest.raises(NotFinite, match="images of batch 3"):
            out.extend(overlap.overlapped(range(9), [first, second, lambda value: value], lanes))
        assert out == [0, 1, 2]
        assert max(value for kind, value, *_ in lanes.events if kind == "launch") == last, "in line it is known at once"


def test_checks_are_at_once_unless_postponed() -> None:
    with pytest.raises(RunFailed, match="one"):
        late.require(torch.tensor(False), RunFailed("one"))
    with late.postponed() as checks:
        late.require(torch.tensor(True), RunFailed("holds"))
        late.require(torch.tensor(False), RunFailed("two"))
        late.require(torch.tensor(False), RunFailed("three"))
    with pytest.raises(RunFailed, match="two"):
        checks.settle()
    with pytest.raises(RunFailed, match="four"):
        late.require(torch.tensor(False), RunFailed("four"))


# Streams, on a device that is made up: what was launched runs in any order that waits for events


class Device:
    """Queues of what was launched, a stream each. `run` takes from their heads at random, past no event that is not there."""

    def __init__(self, seed: int) -> None:
        self.draw, self.streams = random.Random(seed), [Stream(self)]
        self.current = self.streams[0]

    def run(self, until: Callable[[], bool]) -> None:
        while not until():
            ready = [s for s in self.streams if s.queue and (s.queue[0][0] != "wait" or s.queue[0][1].there)]
            assert ready, "nothing can go on: a stream waits for what never comes"
            kind, what = self.draw.choice(ready).queue.pop(0)
            if kind == "work":
                what()
            elif kind == "record":
                what.there = True

    @contextlib.contextmanager
    def on(self, stream: "Stream") -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before


class Stream:
    def __init__(self, device: Device) -> None:
        self.device, self.queue = device, list[tuple[str, Any]]()

    def wait_event(self, event: "Event") -> None:
        self.queue.append(("wait", event))

    def wait_stream(self, other: "Stream") -> None:
        event = Event(self.device)
        event.record(other)
        self.wait_event(event)


class Event:
    def __init__(self, device: Device) -> None:
        self.device, self.there = device, False

    def record(self, stream: Stream) -> None:
        stream.queue.append(("record", self))

    def synchronize(self) -> None:
        self.device.run(lambda: self.there)


@pytest.fixture(params=range(8))
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    made = Device(request.param)
    overlap._streams.cache_clear()

    def new_stream(_: Any) -> Stream:
        made.streams.append(Stream(made))
        return made.streams[-1]

    monkeypatch.setattr(torch.cuda, "Stream", new_stream)
    monkeypatch.setattr(torch.cuda, "Event", lambda **_: Event(made))
    monkeypatch.setattr(torch.cuda, "stream", made.on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: made.current)
    yield made
    overlap._streams.cache_clear()


def test_streams_run_each_stage_after_what_it_needs(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    done: dict[tuple[int, int], bool] = {}
    kept, most = [], 0
    monkeypatch.setattr(overlap, "keep_for", lambda stream, value: kept.append((device.streams.index(stream), value)))
    weights = []
    device.current.queue.append(("work", lambda: weights.append("there")))

    def stage(number: int, value: int) -> int:
        def work() -> None:
            assert weights, "before the streams began"
            assert number == 0 or done[number - 1, value], "after the stage before it"
            assert value == 0 or done[number, value - 1], "one batch after the other in a stage"
            done[number, value] = True

        device.current.queue.append(("work", work))
        return value

    stages = [lambda value, number=number: stage(number, value) for number in range(3)]
    with overlap.lanes(torch.device("cuda"), 3) as lanes:
        for value in overlap.overlapped(range(7), stages, lanes):
            assert all(done.get((number, value)) for number in range(3)), "it comes out when it is done"
            most = max(most, sum(1 for number, _ in done if number == 0) - value)
    assert most <= overlap.IN_FLIGHT
    assert device.current is device.streams[0]
    crossings = {(stream, value) for stream in (1, 2, 3, 0) for value in range(7)}
    assert set(kept) == crossings, "what a stage made is kept for the stream of the next, and for ours in the end"


def test_after_an_error_our_stream_waits_for_the_others(device: Device) -> None:
    freed: list[str] = []

    def launch(value: int) -> int:
        device.current.queue.append(("work", lambda: freed.append("written to")))
        if value == 1:
            raise KeyboardInterrupt
        return value

    with pytest.raises(KeyboardInterrupt), overlap.lanes(torch.device("cuda"), 1) as lanes:
        list(overlap.overlapped(range(3), [launch], lanes))
    device.current.queue.append(("work", lambda: freed.append("given away")))
    device.run(lambda: "given away" in freed)
    assert freed == ["written to", "written to", "given away"]


def test_the_tensors_of_a_batch_are_found() -> None:
    x, y = torch.zeros(2), torch.ones(3)
    made = sample.Sampled(range(2), x, y)
    assert [id(t) for t in overlap.tensors_in((made, [y], range(3), "x", None))] == [id(x), id(y), id(y)]
    assert list(overlap.tensors_in(sample.Sampled)) == []


# Evaluation, as if it were on a GPU: two batches under way, noise on a thread, rows on their way


class Afar(Noted):
    def __init__(self) -> None:
        super().__init__(2)

    def launch(self, number: int, stage: Callable[[Any], Any], given: Any, ready: Any) -> tuple[Any, Any]:
        del ready
        self.events.append(("launch", number))
        return stage(given), None

    def wait(self, mark: Any, value: Any) -> None:
        self.events.append(("wait", value.index.tolist()))


@pytest.fixture
def afar(monkeypatch: pytest.MonkeyPatch) -> Afar:
    lanes = Afar()
    monkeypatch.setattr(overlap, "lanes", lambda *_: contextlib.nullcontext(lanes))
    monkeypatch.setattr(sample, "depth", lambda _: 2)
    return lanes


@pytest.mark.parametrize("batch", [1, 17, N])
def test_overlapping_moves_no_bit_of_a_score(batch: int, monkeypatch: pytest.MonkeyPatch, afar: Afar) -> None:
    overlapped = toy_scores(batch)
    assert len(afar.events) == 4 * -(-N // batch)
    monkeypatch.undo()
    assert toy_scores(batch) == overlapped
    assert len(overlapped) == len(ALL)


class Broken(Echo):
    """Image 40 is not a number."""

    def sample(self, net: Any, noise: Tensor, label: Tensor, steps: int, renoise: Any = None) -> Tensor:
        x0 = super().sample(net, noise, label, steps, renoise)
        found = [i for i in renoise.images if i == 40]
        return x0.index_fill(0, torch.tensor([renoise.images.index(i) for i in found], dtype=torch.int64), float("nan"))


@pytest.mark.parametrize("way", ["in line", "overlapped"])
def test_an_image_that_is_not_finite_is_named_either_way(way: str, request: pytest.FixtureRequest) -> None:
    lanes = request.getfixturevalue("afar") if way == "overlapped" else None
    model = dataclasses.replace(echo(), method=Broken())  # type: ignore[arg-type]
    with pytest.raises(NotFinite, match=r"^images 38 to 56 at 1 steps are not finite$"):
        score(model, datasets.load("digits"), [toy_judge()], Eval(samples=N, batch=19), 1, seed=0)
    if lanes:
        assert [event for event in lanes.events if event[0] == "wait"][-1] == ("wait", list(range(38, 57)))
        assert lanes.events.count(("launch", 0)) == 4, "one batch further"


def test_rows_are_taken_in_two_batches_later_and_all_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, images = scores.Scorer(Toy(), toy_reference(), ALL, N), pictures("made", N)
    whole.update(torch.arange(N), images, torch.arange(N) % 10)
    asked: list[int] = []

    def fetched(rows: Tensor) -> Callable[[], Tensor]:
        return lambda: asked.append(len(rows)) or rows.clone()  # type: ignore[func-returns-value]

    monkeypatch.setattr(dist, "fetched", fetched)
    scorer = scores.Scorer(Toy(), toy_reference(), ALL, N)
    for k, rows in enumerate(torch.split(torch.arange(N), 50)):
        scorer.update(rows, images[rows], rows % 10)
        assert len(asked) == max(0, k - 1) * sum(scorer.keeps.values())
    assert [s.value for s in scorer.scores()] == pytest.approx([s.value for s in whole.scores()], rel=1e-12)
    assert not scorer.coming


@pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)
def test_on_a_gpu_streams_give_the_scores_of_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits, model = datasets.load("digits"), fresh_model(tiny_run(), datasets.load("digits"), torch.device("cuda", 0))
    settings = Eval(samples=300, batch=40, metrics=("frechet_distance", "kernel_distance", "class_accuracy"))
    judges = make_judges(digits, [extractors.load("digits", (1, 8, 8), "cuda")], settings, tmp_path)
    overlapped = [s.value for s in score(model, digits, judges, settings, 4, seed=0)[0]]
    monkeypatch.setattr(overlap, "lanes", lambda *_: contextlib.nullcontext(overlap.InLine()))
    monkeypatch.setattr(sample, "depth", lambda _: 0)
    assert overlapped == pytest.approx([s.value for s in score(model, digits, judges, settings, 4, seed=0)[0]], rel=1e-9)
