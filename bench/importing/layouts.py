"""Published layouts: how a file names this suite's DiT, what its time and output mean, and whether that is ours.

    layout = recognise(state)                 # or LAYOUTS["sit"]: some layouts can not be told apart by their names
    net = guess(state)                        # Net(name="XL/2", shape=(4, 32, 32), num_classes=1000, ...)
    weights = layout.convert(state, net)      # in the form that bench.dit loads strictly

Ours: t = 0 is data, t = 1 is noise, v = e - x0; t_embedder takes t, s_embedder takes t - s, both in [0, 1].

    soflow    network.*, s_embedder of t - s; F(x, t, s) as ours               (zlab-princeton/SoFlow)
    meanflow  r_embedder of t - r is our s_embedder; u(x, r, t) as ours        (zhuyu-cs/MeanFlow, PyTorch)
    sit       one time embedder, time reversed, twice the channels             (willisma/SiT): see `reverse_time`
    dit       the published DiT's own names with an s_embedder, as `bench` writes them
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bench import dit, nets
from bench.errors import BenchError
from bench.importing.published import WRAPPERS, from_published

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Net:
    """What a state dict's shapes say of its network."""

    name: str
    shape: tuple[int, int, int]
    num_classes: int
    outputs: int  # channels of the output: twice those of the images where a variance is predicted as well

    def build(self) -> dit.DiT:
        """On "meta": names and shapes without memory."""
        with torch.device("meta"):
            return dit.build(self.name, self.shape, self.num_classes)


@dataclass(frozen=True)
class Layout:
    name: str
    methods: tuple[str, ...]  # whose network it is; () is any
    second: str  # its second time embedder, "" where it has one time
    rename: Callable[[State, Net], dict[str, Tensor]]
    remarks: tuple[str, ...] = ()  # what the weights do not say, and the user has to know

    def check(self, state: State) -> None:
        """Raises BenchError where the file has other time embedders than the layout: its times mean something else."""
        names = bare(state)
        found = [key for key in SECOND if any(name.startswith(f"{key}.") for name in names)]
        if found != [self.second] * bool(self.second):
            given = f"The file has the time embedder{'s t_embedder and ' if found else ' t_embedder alone'}{', '.join(found)}"
            allowed = f"t_embedder{f' and {self.second}' if self.second else ' alone'}, as {self.name} has"
            remedy = "Choose --layout auto." if found else f"If SiT trained it: --layout sit. {DIT_IS_NO_FLOW}"
            raise BenchError(given, allowed, remedy)

    def convert(self, state: State, net: Net) -> dict[str, Tensor]:
        """The weights, float32. Raises BenchError for what is not this suite's DiT, and for weights that are not finite."""
        try:
            weights = from_published(self.rename(state, net), net.build())
        except ValueError as error:
            given = f"As {self.name}, read as the net {net.name}: {error}"
            raise BenchError(given, "the names and shapes of that net", "Choose another --layout, or another file.") from error
        weights = {key: value.float().contiguous() for key, value in weights.items()}
        if broken := [key for key, value in weights.items() if not bool(value.isfinite().all())]:
            given = f"{len(broken)} of the weights are not finite, the first is {broken[0]}"
            raise BenchError(given, "finite numbers", "Choose another file.")
        return weights


# What a file is


def bare(state: State) -> dict[str, Tensor]:
    """`state` without what data parallelism, compilation and wrapping modules put before its names."""
    found = {}
    for key, value in state.items():
        while key.startswith(WRAPPERS):
            key = key.partition(".")[2]
        if key in found:
            raise BenchError(f"Two of the file's names are {key} behind their prefixes", "one", "Choose another file.")
        found[key] = value
    return found


def recognise(state: State) -> Layout:
    """The layout that the names tell. Raises BenchError where they tell none, or do not tell enough."""
    names = bare(state)
    if any("network.s_embedder." in name for name in state):
        return LAYOUTS["soflow"]
    if any(name.startswith("r_embedder.") for name in names):
        return LAYOUTS["meanflow"]
    if any(name.startswith("s_embedder.") for name in names):
        return LAYOUTS["dit"]
    if "t_embedder.mlp.0.weight" in names:
        raise BenchError(
            "DiT and SiT have the same names and shapes, with one time embedder, and mean different things by them",
            "--layout sit, if it was trained by SiT on the linear path to predict the velocity",
            DIT_IS_NO_FLOW,
        )
    first = ", ".join(sorted(names)[:3]) or "none"
    raise BenchError(f"No known layout has these names: {first}, ...", ", ".join(LAYOUTS), OTHERS)


SECOND = ("s_embedder", "r_embedder")
OTHERS = "U-Nets and other networks do not fit: choose another file."
DIT_IS_NO_FLOW = (
    "A DiT trained for diffusion can not be imported: it predicts the noise (and a variance) at steps 0 to 999 of a schedule "
    "that keeps the variance, so both the scale of its input and the way from its output to a velocity depend on t, and no "
    "change of weights makes v(x, t) of it."
)


