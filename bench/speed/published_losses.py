"""The losses of `methods/` with the network calls of the public code: the same numbers and gradients, at that code's cost.

    method = MeanFlow(num_classes=1000)      # a methods.meanflow.Method: its hyperparameters, draws, rows, sampling

Rows through the network for B images, of which the first V learn the velocity (r = t) and the other J the jump. One term is
one call; guidance and mixture in brackets; a derivative is one call with its value.

               with gradient        without                        derivative
flow_matching  B                                                                         methods/ and public code
meanflow       B                    [B null + J label, one call]   J, without gradient   methods/
                                    [B null] [B label]             B, with gradient      JAX code of the authors
soflow         B                    [B null + J label, one call] J                       methods/
               V, J                 [V null] [J null] [J label] J                        zlab-princeton/SoFlow

tests/test_published_structures.py holds the numbers to those of `methods/`, and the calls to this table. What the public codes
draw otherwise is drawn as in `methods/`: it costs nothing.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

import methods
from bench.linear import torch_linear
from methods import _path, flow_matching, meanflow, soflow
from methods._path import Network, adaptive_weight, expand, linear_path, mean_px, null_where, sum_px


@dataclass(frozen=True, kw_only=True)
class FlowMatching(flow_matching.Method):
    """One forward pass with gradient on all rows, as willisma/SiT has it: the loss of `methods/` is structured so already."""


@dataclass(frozen=True, kw_only=True)
class MeanFlow(meanflow.Method):
    """The JAX code's order: guided velocity first, then value and derivative of all rows in one differentiated call.

    The derivative of the rows r = t is computed and multiplied by zero. Its `guidance_eq` counts as
    off where omega = 1 and kappa = 0; on, it has the null velocity whatever its weight, the conditional one where kappa > 0.
    zhuyu-cs/MeanFlow calls the network on B rows more: the value by itself, then the derivative, and both guiding
    velocities in one call of 2 B rows.
    """

    @property
    def cost(self) -> float:
        # A derivative shares its forward pass with the value: 1 + 1, and the backward pass 2. It does not reach the tangents.
        return 4.0 + (0.0 if self._unguided else 1.0) + (1.0 if self.kappa else 0.0)

    @property
    def _unguided(self) -> bool:
        return self.omega == 1 and self.kappa == 0

    def loss(self, net: Network, x0: Tensor, label: Tensor, draw: meanflow.Draw) -> dict[str, Tensor]:
        """As methods.meanflow: "loss" and "mse", (B,)."""
        x_t, v = linear_path(x0, draw.noise, draw.t)
        v = self._guided_velocity(net, x_t, v, label, draw)
        given = null_where(draw.drop, label, self.num_classes)
        u, derivative = value_and_derivative(net, x_t, draw.t, draw.r, given, v)
        error = u - (v - expand(draw.t - draw.r, v) * derivative).detach()
        square = sum_px(error.square())
        loss = square * adaptive_weight(square, self.p, self.eps)
        return {"loss": loss, "mse": mean_px(error.detach().square())}

    @torch.no_grad()  # in JAX the stop-gradient on the target keeps the backward pass away from these calls
    def _guided_velocity(self, net: Network, x_t: Tensor, v: Tensor, label: Tensor, draw: meanflow.Draw) -> Tensor:
        if self._unguided:
            return v
        guided = self.omega * v + self._null_weight * net(x_t, draw.t, draw.t, torch.full_like(label, self.num_classes))
        if self.kappa:
            guided = guided + self.kappa * net(x_t, draw.t, draw.t, label)
        low, high = self.guidance_interval
        active = (draw.t >= low) & (draw.t <= high) & ~draw.drop
        return torch.where(expand(active, v), guided, v)


def value_and_derivative(
    net: Network, x: Tensor, t: Tensor, r: Tensor, label: Tensor, velocity: Tensor
) -> tuple[Tensor, Tensor]:
    """u = net(x, t, r, label) with its gradient, and du/dt along dx/dt = velocity, dr/dt = 0; both (B, C, H, W).

    In this call attention is written out, as forward-mode derivatives need it; autograd then differentiates the same products
    backward. The other calls keep their backend. (zhuyu-cs/MeanFlow switches fused attention off in the whole model, the
    JAX code has none: theirs cost more than this wherever fused attention is faster.) Linear layers are torch's own.

    Autograd records the tangents too, though the target's stop-gradient leaves them unused: what eager torch does there.
    """
    if _path._difference_step:  # the check of a compiled loss
        return net(x, t, r, label), _path.time_derivative(net, x, t, r, label, velocity)
    # Clones: torch.compile can not trace a forward-mode derivative at a slice of another tensor.
    primals = (x.clone(), t.clone(), r.clone())
    tangents = (velocity.clone(), torch.ones_like(t), torch.zeros_like(r))
    with sdpa_kernel(SDPBackend.MATH), torch_linear():
        found = torch.func.jvp(lambda x, t, r: net(x, t, r, label), primals, tangents)
    return found[0], found[1]


@dataclass(frozen=True, kw_only=True)
class SoFlow(soflow.Method):
    """Two losses, one after the other, each with its own calls (zlab-princeton/SoFlow, models.py).

    Velocity rows: F with gradient; the null velocity. The mixture takes F itself.
    Jump rows: null velocity, conditional velocity, F at t with gradient, F at l.
    That code guides where its scale is above 1 and otherwise leaves out the mixture too; guidance = 1 with mix < 1, which
    only `methods/` has, keeps the conditional velocity here. Its whole step is in TF32: the calls at t and l take `exact`.
    """

    def loss(self, net: Network, x0: Tensor, label: Tensor, draw: soflow.Draw) -> dict[str, Tensor]:
        """As methods.soflow: "loss" and "mse", (B,), velocity rows first."""
        n, found = self.velocity_rows(len(x0)), []
        if n:
            found.append(self._velocity_rows_loss(net, x0[:n], label[:n], methods.take(draw, slice(n))))
        if n < len(x0):
            found.append(self._jump_rows_loss(net, x0[n:], label[n:], methods.take(draw, slice(n, None))))
        loss, square = (torch.cat(parts) for parts in zip(*found, strict=True))
        return {"loss": loss, "mse": square}

    def _velocity_rows_loss(self, net: Network, x0: Tensor, label: Tensor, draw: soflow.Draw) -> tuple[Tensor, Tensor]:
        x_t, v = self.point(x0, draw.noise, draw.t)
        output = net(x_t, draw.t, draw.t, null_where(draw.drop, label, self.num_classes))
        v = self._guided_velocity(net, x_t, v, label, draw, self.slope * output.detach())
        return self._velocity_loss(output, v)

    def _jump_rows_loss(self, net: Network, x0: Tensor, label: Tensor, draw: soflow.Draw) -> tuple[Tensor, Tensor]:
        x_t, v = self.point(x0, draw.noise, draw.t)
        v = self._guided_velocity(net, x_t, v, label, draw)
        exact = getattr(net, "exact", net)
        given = null_where(draw.drop, label, self.num_classes)
        output = exact(x_t, draw.t, draw.s, given)
        return self._consistency_loss(exact, output, x_t, v, draw, given)  # calls at l, without gradient

    @torch.no_grad()
    def _guided_velocity(
        self, net: Network, x_t: Tensor, v: Tensor, label: Tensor, draw: soflow.Draw, own: Tensor | None = None
    ) -> Tensor:
        """v~ of methods.soflow, one call a term; `own` (B, C, H, W) is the network's conditional velocity where it is known."""
        guided = v
        if self.guidance != 1:
            v_null = self.slope * net(x_t, draw.t, draw.t, torch.full_like(label, self.num_classes))
            guided = v + expand(self.guidance_decay(draw.t) * (self.guidance - 1), v) * (v - v_null)
        if self.mix != 1:
            own = self.slope * net(x_t, draw.t, draw.t, label) if own is None else own
            guided = self.mix * guided + (1 - self.mix) * own
        return torch.where(expand(draw.drop, v), v, guided)
