"""The paper of each method: what to cite, and how its authors trained it, as far as no figure of published.toml says it.

    PAPERS["soflow"].main.short             # "Luo et al., 2026"
    PAPERS["soflow"].training["imagenet256"].optimiser

A method that is not here is somebody's own: its page says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from reports.papers.literature import ICLR, NEURIPS, Reference
from reports.published import Claim


@dataclass(frozen=True)
class Training:
    """How the authors trained on one data set, beside the settings that a claim of published.toml has."""

    optimiser: str
    source: str  # where that was read
    remarks: tuple[str, ...] = ()  # what no setting of this suite stands for
    settings: Mapping[str, str] = field(default_factory=dict)  # by the names in methods/NAME.py, that no claim has


@dataclass(frozen=True)
class Paper:
    method: str
    name: str  # as the paper writes it
    idea: str  # a sentence
    main: Reference
    further: tuple[Reference, ...] = ()  # that the method is cited with
    repository: str = ""
    training: Mapping[str, Training] = field(default_factory=dict)  # by data set, as published.toml names it
    recipe_of: str = ""  # whose recipe that is, where it is not the paper's own: what the settings of its claims begin with
    recipe: Reference | None = None  # and where it was published

    @property
    def references(self) -> tuple[Reference, ...]:
        return (self.main, *self.further)

    def owns(self, claim: Claim) -> bool:
        """Whether the claim's recipe stands for this method: no variant, no cell of an ablation, no third party's run."""
        if claim.method != self.method or claim.variant or claim.cell or not claim.settings:
            return False
        return claim.setting.startswith(self.recipe_of) if self.recipe_of else claim.arxiv == self.main.arxiv


SIT = Reference(
    key="ma2024sit", kind="inproceedings", year=2024, arxiv="2401.08740", venue="European Conference on Computer Vision",
    author="Ma, Nanye and Goldstein, Mark and Albergo, Michael S. and Boffi, Nicholas M. and Vanden-Eijnden, Eric and "
    "Xie, Saining",
    title="{SiT}: Exploring Flow and Diffusion-based Generative Models with Scalable Interpolant Transformers",
)  # fmt: skip

SOFLOW = Paper(
    method="soflow",
    name="SoFlow",
    idea="The network is the solution of the flow’s differential equation: it takes x_t from time t to any time s in one "
    "evaluation. It is trained on the velocity, and on two solutions from nearby times agreeing, without a derivative.",
    main=Reference(
        key="luo2026soflow", kind="inproceedings", year=2026, arxiv="2512.15657", venue=ICLR,
        author="Luo, Tianze and Yuan, Haotian and Liu, Zhuang",
        title="{SoFlow}: Solution Flow Models for One-Step Generative Modeling",
    ),
    repository="github.com/zlab-princeton/SoFlow",
    training={
        "imagenet256": Training(
            "AdamW", "SoFlow repository, imagenet.yaml and train.py",
            ("no clipping of gradients", "latents of sd-vae-ft-mse, drawn anew each epoch; centre crop, no flip"),
            {"path": "linear", "parameterization": "euler"},
        ),
        "cifar10": Training(
            "RAdam", "SoFlow repository, cifar.yaml and models.py",
            (
                "a U-Net as EDM’s DDPM++, with dropout 0.30, where this suite has a DiT",
                "EDM’s augmentation with probability 0.12",
                "averaged weights renewed every 16 steps",
                "800,000 steps",
            ),
            {"path": "linear", "parameterization": "euler"},
        ),
    },
)  # fmt: skip

MEANFLOW = Paper(
    method="meanflow",
    name="MeanFlow",
    idea="The network is the average velocity over an interval [r, t], so that one evaluation jumps over it. It is trained on "
    "an identity between average and instantaneous velocity, whose time derivative is a Jacobian-vector product.",
    main=Reference(
        key="geng2025mean", kind="inproceedings", year=2025, arxiv="2505.13447", venue=NEURIPS,
        author="Geng, Zhengyang and Deng, Mingyang and Bai, Xingjian and Kolter, J. Zico and He, Kaiming",
        title="Mean Flows for One-step Generative Modeling",
    ),
    repository="github.com/Gsunshine/meanflow",
    training={
        "imagenet256": Training(
            "Adam", "MeanFlow, Table 4; MeanFlow repository, configs/default.py",
            (
                "latents of sd-vae-ft-mse (flax), drawn anew each epoch; no flip",
                "the derivative taken on every row of a batch, those with r = t too",
            ),
        ),
        "cifar10": Training(
            "Adam", "py-meanflow repository",
            (
                "a U-Net of about 55M parameters, with dropout 0.2, where this suite has a DiT",
                "learning rate raised linearly over the first 10,000 steps",
                "EDM’s augmentation without vertical flips and rotations",
                "r = t drawn at random for each row",
            ),
        ),
    },
)  # fmt: skip

FLOW_MATCHING = Paper(
    method="flow_matching",
    name="Flow Matching",
    idea="The network is the velocity of a straight path from noise to data. Sampling solves the differential equation, in as "
    "many evaluations as one can pay for: here it is the many-step reference.",
    main=Reference(
        key="lipman2023flow", kind="inproceedings", year=2023, arxiv="2210.02747", venue=ICLR,
        author="Lipman, Yaron and Chen, Ricky T. Q. and Ben-Hamu, Heli and Nickel, Maximilian and Le, Matthew",
        title="Flow Matching for Generative Modeling",
    ),
    further=(
        Reference(
            key="liu2023flow", kind="inproceedings", year=2023, arxiv="2209.03003", venue=ICLR,
            author="Liu, Xingchao and Gong, Chengyue and Liu, Qiang",
            title="Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow",
        ),
    ),
    training={
        "imagenet256": Training(
            "AdamW", "SiT repository",
            (
                "horizontal flips; latents of sd-vae-ft-ema",
                "no clipping of gradients",
                "sampled in 250 steps, as a stochastic equation or by dopri5",
            ),
        )
    },
    recipe_of="SiT",
    recipe=SIT,
)  # fmt: skip

PAPERS = {paper.method: paper for paper in (SOFLOW, MEANFLOW, FLOW_MATCHING)}