def guess(state: State, size: int | None = None) -> Net:
    """The net that the shapes are of; `size` of the images, pixels, where the file does not hold its positions.

    Raises BenchError for shapes that none of this suite's nets has.
    """
    names = bare(state)
    patches, labels = names.get("x_embedder.proj.weight"), names.get("y_embedder.embedding_table.weight")
    last, positions = names.get("final_layer.linear.weight"), names.get("pos_embed")
    if patches is None or patches.dim() != 4 or labels is None or len(labels) < 2 or last is None:
        first = ", ".join(sorted(names)[:3]) or "none"
        allowed = "x_embedder.proj, y_embedder.embedding_table and final_layer.linear, as in the published DiT"
        raise BenchError(f"This is no DiT: its names are {first}, ...", allowed, OTHERS)
    width, channels, patch = patches.shape[:3]
    depth = len({key.split(".")[1] for key in names if key.startswith("blocks.")})
    letter = next((k for k, v in nets.SIZES.items() if (v.depth, v.width) == (depth, width)), "")
    if not letter or patch not in nets.PATCHES:
        known = ", ".join(f"{k} {v.depth} x {v.width}" for k, v in nets.SIZES.items())
        given = f"The file's network has {depth} blocks of width {width}, patch {patch}: no net of this suite"
        raise BenchError(given, f"depth x width of {known}; patch {', '.join(map(str, nets.PATCHES))}", "Choose another file.")
    if positions is not None:
        size = round((positions.numel() // width) ** 0.5) * patch
    if not size:
        raise BenchError("The file does not hold its positions", "the size of its images", "Say it: --size PIXELS (latent).")
    return Net(f"{letter}/{patch}", (channels, size, size), len(labels) - 1, len(last) // patch**2)


# From each layout to ours


def as_it_is(state: State, net: Net) -> dict[str, Tensor]:
    """t and t - s are embedded as here."""
    refuse_variance(net)
    return bare(state)


def as_meanflow(state: State, net: Net) -> dict[str, Tensor]:
    """r_embedder embeds t - r, as our s_embedder embeds t - s with r in the place of s."""
    refuse_variance(net)
    return {key.replace("r_embedder.", "s_embedder.", 1): value for key, value in bare(state).items()}


def refuse_variance(net: Net) -> None:
    if net.outputs != net.shape[0]:
        given = f"The file's network has {net.outputs} output channels for images of {net.shape[0]}: a variance, perhaps"
        raise BenchError(given, f"{net.shape[0]} output channels", "Only of SiT it is known that it uses the first half alone.")


def as_sit(state: State, net: Net) -> dict[str, Tensor]:
    """SiT's velocity as ours, exactly: v(x, t) = -v_SiT(x, 1 - t), its time and sign turned in the weights.

    SiT (arXiv 2401.08740): x = T data + (1 - T) e, v_SiT = d/dT x = data - e, so T = 1 - t and v = e - data = -v_SiT.
    Of the 2 C output channels it uses the first C. The second embedder is zero: one time, and Flow Matching has s = t.
    """
    names = bare(state)
    channels = net.shape[0]
    if net.outputs not in (channels, 2 * channels):
        raise BenchError(f"{net.outputs} output channels", f"{channels} or {2 * channels}, as SiT has", "Choose another file.")
    for key in ("final_layer.linear.weight", "final_layer.linear.bias"):
        whole = names.get(key)
        if whole is not None and len(whole) % net.outputs == 0:  # else refused for its shape
            tokens = whole.reshape(-1, net.outputs, *whole.shape[1:])  # (patch * patch, channels, ...): channels come last
            names[key] = -tokens[:, :channels].reshape(-1, *whole.shape[1:])
    first = names.get("t_embedder.mlp.0.weight")
    if first is not None and first.dim() == 2:
        names["t_embedder.mlp.0.weight"] = reverse_time(first)
    for key in [key for key in names if key.startswith("t_embedder.")]:
        names[key.replace("t_embedder.", "s_embedder.", 1)] = torch.zeros_like(names[key])
    return names


def reverse_time(weight: Tensor) -> Tensor:
    """The first layer (width, 256) of a time embedder, changed so that it sees 1 - t when it is given t.

    Its input is cos(w t), then sin(w t). By the addition theorems cos(w (1 - t)) = cos w cos(w t) + sin w sin(w t) and
    sin(w (1 - t)) = sin w cos(w t) - cos w sin(w t): a linear map of the input, which the layer takes into its weights.
    """
    half = weight.shape[1] // 2
    one = dit.frequencies(torch.ones(1, dtype=torch.float64), 2 * half)[0]
    cos, sin = one[:half], one[half:]
    of_cos, of_sin = weight.double()[:, :half], weight.double()[:, half:]
    return torch.cat([of_cos * cos + of_sin * sin, of_cos * sin - of_sin * cos], dim=1).to(torch.float32)


SCALE = "The latents' scale and VAE are not in the weights"
LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("soflow", ("soflow",), "s_embedder", as_it_is, (f"{SCALE}; SoFlow's are sd-vae-ft-mse and 0.18215.",)),
        Layout(
            "meanflow", ("meanflow",), "r_embedder", as_meanflow,
            (f"{SCALE}; zhuyu-cs's code trains with 0.18125 for 0.18215, and its evaluation has had other ones.",),
        ),
        Layout(
            "sit", ("flow_matching",), "", as_sit,
            (
                f"{SCALE}; SiT's are sd-vae-ft-ema by default, and 0.18215.",
                "Taken to be of the linear path and the velocity: SiT's other paths and targets, and DiT, have the same names.",
                "Guidance here is of all channels; SiT's code guides the first three, which is another sampler.",
            ),
        ),
        Layout("dit", (), "s_embedder", as_it_is),
    )
}  # fmt: skip
