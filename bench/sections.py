"""The tables of bench.toml: keys, types, ranges and defaults. bench.config reads them and puts them together."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

Count = Annotated[int, Field(gt=0, lt=2**53)]
Seed = Annotated[int, Field(ge=0, lt=2**53)]
Share = Annotated[float, Field(ge=0, lt=1)]
Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


def joined(value: object) -> object:
    """["T/2", "B/4"] -> "T/2,B/4", the form of the command line."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def rows_or_auto(value: object) -> object:
    """A number of rows, or "auto"."""
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise PydanticCustomError("micro_batch", "a whole number of rows, 0 for all of them, or 'auto'")


Joined = Annotated[str, BeforeValidator(joined)]
STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)  # an unknown key is an error


class Section(BaseModel):
    model_config = STRICT


class Run(Section):
    methods: Annotated[tuple[str, ...], Field(min_length=1)] = ("soflow", "meanflow", "flow_matching")
    dataset: str = "digits"
    net: Joined = "T/2"
    epochs: Annotated[float, Field(gt=0)] = 240
    seed: Seed = 0
    seeds: Annotated[int, Field(gt=0, le=1000)] = 1


class Train(Section):
    batch: Annotated[int, Field(ge=2)] = 128
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    betas: tuple[Share, Share] = (0.9, 0.95)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup_images: Annotated[int, Field(ge=0)] = 25_600
    ema: Share = 0.999
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    compile: bool | Literal["try"] = False  # "try" is settled before a run has its name (bench.try_compile)
    attention: Literal["auto", "math", "flash", "efficient", "cudnn"] = "auto"


class Loop(Section):
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    save_seconds: Annotated[float, Field(gt=0)] = 60.0
    log_images: Count = 12_800
    micro_batch: Annotated[int | Literal["auto"], BeforeValidator(rows_or_auto)] = 0
    recompute: bool = False  # blocks, in the backward pass
    snapshots: Count = 1

    @property
    def settled_micro_batch(self) -> int:
        """As a number; 0 for "auto", as long as nobody chose: what a batch can be shared out for at all."""
        return self.micro_batch if isinstance(self.micro_batch, int) else 0


class Eval(Section):
    samples: Annotated[int, Field(ge=2)] = 2000
    batch: Count = 500
    steps: tuple[Count, ...] = (1, 2, 4)
    extra_steps: dict[str, tuple[Count, ...]] = {"flow_matching": (64,)}
    label_rule: Literal["random", "balanced"] = "random"
    seed: Seed = 0
    seeds: Annotated[int, Field(gt=0, le=1000)] = 3
    extractor: Annotated[Names, Field(min_length=1)] = ("auto",)
    metrics: Annotated[Names, Field(min_length=1)] = ("auto",)
    reference: str = "data"
    quantiser: Literal["127.5x+128", "127.5x+127.5"] = "127.5x+128"


class Speed(Section):
    seconds: Annotated[float, Field(gt=0)] = 2.0
    batch: Count = 256


class Cluster(Section):
    """What one job of `bench run --launcher slurm` asks for. It changes no result."""

    partition: str = ""  # "": the cluster's own default, as in the other places
    account: str = ""
    nodes: Count = 1
    gpus_per_node: Annotated[int, Field(ge=0)] = 1
    processes_per_node: Annotated[int, Field(ge=0)] = 0  # 0: one a GPU
    cpus_per_task: Annotated[int, Field(ge=0)] = 0
    memory_gb: Annotated[float, Field(ge=0)] = 0.0  # of a node
    time_minutes: Count = 24 * 60
    signal_delay_seconds: Annotated[int, Field(ge=30)] = 120  # training saves within 30
    max_requeues: Annotated[int, Field(ge=0)] = 100
    setup: tuple[str, ...] = ()
    extra: dict[str, str | int | float | bool] = {}

    @property
    def processes(self) -> int:
        """Processes on each node."""
        return self.processes_per_node or max(1, self.gpus_per_node)
