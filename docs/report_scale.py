"""What a large report costs: `python docs/report_scale.py [--keep FOLDER] [--shape wide|tall]`. A few minutes on two cores.

Makes up 200 runs with 40,000 rows and their training logs, renders the site in a process of its own, and prints its seconds
and peak memory, the size of its first page, and, where playwright and a Chromium are, how long that page takes to its first
paint and a table to be sorted. wide: 10 methods in 4 settings under 2 protocols, 5 seeds each. tall: 40 methods of 5 seeds
in one table.
"""

import argparse
import contextlib
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import intervals, rows
from bench.store import Root

RUNS, SEEDS, LINES = 200, 5, 240
STEPS, SAMPLING_SEEDS, GROUPS = (1, 2, 4, 8), 4, 10
METRICS = {
    "frechet_distance": "min", "spatial_frechet_distance": "min", "kernel_distance": "min", "inception_score": "max",
    "precision": "max", "recall": "max",
}  # fmt: skip
COSTS = {
    "train_images_per_second": ("images/s", "max"), "train_seconds": ("s", "min"), "train_peak_bytes": ("bytes", "min"),
    "parameters": ("", ""), "latency_ms": ("ms", "min"),
}  # fmt: skip
SHAPES = {"wide": (10, 4, 2), "tall": (40, 1, 2)}  # methods, settings, protocols
LIMITS = {"seconds": 30.0, "MB of memory": 1000.0, "MB of index.html": 3.0}


def make_up(root: Root, shape: str) -> int:
    """Write the files of RUNS runs; returns how many rows they have."""
    methods, settings, protocols = SHAPES[shape]
    draw, count = random.Random(0), 0
    for i in range(RUNS):
        seed, method, setting = i % SEEDS, i // SEEDS % methods, i // SEEDS // methods % settings
        run = f"data{setting}-method{method:02d}-B-2-s{seed}-{i:08x}"
        names = [f"protocol-{k}" for k in range(protocols)]
        given = rows_of(run, f"method{method:02d}", f"data{setting}", seed, names, draw)
        rows.write(root.result_file(run), given, description_of(run, f"method{method:02d}", seed, names))
        directory = root.run(run)
        directory.path.mkdir(parents=True)
        directory.write_status("finished", images=240_000)
        log = ({"images": 1000 * k, "epoch": k, "mse": 1 / (k + 1) + draw.random() / 20, "grad_norm": 1} for k in range(LINES))
        directory.train_log.write_text("".join(json.dumps(line) + "\n" for line in log))
        count += len(given)
    return count


def rows_of(run: str, method: str, dataset: str, seed: int, protocols: list[str], draw: random.Random) -> list[rows.Row]:
    """200 rows: scores of every metric, step count and sampling seed under each protocol, and costs."""
    shared: dict[str, Any] = {
        "run": run, "method": method, "dataset": dataset, "net": "B/2", "epochs": 240.0, "images": 240_000, "train_seed": seed,
        "precision": "bf16", "attention": "flash", "device": f"gpu {seed % 2}", "started_at": "2026-11-20T09:00:00Z",
        "seconds": 1.0, "commit": "0123456789abcdef",
    }  # fmt: skip
    given = []
    for protocol in protocols:
        for metric, better in METRICS.items():
            for steps in STEPS:
                for sampling in range(SAMPLING_SEEDS):
                    parts = tuple(draw.gauss(10 / steps, 0.2) for _ in range(GROUPS))
                    error = intervals.standard_error(parts, intervals.JACKKNIFE)
                    spread = {"standard_error": error, "resampling": intervals.JACKKNIFE, "replicates": parts}
                    one = {"metric": metric, "better": better, "steps": steps, "sample_seed": sampling, "n": 50_000}
                    given.append(rows.Row(**shared, **one, **spread, protocol=protocol, value=sum(parts) / GROUPS))
    for metric, (unit, better) in COSTS.items():
        for steps in STEPS if metric == "latency_ms" else (None,):
            cost = {"metric": metric, "unit": unit, "better": better, "steps": steps, "protocol": "speed-b256"}
            given.append(rows.Row(**shared, **cost, value=draw.uniform(1e3, 2e3)))
    return given


def description_of(run: str, method: str, seed: int, protocols: list[str]) -> dict[str, Any]:
    config = {"run": {"methods": [method], "seed": seed}, "train": {"batch": 256, "lr": 1e-4}, "methods": {method: {"p": 1.0}}}
    versions = {"bench": "0.1.0", "torch": "2.9.0"}
    where = {"commit": "0123456789abcdef", "device": "gpu", "processor": "cpu", "platform": "Linux", "versions": versions}
    return where | {
        "run": run, "command": f"bench run {method} --seed {seed}", "config": config, "data_digest": "da7a",
        "started_at": "2026-11-20T09:00:00Z", "protocols": {name: {"samples": 50_000} for name in protocols},
        "measurements": {name: where | {"started_at": "2026-11-20T10:00:00Z"} for name in protocols},
    }  # fmt: skip


def render(root: Path, out: Path) -> dict[str, float]:
    """Seconds and peak memory of `bench report` as it is typed, with the processes that it starts."""
    start, peak = time.perf_counter(), 0.0
    command = [sys.executable, "-m", "bench", "report", str(root), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, resident(process.pid))
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"bench report ended with {process.returncode}")
    index = (out / "index.html").stat().st_size / 1e6
    return {"seconds": time.perf_counter() - start, "MB of memory": peak, "MB of index.html": index}


def resident(parent: int) -> float:
    """MB that a process and its descendants hold now, what they share counted in each; of Linux."""
    size, parents = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            size[int(folder.name)] = int((folder / "statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    family = {parent}
    while more := {child for child, its in parents.items() if its in family} - family:
        family |= more
    return sum(size.get(pid, 0.0) for pid in family)


def in_browser(page_file: Path) -> dict[str, float]:
    """Milliseconds to the first paint and from a click on a column's head to the sorted table on the screen."""
    from playwright.sync_api import sync_playwright

    browser_file = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_file, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(page_file.as_uri(), wait_until="load")
        page.wait_for_timeout(500)
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        load = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        found = {"ms to first paint": paint, "ms to load": load}
        if page.locator("main th button").count():
            found["ms to sort"] = page.evaluate(
                "new Promise((done) => { const start = performance.now(); document.querySelector('main th button').click();"
                "requestAnimationFrame(() => setTimeout(() => done(performance.now() - start))); })"
            )
        browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", type=Path, help="make the results and the site here, and leave them")
    parser.add_argument("--shape", choices=SHAPES, action="append", help="default: all")
    chosen = parser.parse_args()
    for shape in chosen.shape or SHAPES:
        with tempfile.TemporaryDirectory() as temporary:
            place = (chosen.keep or Path(temporary)) / shape
            count = make_up(Root(place), shape)
            print(f"{shape}: {RUNS} runs, {count:,} rows")
            found = render(place, place / "site")
            files = [file for file in (place / "site").rglob("*") if file.is_file()]
            found |= {"files": len(files), "MB of the site": sum(file.stat().st_size for file in files) / 1e6}
            try:
                found |= in_browser(place / "site" / "index.html")
            except (ImportError, StopIteration):
                print("  no browser: not painted")
            for name, value in found.items():
                limit = f"  (at most {LIMITS[name]:g})" if name in LIMITS else ""
                print(f"  {value:10.1f} {name}{limit}")


if __name__ == "__main__":
    main()
