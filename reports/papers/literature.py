"""What a comparison rests on, to be cited: papers and software, as facts, and as BibTeX.

    bibtex([LITERATURE["heusel2017gans"]])      # "@inproceedings{heusel2017gans, ..."
    LITERATURE["heusel2017gans"].short          # "Heusel et al., 2017"

METRICS, EXTRACTORS, DATASETS say which of them stand behind our names; reports.papers.paper has the methods' own.
"""

from collections.abc import Iterable
from dataclasses import dataclass

# For a BibTeX of any age.
LETTERS = {"ö": r"{\"o}", "ë": r"{\"e}", "ä": r"{\"a}", "é": r"{\'e}", "ń": r"{\'n}", "ł": r"{\l}", "&": r"\&", "_": r"\_"}


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One work. Braces in the title keep capitals; authors as BibTeX wants them: "Luo, Tianze and Liu, Zhuang"."""

    key: str
    kind: str  # inproceedings | article | techreport | misc
    author: str
    title: str
    year: int
    venue: str = ""
    arxiv: str = ""
    doi: str = ""
    url: str = ""

    @property
    def surnames(self) -> list[str]:
        return [name.partition(",")[0].strip() for name in self.author.split(" and ") if name != "others"]

    @property
    def authors(self) -> str:
        """As people read them: "Tianze Luo, Haotian Yuan, Zhuang Liu"."""
        parts = [name.partition(", ") for name in self.author.split(" and ") if name != "others"]
        names = [" ".join(filter(None, [given, family])) for family, _, given in parts]
        return ", ".join(names) + (" and others" if self.author.endswith(" and others") else "")

    @property
    def who(self) -> str:
        """ "Luo et al.", "Peebles and Xie", "Krizhevsky"."""
        names = self.surnames
        many = len(names) > 2 or self.author.endswith(" and others")
        return f"{names[0]} et al." if many else " and ".join(names)

    @property
    def short(self) -> str:
        return f"{self.who}, {self.year}"

    @property
    def plain_title(self) -> str:
        return self.title.replace("{", "").replace("}", "")

    @property
    def bibtex(self) -> str:
        place = {"inproceedings": "booktitle", "article": "journal", "techreport": "institution"}.get(self.kind, "howpublished")
        fields = {"author": self.author, "title": self.title, place: self.venue, "year": str(self.year)}
        fields |= {"eprint": self.arxiv, "archivePrefix": "arXiv" if self.arxiv else "", "doi": self.doi, "url": self.url}
        literal = ("doi", "url")
        lines = [f"  {name} = {{{text if name in literal else _latin(text)}}}," for name, text in fields.items() if text]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])


def bibtex(references: Iterable[Reference]) -> str:
    """All of them by key, each once; ends with a line break."""
    by_key = {reference.key: reference for reference in references}
    return "\n\n".join(by_key[key].bibtex for key in sorted(by_key)) + "\n"


def _latin(text: str) -> str:
    return "".join(LETTERS.get(letter, letter) for letter in text)


NEURIPS, ICLR = "Advances in Neural Information Processing Systems", "International Conference on Learning Representations"
CVPR = "IEEE/CVF Conference on Computer Vision and Pattern Recognition"

_ALL = (
    # Network, optimiser, library
    Reference(
        key="peebles2023scalable", kind="inproceedings", year=2023, arxiv="2212.09748",
        author="Peebles, William and Xie, Saining", title="Scalable Diffusion Models with Transformers",
        venue="IEEE/CVF International Conference on Computer Vision",
    ),
    Reference(
        key="loshchilov2019decoupled", kind="inproceedings", year=2019, arxiv="1711.05101",
        author="Loshchilov, Ilya and Hutter, Frank", title="Decoupled Weight Decay Regularization", venue=ICLR,
    ),
    Reference(
        key="paszke2019pytorch", kind="inproceedings", year=2019, arxiv="1912.01703",
        author="Paszke, Adam and Gross, Sam and Massa, Francisco and Lerer, Adam and Bradbury, James and others",
        title="{PyTorch}: An Imperative Style, High-Performance Deep Learning Library", venue=NEURIPS,
    ),
    Reference(
        key="ho2022classifier", kind="misc", year=2022, arxiv="2207.12598",
        author="Ho, Jonathan and Salimans, Tim", title="Classifier-Free Diffusion Guidance",
    ),
    Reference(
        key="rombach2022high", kind="inproceedings", year=2022, arxiv="2112.10752", venue=CVPR,
        author="Rombach, Robin and Blattmann, Andreas and Lorenz, Dominik and Esser, Patrick and Ommer, Björn",
        title="High-Resolution Image Synthesis with Latent Diffusion Models",
    ),
    # Metrics
    Reference(
        key="heusel2017gans", kind="inproceedings", year=2017, arxiv="1706.08500", venue=NEURIPS,
        author="Heusel, Martin and Ramsauer, Hubert and Unterthiner, Thomas and Nessler, Bernhard and Hochreiter, Sepp",
        title="{GANs} Trained by a Two Time-Scale Update Rule Converge to a Local {Nash} Equilibrium",
    ),
    Reference(
        key="chong2020effectively", kind="inproceedings", year=2020, arxiv="1911.07023", venue=CVPR,
        author="Chong, Min Jin and Forsyth, David",
        title="Effectively Unbiased {FID} and Inception Score and Where to Find Them",
    ),
    Reference(
        key="nash2021generating", kind="misc", year=2021, arxiv="2103.03841",
        author="Nash, Charlie and Menick, Jacob and Dieleman, Sander and Battaglia, Peter W.",
        title="Generating Images with Sparse Representations",
    ),
    Reference(
        key="binkowski2018demystifying", kind="inproceedings", year=2018, arxiv="1801.01401", venue=ICLR,
        author="Bińkowski, Mikołaj and Sutherland, Danica J. and Arbel, Michael and Gretton, Arthur",
        title="Demystifying {MMD} {GANs}",
    ),
    Reference(
        key="salimans2016improved", kind="inproceedings", year=2016, arxiv="1606.03498", venue=NEURIPS,
        author="Salimans, Tim and Goodfellow, Ian and Zaremba, Wojciech and Cheung, Vicki and Radford, Alec and Chen, Xi",
        title="Improved Techniques for Training {GANs}",
    ),
    Reference(
        key="kynkaanniemi2019improved", kind="inproceedings", year=2019, arxiv="1904.06991", venue=NEURIPS,
        author="Kynkäänniemi, Tuomas and Karras, Tero and Laine, Samuli and Lehtinen, Jaakko and Aila, Timo",
        title="Improved Precision and Recall Metric for Assessing Generative Models",
    ),
    # Feature networks
    Reference(
        key="szegedy2016rethinking", kind="inproceedings", year=2016, arxiv="1512.00567", venue=CVPR,
        author="Szegedy, Christian and Vanhoucke, Vincent and Ioffe, Sergey and Shlens, Jon and Wojna, Zbigniew",
        title="Rethinking the {Inception} Architecture for Computer Vision",
    ),
    Reference(
        key="obukhov2020torchfidelity", kind="misc", year=2020, doi="10.5281/zenodo.4957738", venue="Zenodo",
        author="Obukhov, Anton and Seitzer, Maximilian and Wu, Po-Wei and Zhydenko, Semen and Kyl, Jonathan and "
        "Lin, Elvis Yu-Jing",
        title="High-fidelity Performance Metrics for Generative Models in {PyTorch}",
        url="https://github.com/toshas/torch-fidelity",
    ),
    Reference(
        key="parmar2022aliased", kind="inproceedings", year=2022, arxiv="2104.11222", venue=CVPR,
        author="Parmar, Gaurav and Zhang, Richard and Zhu, Jun-Yan",
        title="On Aliased Resizing and Surprising Subtleties in {GAN} Evaluation",
    ),
    Reference(
        key="stein2023exposing", kind="inproceedings", year=2023, arxiv="2306.04675", venue=NEURIPS,
        author="Stein, George and Cresswell, Jesse C. and Hosseinzadeh, Rasa and Sui, Yi and Ross, Brendan Leigh and others",
        title="Exposing Flaws of Generative Model Evaluation Metrics and Their Unfair Treatment of Diffusion Models",
    ),
    Reference(
        key="oquab2024dinov2", kind="article", year=2024, arxiv="2304.07193",
        author="Oquab, Maxime and Darcet, Timothée and Moutakanni, Théo and others",
        title="{DINOv2}: Learning Robust Visual Features without Supervision",
        venue="Transactions on Machine Learning Research",
    ),
    Reference(
        key="tan2019efficientnet", kind="inproceedings", year=2019, arxiv="1905.11946",
        author="Tan, Mingxing and Le, Quoc V.",
        title="{EfficientNet}: Rethinking Model Scaling for Convolutional Neural Networks",
        venue="International Conference on Machine Learning",
    ),
    # Data sets
    Reference(
        key="alpaydin1998optical", kind="misc", year=1998, doi="10.24432/C50P49", venue="UCI Machine Learning Repository",
        author="Alpaydin, Ethem and Kaynak, Cenk", title="Optical Recognition of Handwritten Digits",
    ),
    Reference(
        key="pedregosa2011scikit", kind="article", year=2011, venue="Journal of Machine Learning Research",
        author="Pedregosa, Fabian and Varoquaux, Gaël and Gramfort, Alexandre and Michel, Vincent and others",
        title="{Scikit-learn}: Machine Learning in {Python}",
    ),
    Reference(
        key="krizhevsky2009learning", kind="techreport", year=2009, venue="University of Toronto",
        author="Krizhevsky, Alex", title="Learning Multiple Layers of Features from Tiny Images",
    ),
    Reference(
        key="xiao2017fashion", kind="misc", year=2017, arxiv="1708.07747",
        author="Xiao, Han and Rasul, Kashif and Vollgraf, Roland",
        title="{Fashion-MNIST}: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
    ),
)  # fmt: skip
LITERATURE = {reference.key: reference for reference in _ALL}

NETWORK, OPTIMISER, LIBRARY = "peebles2023scalable", "loshchilov2019decoupled", "paszke2019pytorch"
GUIDANCE = "ho2022classifier"
METRICS = {  # metric of our rows -> who defined it
    "frechet_distance": ("heusel2017gans",),
    "frechet_distance_infinite": ("heusel2017gans", "chong2020effectively"),
    "spatial_frechet_distance": ("nash2021generating",),
    "kernel_distance": ("binkowski2018demystifying",),
    "kernel_distance_subsets": ("binkowski2018demystifying",),
    "inception_score": ("salimans2016improved",),
    "inception_score_adm": ("salimans2016improved",),
    "precision": ("kynkaanniemi2019improved",),
    "recall": ("kynkaanniemi2019improved",),
}
EXTRACTORS = {  # our extractor -> (what its features are of, whose they are)
    "inception": ("Inception-v3 as torch-fidelity has it", ("szegedy2016rethinking", "obukhov2020torchfidelity")),
    "clean_fid": ("Inception-v3 with clean-fid's resize", ("szegedy2016rethinking", "parmar2022aliased")),
    "clean_fid_legacy": ("Inception-v3 with the legacy resize of clean-fid", ("szegedy2016rethinking", "parmar2022aliased")),
    "dinov2": ("DINOv2 ViT-L/14", ("oquab2024dinov2", "stein2023exposing")),
    "efficientnet_lite0": ("EfficientNet-Lite0", ("tan2019efficientnet",)),
    "digits": ("a small convolutional classifier of the digits", ()),
    "pixels": ("coarse pixels", ()),
}
LATENTS = "imagenet_latents"  # of any images: of which ones the rows do not say
DATASETS = {  # our data set -> (its name in a paper, who made it)
    "digits": ("the 8x8 handwritten digits of scikit-learn", ("alpaydin1998optical", "pedregosa2011scikit")),
    "cifar10": ("CIFAR-10", ("krizhevsky2009learning",)),
    "fashion_mnist": ("Fashion-MNIST", ("xiao2017fashion",)),
    LATENTS: ("image latents of an autoencoder", ("rombach2022high",)),
}
