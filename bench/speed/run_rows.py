"""What a run costs, as rows beside its scores: training and sampling throughput, latency, peak memory, parameters, operations.

Each run is measured in a process of its own, so that one method's memory and caches are not another's.

    rows = measure_apart(config, suite, images)
"""

import statistics
from typing import Any

import torch

from bench import datasets, dist, dit, micro_batch, provenance, sample
from bench.apart import in_own_process
from bench.config import RunConfig, Speed, Suite
from bench.evaluate import step_counts
from bench.protocol import Protocol
from bench.rows import Row
from bench.shares import share_of
from bench.speed.clock import time_rounds
from bench.speed.peak_memory import memory_kind, peak_memory, reset_peak_memory
from bench.speed.work import decoding, fresh_model, sampling, training_step
from bench.step import load_method

VERSION = 1


def make_protocol(
    config: RunConfig, settings: Speed, device: torch.device, micro_batch: int = 0, recompute: bool = False
) -> Protocol:
    conditions = {
        "version": VERSION,
        "train_batch": config.train.batch,
        "sample_batch": settings.batch,
        "memory": memory_kind(device),
        "device": dist.device_label(device),
        "threads": torch.get_num_threads() if device.type == "cpu" else 0,
        "torch": torch.__version__,
        **{key: value for key, value in config.dataset_options.items() if key.startswith("decoder_")},
        **({"micro_batch": micro_batch} if micro_batch else {}),
        **({"recompute": True} if recompute else {}),
    }
    return Protocol(f"speed-b{config.train.batch}-{memory_kind(device)}", conditions)


def measure(config: RunConfig, dataset: datasets.Dataset, suite: Suite, device: torch.device, images: int) -> list[Row]:
    """All rows of one run, in this process; a number of steps that the method can not take is a skipped row."""
    settings, pieces, recompute = suite.speed, micro_batch.alone(config, dataset, suite.loop, device), suite.loop.recompute
    protocol = make_protocol(config, settings, device, pieces, recompute)
    stamp = provenance.stamp(config, images, dist.timing_label(device)) | {"protocol": protocol.id}

    def row(metric: str, value: float | None, unit: str, better: str, rounds: list[float] | None = None, **more: Any) -> Row:
        spent = sum(rounds) if rounds else 0.0
        n = len(rounds) if rounds else None
        return Row(**stamp, metric=metric, value=value, unit=unit, better=better, n=n, seconds=spent, **more)

    reset_peak_memory(device)
    before = peak_memory(device)
    rounds = time_rounds(training_step(config, dataset, device, pieces, recompute), device, settings.seconds)
    model = fresh_model(config, dataset, device)
    peak = peak_memory(device)
    rows = [
        row("train_images_per_second", config.train.batch / statistics.median(rounds), "images/s", "max", rounds),
        row("train_peak_bytes", peak, "bytes", "min", rounds),
        row("train_added_bytes", peak - before, "bytes", "min", rounds),
        row("parameters", dit.parameter_count(model.net), "", ""),
        row("forward_macs", dit.forward_macs(config.net, dataset.shape, dataset.num_classes), "MAC/image", ""),
        row("forward_equivalents", model.method.cost, "forwards/image", "min"),
    ]
    for steps in step_counts(config.method, suite.eval):
        rate, latency = ("sample_images_per_second", "images/s", "max"), ("latency_ms", "ms", "min")
        if reason := sample.refusal(model, steps):
            refused: dict[str, Any] = {"steps": steps, "status": "skipped", "reason": reason}
            rows += [row(metric, None, unit, better, **refused) for metric, unit, better in (rate, latency)]
            continue
        many = time_rounds(sampling(model, dataset, settings.batch, steps), device, settings.seconds)
        one = time_rounds(sampling(model, dataset, 1, steps), device, settings.seconds / 2)
        rows.append(row(rate[0], settings.batch / statistics.median(many), *rate[1:], many, steps=steps))
        rows.append(row(latency[0], 1000 * statistics.median(one), *latency[1:], one, steps=steps))
    if datasets.decodes(dataset):  # part of every sampling time above; here apart from the network's
        many, one = (time_rounds(decoding(model, dataset, n), device, settings.seconds) for n in (settings.batch, 1))
        rows.append(row("decode_images_per_second", settings.batch / statistics.median(many), "images/s", "max", many))
        rows.append(row("decode_latency_ms", 1000 * statistics.median(one), "ms", "min", one))
    return rows


# A process of its own


def measure_apart(config: RunConfig, suite: Suite, images: int) -> list[Row]:
    """`measure` in a fresh process. Raises what it raised there, and RunFailed when that process was killed."""
    return in_own_process("measures speed", measure_here, config, suite, images)


def measure_here(config: RunConfig, suite: Suite, images: int) -> list[Row]:
    dataset = datasets.load(config.dataset, **config.dataset_options)
    return measure(config, dataset, suite, dist.pick_device(suite.loop.device), images)


# Before a run


def expected_seconds(config: RunConfig, dataset: datasets.Dataset, suite: Suite, device: torch.device) -> tuple[float, float]:
    """Training time, and the time of sampling for the scores, from a few rounds on a network that is thrown away."""
    pieces = micro_batch.alone(config, dataset, suite.loop, device, dist.world_size())
    if not pieces and dist.world_size() > 1:  # the whole batch need not fit one of many processes
        method = load_method(config, dataset.num_classes)
        pieces = max(share_of(config.train.batch, method.velocity_rows, dist.world_size() - 1, dist.world_size()).sizes)
    step = statistics.median(time_rounds(training_step(config, dataset, device, pieces, suite.loop.recompute), device, 0.3))
    model = fresh_model(config, dataset, device)
    batch = min(suite.eval.batch, suite.eval.samples)
    one = statistics.median(time_rounds(sampling(model, dataset, batch, 4), device, 0.1)) / 4
    steps = sum(step_counts(config.method, suite.eval)) * suite.eval.seeds * suite.loop.snapshots
    return step * config.total_images(dataset.train_images) / config.train.batch, one * steps * suite.eval.samples / batch
