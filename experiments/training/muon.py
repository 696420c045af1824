"""Muon: SGD in which the update of a weight matrix is orthogonalized (Jordan et al. 2024).

Source: <https://kellerjordan.github.io/posts/muon/>; for convolutions as in Jordan's `airbench`, where a filter bank is
the matrix of its flattened filters. `torch.optim.Muon` takes matrices only, not filters.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

# Coefficients of the quintic Newton-Schulz iteration, and how often it is applied; after five times all singular values
# lie between about 0.7 and 1.2.
COEFFICIENTS, ITERATIONS = (3.4445, -4.7750, 2.0315), 5
# What is not orthogonalized: its learning rate, and its weight decay, which passes through the momentum, as multiples.
OTHERS_RATE, OTHERS_DECAY = 2.0, 0.005


def orthogonalized_parameters(model: nn.Module) -> list[torch.Tensor]:
    """Filters and matrices of hidden layers; not the last layer's, nor filters of one channel (depthwise, gray)."""
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    return [layer.weight for layer in layers[:-1] if isinstance(layer, nn.Linear) or layer.weight.shape[1] > 1]


class Muon(torch.optim.SGD):
    """SGD with Nesterov momentum; in groups with `orthogonal=True` the step of each matrix is orthogonalized.

    Such a step does not depend on the size of the gradient; its weight decay, as a fraction of the learning rate, is
    not part of the momentum.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float, momentum: float) -> None:
        super().__init__(groups, lr=lr, momentum=momentum, nesterov=True, fused=True)
        self._step_supports_amp_scaling = False  # infinite gradients must not get into the momentum
        self.momentum = momentum
        for group in self.param_groups:
            if group.setdefault("orthogonal", False):
                group.update(momentum=0.0, nesterov=False)  # it is applied before orthogonalizing

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step; the gradients of orthogonalized matrices are replaced by their update."""
        for group in self.param_groups:
            for parameter in group["params"] if group["orthogonal"] else ():
                if parameter.grad is not None:
                    state = self.state[parameter]
                    if "momentum_buffer" not in state:
                        state["momentum_buffer"] = torch.zeros_like(parameter)
                    state["momentum_buffer"].mul_(self.momentum).add_(parameter.grad)
                    parameter.grad.add_(state["momentum_buffer"], alpha=self.momentum)
                    parameter.grad.copy_(orthogonalized(parameter.grad))
        return super().step(closure)


def orthogonalized(update: torch.Tensor) -> torch.Tensor:
    """A matrix with the same singular vectors and singular values near 1, or near sqrt(rows / columns) if it is tall.

    Filters `(n, channels, height, width)` are a matrix of n rows. Each iteration multiplies it by a polynomial of its
    inner products; these polynomials are smaller than the matrix, and multiplied with each other first.
    """
    matrix = update.flatten(1).float()
    rows, columns = matrix.shape
    tall = rows > columns
    matrix = matrix.T if tall else matrix
    matrix = matrix / matrix.norm().clamp(min=1e-7)
    inner = matrix @ matrix.T
    product = torch.eye(len(inner), device=inner.device)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        polynomial = torch.addmm(inner, inner, inner, beta=b, alpha=c)
        polynomial.diagonal().add_(a)
        product = polynomial @ product
        inner = polynomial @ inner @ polynomial
    matrix = product @ matrix
    return (matrix.T if tall else matrix).reshape(update.shape) * max(1.0, rows / columns) ** 0.5
