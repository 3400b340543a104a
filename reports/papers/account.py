"""One table of scores -> the sentences that a paper's section of methods needs of it, as far as the rows say them.

used = Used(table, lines, descriptions)
text(used, conditions, rows)       # prose, with citations
notes(used, conditions)            # what a reader of it would ask and the rows do not say
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.rows import Row
from reports.lines import ORIGIN, Descriptions, settings
from reports.papers import literature
from reports.papers.literature import DATASETS, EXTRACTORS, LATENTS, METRICS
from reports.papers.paper import PAPERS
from reports.papers.prose import Cite, Prose, Said, cite, counted, listed, listed_prose
from reports.papers.recipes import epochs_text, text_of
from reports.table import IMAGES, SAMPLING, TRAINING, Line, Table
from reports.tables import FAMILIES

LABELS = {"random": "drawn uniformly", "balanced": "in equal numbers"}
WEIGHTS = {"ema": "of the averaged weights", "raw": "of the weights as trained, not averaged"}
UNGUIDED = {"soflow": {"guidance": 1.0}, "meanflow": {"omega": 1.0, "kappa": 0.0}, "flow_matching": {"guidance": 1.0}}
PRECISIONS = {"fp32": "single precision", "tf32": "single precision with TF32 products", "bf16": "bfloat16 autocast"}


@dataclass(frozen=True)
class Used:
    """The lines of a table that have a value, and what is known of their runs."""

    table: Table
    lines: tuple[Line, ...]  # by name
    descriptions: Descriptions

    @property
    def methods(self) -> list[str]:
        return sorted({line.method for line in self.lines})

    @property
    def trained(self) -> tuple[Line, ...]:
        """Not of imported weights."""
        return tuple(line for line in self.lines if ORIGIN not in self.settings(line))

    @property
    def runs(self) -> list[str]:
        return sorted({run for line in self.lines for cell in line.cells if cell.values for run in cell.runs})

    def settings(self, line: Line) -> Mapping[str, Any]:
        run = next(cell.runs[0] for cell in line.cells if cell.values)
        return settings(self.descriptions.get(run, {}))

    def name(self, line: Line) -> str:
        """The line's, with the method as its paper writes it: "SoFlow (guidance=2.0)"."""
        return named(line.method) + line.name.removeprefix(line.method)

    def said(self, key: str) -> str:
        """A setting's value, as Said has it, over the lines that were trained here and recorded it."""
        found = {self.name(line): self.settings(line) for line in self.trained}
        return Said({name: text_of(given[key]) for name, given in found.items() if key in given}).text

    def column(self, name: str) -> list[str]:
        """What the rows say, each once."""
        return sorted({str(getattr(row, name)) for line in self.lines for cell in line.cells for row in cell.rows})


def named(method: str) -> str:
    return PAPERS[method].name if method in PAPERS else method


def text(used: Used, conditions: Mapping[str, Any], rows: Sequence[Row]) -> Prose:
    """`conditions`: of the table's protocol; `rows`: all, for the size of the network."""
    made = (_subject(used), _network(used, rows), _training(used), _guidance(used), _seeds(used))
    measured = (_scoring(used, conditions), _spread(used), _machine(used), _missing(used))
    parts: list[str | Cite] = []
    for sentence in filter(None, (*made, *measured)):
        parts += [*([" "] if parts else []), *sentence]
    return tuple(parts)


# The sentences


def _subject(used: Used) -> Prose:
    parts: list[Prose] = []
    for method in used.methods:
        recipes = sum(line.method == method for line in used.lines)
        keys = tuple(reference.key for reference in PAPERS[method].references) if method in PAPERS else ()
        parts.append((named(method), Cite(keys), f" in {recipes} settings" if recipes > 1 else ""))
    dataset = used.table.group["dataset"]
    data, keys = DATASETS.get(dataset, (dataset, ()))
    verb = "compare" if len(used.lines) > 1 else "train" if used.trained else "evaluate"
    return [f"We {verb} ", *listed_prose(parts), f" on {data}", Cite(keys), "."]


