"""What each method computes, as its paper has it in this suite's notation: LaTeX, and the function of methods/ that does it.

    for equation in EQUATIONS["meanflow"]: mathml(equation.latex)

Time runs from data (0) to noise (1) everywhere. Letters stand for hyperparameters, whose values the method's page has.
No bracket stands around a fraction: browsers stretch it with a font of mathematics only, which not everybody has.
"""

import functools
from dataclasses import dataclass

from latex2mathml.converter import convert
from markupsafe import Markup, escape


@dataclass(frozen=True)
class Equation:
    title: str
    latex: str
    function: str = ""  # of methods/NAME.py, or "_path.NAME" of what methods share; "" where nothing computes it
    number: str = ""  # in the paper, where it is known
    note: str = ""

    @property
    def parts(self) -> list[str]:
        """The formulas that stand side by side in it, and one under the other on a narrow page."""
        return [part.strip() for part in self.latex.split(r"\qquad")]


@dataclass(frozen=True)
class Symbol:
    latex: str
    meaning: str


@functools.cache
def mathml(latex: str, *, block: bool = True) -> Markup:
    """A <math> element, with the LaTeX as its alternative text."""
    made = convert(latex, display="block" if block else "inline").removeprefix("<math ")
    return Markup(f'<math alttext="{escape(latex)}" {made}')


PATH = Equation("Path and its velocity", r"x_t = (1-t)\,x_0 + t\,e, \qquad v = e - x_0", "_path.linear_path")

SOFLOW = (
    Equation(
        "Path and its velocity",
        PATH.latex,
        "point",
        note="With path = trigonometric, x_t = cos(πt/2) x_0 + sin(πt/2) e, and v is its derivative.",
    ),
    Equation("Solution function", r"f(x_t, t, s) = a(t,s)\,x_t + b(t,s)\,F(x_t, t, s \mid y)", "solution"),
    Equation(
        "Its coefficients",
        r"a(t,s) = 1, \quad b(t,s) = s - t \qquad \text{or} \qquad"
        r" a(t,s) = \cos\frac{\pi}{2}(s-t), \quad b(t,s) = \sin\frac{\pi}{2}(s-t)",
        "coefficients",
        note="The first with parameterization = euler, the second with trigonometric. Both give f(x, t, t) = x.",
    ),
    Equation(
        "Velocity that it predicts",
        r"v_\theta(x_t, t \mid y) = \partial_s b(t,t)\,F(x_t, t, t \mid y)",
        "slope",
        note="∂_s b(t, t) is 1 for euler, π/2 for trigonometric.",
    ),
    Equation(
        "Times",
        r"t \sim \operatorname{LN}(\mu_t, \sigma_t), \quad s = \min(\tau,\, t - \delta),"
        r" \; \tau \sim \operatorname{LN}(\mu_s, \sigma_s),"
        r" \qquad l = \min\left(t + \rho\,(s - t),\, t - \delta\right)",
        "draw",
        note="With δ = 0.0001, which t is at least. On the share velocity_ratio of the rows, t comes from another LN and "
        "s = l = t: they learn the velocity alone.",
    ),
    Equation(
        "Gap over training",
        r"\rho = r_{\mathrm{init}}\,(r_{\mathrm{end}} / r_{\mathrm{init}})^{k/K}",
        "gap_ratio",
        note="The exponential schedule; there are linear, cosine and constant ones too.",
    ),
    Equation(
        "Guided velocity",
        r"v_g = v + d(t)\,(w-1)\,\left(v - v_\theta(x_t, t \mid \varnothing)\right), \qquad"
        r" \tilde{v} = m\,v_g + (1-m)\,v_\theta(x_t, t \mid y)",
        "_guide",
        note="Both predictions without gradient, by the network itself. Rows whose label was dropped keep v.",
    ),
    Equation(
        "Where guidance fades",
        r"d(t) = 1 - \exp\left(-0.025\,q / (1-q)\right), \qquad q = \frac{1-t}{1-c}",
        "guidance_decay",
        note="For t > c; before, d(t) = 1.",
    ),
    Equation(
        "Flow Matching loss",
        r"\mathcal{L}_{v} = \frac{\langle D^2 \rangle}"
        r"{\partial_s b(t,t)\,\operatorname{sg}\left[\langle D^2 \rangle + \varepsilon\right]^p}, \qquad"
        r" D = v_\theta(x_t, t \mid y) - \tilde{v}",
        "_velocity_loss",
    ),
    Equation(
        "Difference of two solutions",
        r"Q = \frac{f(x_t, t, s) - \operatorname{sg}\left[f(x_l, l, s)\right]}{t - l}, \qquad x_l = x_t + (l - t)\,\tilde{v}",
        "_quotient",
        note="Of the exact solution it vanishes with t - l. Its mean square is what is logged as mse on these rows.",
    ),
    Equation(
        "Solution consistency loss",
        r"\mathcal{L}_{c} = \operatorname{sign}(b(t,s))"
        r" \left\langle F(x_t, t, s \mid y)\,\operatorname{sg}[\lambda\,Q] \right\rangle,"
        r" \qquad \lambda = \frac{1}{(\langle Q^2 \rangle + \varepsilon)^p}",
        "_consistency_loss",
        note="It has the gradient of the weighted square of Q up to a factor, without that square’s cancellation.",
    ),
    Equation(
        "Sampling",
        r"\hat{x}_0 = f(e, 1, 0), \qquad \hat{x}_0 \leftarrow f\left((1-t_i)\,\hat{x}_0 + t_i\,e_i,\; t_i,\; 0\right),"
        r" \qquad t_i = 1 - i/n",
        "sample",
        note="The first alone is one step; each further step puts fresh noise e_i back, by the path (here the linear one), "
        "and jumps again.",
    ),
)

