"""`bench speed` as a person sees it: what is measured, where it is written, and the tables."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from bench.errors import BenchError
from bench.progress import err
from bench.show import out as screen
from bench.speed.request import VARIANTS, Request, parse_shape, split
from bench.store import Root, write_atomic

if TYPE_CHECKING:
    import torch

    from reports.speed import Panel


def make_request(
    methods: list[str] | None, config: Path | None, settings: list[str] | None, *, device: str | None, shape: str,
    nets: list[str] | None, batch: int | None, precisions: list[str] | None, variants: list[str] | None,
    compiled: bool | None, seconds: float | None, memory: float | None, **more: Any,
) -> Request:  # fmt: skip
    """The request with its defaults filled in, checked. Raises BenchError, before anything is measured."""
    from bench import config as configuration
    from bench import dist
    from bench.nets import fit

    dist.require_one_process("bench speed")
    flags = {"run": {"methods": methods or None}, "loop": {"device": device}}
    suite = configuration.load(config, flags, tuple(settings or ()))
    tables: dict[str, Any] = dict(suite.methods) if config else {}  # bench.toml's are of its data set, not the papers'
    for setting in settings or ():
        if not config and not setting.startswith(("methods.", "speed.seconds", "loop.device")):
            allowed = "methods.NAME.KEY, speed.seconds, loop.device"
            raise BenchError(f"--set {setting} without --config", allowed, "Options say the rest: `bench speed --help`.")
        tables = configuration.merge(tables, configuration.parse_setting(setting).get("methods", {}))
    place = dist.pick_device(suite.loop.device)
    gpu = place.type == "cuda"
    usual_nets, usual_batch = (["B/4"], 256) if gpu else (["T/4"], 32)
    if config:
        usual_nets, usual_batch = suite.run.net.split(","), suite.train.batch
        precisions = precisions or [suite.train.precision]
    names = tuple(methods or suite.run.methods)
    wanted: dict[str, Any] = {
        "nets": split(nets) or tuple(usual_nets),
        "batch": batch or usual_batch,
        "precisions": split(precisions) or (("bf16", "tf32") if gpu else ("fp32",)),
        "variants": split(variants) or VARIANTS,
        "compile": gpu if compiled is None else compiled,
        "seconds": suite.speed.seconds if seconds is None else seconds,
        "memory": memory,
        **{key: tuple(value) if isinstance(value, list) else value for key, value in more.items()},
    }
    own = {name: configuration.complete_hyperparameters(name, tables.get(name, {})) for name in names}
    request = Request(methods=names, hyperparameters=own, device=str(place), shape=parse_shape(shape), **wanted).checked()
    for net in request.nets:
        try:
            fit(net, request.shape)
        except ValueError as error:
            given, _, allowed = str(error).partition("; allowed: ")
            raise BenchError(given[0].upper() + given[1:], allowed, "Choose with --net or --shape.") from error
    return request


def run(request: Request, out: Path | None, root: Path, *, dry_run: bool) -> None:
    """Measure, write speed.parquet and README.md into the folder, print the tables."""
    import torch

    from bench.apart import in_own_process
    from bench.speed import decoder, sweep
    from bench.speed.results import read
    from reports.speed import markdown, panels

    device = torch.device(request.device)
    folder = out or Root(root).speed / in_own_process("looks at the device", slug, device)
    if request.decoder != "none":
        decoder.check(request)
    if dry_run:
        for name, _ in sweep.groups(request):
            screen.print(escape(name))
        screen.print(f"would be written to {escape(str(folder))}")
        return
    check_folder(folder)
    sweep.sweep(request, folder, started_by=as_typed(sys.argv[1:]), say=lambda text: err.print(escape(text)))
    frame, description = read(folder / sweep.FILE)
    write_atomic(folder / "README.md", markdown(frame, description))
    for panel in panels(frame):
        print_panel(panel)
    if marked := int(frame["noisy"].sum()):
        screen.print(
            f"{marked} of {len(frame)} rows are noisy (*): something else was running. Measure again on a quiet machine."
        )
    screen.print(f"{escape(str(folder / sweep.FILE))}, README.md beside it")


def as_typed(words: list[str]) -> str:
    """The command for the file that others will read: whole paths are of this machine, and shortened to their last part."""
    shown = []
    for word in words:
        option, equals, value = word.rpartition("=")
        shown.append(option + equals + (Path(value).name if Path(value).is_absolute() else value))
    return shlex.join(["bench", *shown])


def slug(device: "torch.device") -> str:
    from bench.speed import machine

    return machine.slug(machine.facts(device))


def check_folder(folder: Path) -> None:
    """Raises BenchError, before minutes of measuring, where nothing can be written."""
    write_atomic(folder / ".probe", b"")
    (folder / ".probe").unlink(missing_ok=True)


def print_panel(panel: "Panel") -> None:
    """A table with a heading for each group; at 80 columns the numbers keep their digits and the names fold."""
    kept = [i for i, head in enumerate(panel.heads) if i and not (head in panel.wide and screen.width < 100)]
    grid = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for i in kept:
        number = i > 1 and panel.title != "Not measured"
        grid.add_column(panel.heads[i], justify="right" if number else "left", no_wrap=number, overflow="fold")
    group = ""
    for line in panel.lines:
        if line[0] != group:
            group = line[0]
            grid.add_row(
                f"[italic]{escape(panel.heads[0])} {escape(group)}[/italic]"
                if group.isdigit()
                else f"[italic]{escape(group)}[/italic]"
            )
        grid.add_row(*(escape(("  " if i == 1 else "") + line[i]) for i in kept))
    screen.print(f"\n[bold]{escape(panel.title)}[/bold]", soft_wrap=True)
    screen.print(grid)
    for note in panel.notes:
        screen.print(escape(note), style="dim")