def _network(used: Used, rows: Sequence[Row]) -> Prose:
    runs = set(used.runs)
    own = [row for row in rows if row.metric == "parameters" and row.value is not None and row.run in runs]
    counts = {int(row.value or 0) for row in own}
    size = f" with {counts.pop():,} parameters" if len(counts) == 1 else ""
    who = {1: "It uses a", 2: "Both use the same"}.get(len(used.lines), "All use the same")
    return [f"{who} Diffusion Transformer", cite(literature.NETWORK), f", {used.table.group['net']}{size}."]


def _training(used: Used) -> Prose:
    if not used.trained:
        whose = "Their" if len(used.lines) > 1 else "Its"
        return [f"{whose} weights were published by others, not trained here."]
    epochs, images = used.table.group["epochs"], used.column("images")
    seen = f", {int(images[0]):,} images seen" if len(images) == 1 else ""
    imported = [used.name(line) for line in used.lines if line not in used.trained]
    start = f"Training{f' (all but {listed(imported)}, whose weights others published)' if imported else ''} is over "
    told: list[str | Cite] = [f"{start}{epochs_text(epochs)}{seen}"]
    batch, rate, betas = used.said("train.batch"), used.said("train.learning_rate"), used.said("train.betas")
    told += [f", in batches of {batch}"] if batch else []
    told += [" with AdamW", cite(literature.OPTIMISER)]
    decay, warmup, ema = used.said("train.weight_decay"), used.said("train.warmup_images"), used.said("train.ema")
    details = [f"learning rate {rate}" if rate else "", f"betas {betas}" if betas else ""]
    details += [f"weight decay {decay}" if decay else "", _warmup(warmup), f"averaged weights of decay {ema}" if ema else ""]
    told += [f": {', '.join(filter(None, details))}"] if any(details) else []
    return [*told, f", in {listed(map(_precision, used.column('precision')))}."]


def _precision(name: str) -> str:
    kind, _, compiled = name.partition(" ")
    return PRECISIONS.get(kind, kind) + (f", {compiled}" if compiled else "")


def _warmup(images: str) -> str:
    return "" if not images else "no warm-up" if images == "0" else f"warm-up over {images} images"


def _guidance(used: Used) -> Prose:
    """Nothing where it is not known of one."""
    found = {used.name(line): _guided(line.method, used.settings(line)) for line in used.lines}
    if None in found.values():
        return []
    names = [name for name, guided in found.items() if guided]
    if not names:
        return ["No guidance is used."]
    return ["Classifier-free guidance", cite(literature.GUIDANCE), f" is used in {listed(names)}."]


def _guided(method: str, given: Mapping[str, Any]) -> bool | None:
    off = UNGUIDED.get(method)
    if off is None or any(f"methods.{method}.{key}" not in given for key in off):
        return None
    return any(given[f"methods.{method}.{key}"] != value for key, value in off.items())


def _seeds(used: Used) -> Prose:
    counts = {used.name(line): max(cell.seeds for cell in line.cells) for line in used.trained}
    if not counts:
        return []
    each = Said({name: counted(count, "seed") for name, count in counts.items()}).text
    subject = "Each is" if len(counts) > 1 else "It is"
    return [f"{subject} trained with {each}."]


def _scoring(used: Used, conditions: Mapping[str, Any]) -> Prose:
    table = used.table
    columns = [c for i, c in enumerate(table.columns) if any(line.cells[i].values for line in used.lines)]
    heads = {column.head.replace(", n →", " at n →"): METRICS.get(column.metric, ()) for column in columns}
    metrics = listed_prose([(head, Cite(keys)) for head, keys in heads.items()])
    n = sorted({row.n for line in used.lines for cell in line.cells for row in cell.rows if row.n})
    told: list[str | Cite] = ["We report ", *metrics]
    told += [_steps({used.name(line): _step_counts(table, line) for line in used.lines})]
    told += [f", from {listed(f'{count:,}' for count in n)} generated images"] if n else []
    told += [f" {WEIGHTS[conditions['weights']]}"] if conditions.get("weights") in WEIGHTS else []
    told += [f" with labels {LABELS[conditions['label_rule']]}"] if conditions.get("label_rule") in LABELS else []
    seeds = Said({used.name(line): line.sampling_text for line in used.lines if line.sampling_text}).text
    told += [f", {seeds} sampling seed{'' if seeds == '1' else 's'} each"] if seeds else []
    if extractor := str(conditions.get("extractor") or ""):
        name, keys = EXTRACTORS.get(extractor, (extractor, ()))
        told += [f", on features of {name}", Cite(keys)]
        told += ["" if extractor in FAMILIES and "extractor_comparable" not in conditions else ", which is not FID"]
    if real := conditions.get("reference_images"):
        told += [f", against {text_of(real)} real images"]
    return [*told, f" (protocol {table.group['protocol']})."]