MEANFLOW = (
    PATH,
    Equation("Average velocity", r"u(x_t, r, t) = \frac{1}{t-r} \int_r^t v(x_\tau, \tau)\,d\tau", number="eq. 3"),
    Equation(
        "MeanFlow identity",
        r"u(x_t, r, t) = v(x_t, t) - (t-r)\,\frac{d}{dt}\,u(x_t, r, t)",
        "residual",
        "eq. 6",
    ),
    Equation(
        "Its derivative",
        r"\frac{d}{dt}\,u(x_t, r, t) = v(x_t, t)\,\partial_x u + \partial_t u",
        "_path.time_derivative",
        "eq. 8",
        "A Jacobian-vector product along (v, 0, 1) in (x, r, t), without gradient, and only on rows with r < t.",
    ),
    Equation(
        "Times",
        r"t = \max(\tau_1, \tau_2), \quad r = \min(\tau_1, \tau_2), \qquad \tau_1, \tau_2 \sim \operatorname{LN}(\mu, \sigma)",
        "draw",
        note="On the share equal_ratio of the rows r = t.",
    ),
    Equation(
        "Guided velocity",
        r"\tilde{v} = \omega\,v + (1 - \omega - \kappa)\,u(x_t, t, t \mid \varnothing) + \kappa\,u(x_t, t, t \mid y)",
        "_guide",
        "Sec. B.1",
        "For t in the guidance interval; elsewhere, and on rows whose label was dropped, v.",
    ),
    Equation(
        "Loss",
        r"\mathcal{L} = \frac{S}{\operatorname{sg}\left[S + \varepsilon\right]^p}, \qquad"
        r" S = \left\lVert u_\theta(x_t, r, t \mid y)"
        r" - \operatorname{sg}[\tilde{v} - (t-r)\,\dot{u}_\theta] \right\rVert^2",
        "loss",
        "eqs. 9 and 17, Sec. 4.3",
        "The dot is d/dt as above, along the guided velocity (ṽ, 0, 1). S, divided by the number of values in an image, "
        "is what is logged as mse.",
    ),
    Equation(
        "Sampling", r"x_r = x_t - (t-r)\,u_\theta(x_t, r, t \mid y)", "sample", "eq. 12", "Times evenly spaced from 1 to 0."
    ),
)

FLOW_MATCHING = (
    PATH,
    Equation(
        "Flow Matching objective",
        r"\left\langle \left(F(x_t, t) - v(x_t, t)\right)^2 \right\rangle, \qquad"
        r" v(x_t, t) = \mathbb{E}\left[e - x_0 \mid x_t\right]",
        "residual",
        "eq. 5",
        "Against the marginal velocity, which nobody has but for data in closed form.",
    ),
    Equation(
        "Conditional Flow Matching loss",
        r"\mathcal{L} = \left\langle \left(F(x_t, t \mid y) - (e - x_0)\right)^2 \right\rangle",
        "loss",
        "eq. 9",
    ),
    Equation("Times", r"t \sim \mathcal{U}(0, 1) \qquad \text{or} \qquad t \sim \operatorname{LN}(\mu, \sigma)", "draw"),
    Equation(
        "Guidance when sampling",
        r"v = F(x, t \mid \varnothing) + w\,\left(F(x, t \mid y) - F(x, t \mid \varnothing)\right)",
        "_velocity",
        note="With w = 1 one evaluation, else two, and both are counted as steps.",
    ),
    Equation("Sampling", r"x_r = x_t - (t-r)\,v(x_t, t)", "sample", note="Euler’s rule; Heun’s takes two evaluations a step."),
)

_SHARED = (
    Symbol("x_0", "an image of the data, about in [-1, 1]"),
    Symbol("e", "standard normal noise of its shape"),
    Symbol("t", "time: 0 is data, 1 is noise"),
    Symbol(r"y,\ \varnothing", "the label; none"),
)
_LN = Symbol(r"\operatorname{LN}(\mu, \sigma)", "the sigmoid of a normal of this mean and standard deviation")
_SG = Symbol(r"\operatorname{sg}[\cdot]", "without gradient")
_MEAN = Symbol(r"\langle \cdot \rangle", "mean over channels and pixels of an image")
_FLOOR = Symbol(r"p,\ \varepsilon", "power and floor of the adaptive weight: p, eps")

EQUATIONS = {"soflow": SOFLOW, "meanflow": MEANFLOW, "flow_matching": FLOW_MATCHING}
SYMBOLS = {
    "soflow": (
        *_SHARED,
        Symbol(r"F,\ \theta", "the network and its weights"),
        Symbol(r"s \le l < t", "where the jump ends, and a time close to where it starts"),
        Symbol("k/K", "share of training done"),
        Symbol(r"w,\ m,\ c", "guidance, mix, guidance_cutoff"),
        *(_LN, _SG, _MEAN, _FLOOR),
    ),
    "meanflow": (
        *_SHARED,
        Symbol(r"u_\theta", "the network: the average velocity over [r, t]"),
        Symbol(r"\omega,\ \kappa", "weights of the guided velocity; the guidance is ω / (1 - κ)"),
        *(_LN, _SG, _FLOOR),
    ),
    "flow_matching": (*_SHARED, Symbol("F", "the network"), Symbol("w", "guidance"), _LN, _MEAN),
}