def _steps(counts: Mapping[str, set[int]]) -> str:
    """ " at 1 and 2 steps (network evaluations; b also at 64)"."""
    known = {name: found for name, found in counts.items() if found}
    if not known:
        return ""
    common = set.intersection(*known.values())
    if not common:
        each = "; ".join(f"{name} at {listed(map(str, sorted(found)))}" for name, found in known.items())
        return f", by number of steps (network evaluations): {each}"
    further = {name: sorted(found - common) for name, found in known.items() if found - common}
    more = "".join(f"; {name} also at {listed(map(str, found))}" for name, found in further.items())
    at = listed(map(str, sorted(common)))
    return f" at {at} step{'' if at == '1' else 's'} (network evaluations{more})"


def _step_counts(table: Table, line: Line) -> set[int]:
    """At which the line has a value."""
    return {c.steps for c, cell in zip(table.columns, line.cells, strict=True) if cell.values and c.steps is not None}


def _spread(used: Used) -> Prose:
    kinds = {cell.spread_of for line in used.lines for cell in line.cells if cell.values}
    if TRAINING in kinds:
        return ["Values are means over training seeds, with their sample standard deviation."]
    if SAMPLING in kinds:
        what = "Values are means over sampling seeds of one network, with their standard deviation"
        return [f"{what}, which says nothing of other training seeds."]
    return ["Each value is of one network and one set of images, with its standard error."] if IMAGES in kinds else []


def _machine(used: Used) -> Prose:
    known = [used.descriptions.get(run, {}) for run in used.runs]
    devices = sorted({*used.column("device"), *(str(d["device"]) for d in known if d.get("device"))})
    versions = [d.get("versions") for d in known]
    torch = sorted({str(v["torch"]) for v in versions if isinstance(v, Mapping) and v.get("torch")})
    told: list[str | Cite] = [f"{'Training and scoring' if used.trained else 'Scoring'} ran on {listed(devices)}"]
    told += [f" with PyTorch {listed(torch)}", cite(literature.LIBRARY)] if torch else []
    dirty = "True" in used.column("dirty")
    commits = sorted({name[:10] for name in used.column("commit") if name})
    told += [f", from commit{'s' if len(commits) > 1 else ''} {listed(commits)}"] if commits else []
    return [*told, " with changes that are not in it." if commits and dirty else "."]


def _missing(used: Used) -> Prose:
    bad = sorted({(failure.line, failure.train_seed) for failure in used.table.failures})
    if not bad:
        return []
    return [f"Not every run gave every value: {listed(f'{line}, seed {seed}' for line, seed in bad)}."]


def notes(used: Used, conditions: Mapping[str, Any]) -> list[str]:
    found = []
    unknown = [named(method) for method in used.methods if method not in PAPERS]
    if unknown:
        found.append(f"This suite knows no paper of {listed(unknown)}: add a citation of your own.")
    dataset = used.table.group["dataset"]
    if dataset == LATENTS:
        found.append("The rows do not say of which images the latents are: name and cite them, and the autoencoder’s weights.")
    elif dataset not in DATASETS:
        found.append(f"This suite knows no citation of the data set {dataset}.")
    silent = [used.name(line) for line in used.lines if not used.settings(line)]
    if silent:
        found.append(f"The settings of {listed(silent)} were not recorded.")
    if not conditions.get("extractor"):
        found.append("The conditions of the protocol were not recorded: name the evaluator yourself.")
    return found
