"""Covariance functions of Gaussian processes, with sums and products, each exact and as random features.

`RBF(0.5) + Periodic(period=2.0) * Linear()` builds a kernel; `parse_kernel("rbf + periodic * linear")` does so from
a configuration file. Length scales grow with the square root of the number of columns, which keeps tasks of
different widths comparably hard.

Source:
    Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, chapter 4; random features: Rahimi & Recht
    (2007); the algebra of kernels: Duvenaud et al. (2013), arXiv:1302.4922.
"""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from priors.draw import normal, uniform


class Kernel(ABC):
    """A covariance function of rows; `+` and `*` make new ones."""

    @abstractmethod
    def covariance(self, left_BRF: Tensor, right_BSF: Tensor) -> Tensor:
        """(B, R, S)"""

    @abstractmethod
    def variance(self, X_BRF: Tensor) -> Tensor:
        """(B, R): the diagonal of `covariance(X, X)`."""

    @abstractmethod
    def features(self, X_BRF: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """(B, R, n) independent random functions of mean 0 whose second moment is the kernel."""

    def __add__(self, other: Kernel) -> Kernel:
        return Sum(self, other)

    def __mul__(self, other: Kernel) -> Kernel:
        return Product(self, other)


@dataclass(frozen=True)
class RBF(Kernel):
    length_scale: float = 1.0

    def __post_init__(self):
        if self.length_scale <= 0:
            raise ValueError(f"length_scale must be positive, got {self.length_scale}.")

    def covariance(self, left_BRF: Tensor, right_BSF: Tensor) -> Tensor:
        return self._of_distance(_distance(left_BRF, right_BSF) / self._scale(left_BRF))

    def variance(self, X_BRF: Tensor) -> Tensor:
        return torch.ones_like(X_BRF[..., 0])

    def features(self, X_BRF: Tensor, n: int, generator: torch.Generator) -> Tensor:
        B, _, F = X_BRF.shape
        frequency_BFn = normal((B, F, n), generator) * self._spread((B, 1, n), generator) / self._scale(X_BRF)
        phase_B1n = uniform(0, 2 * math.pi, (B, 1, n), generator)
        return math.sqrt(2) * torch.cos(X_BRF @ frequency_BFn + phase_B1n)

    def _scale(self, X_BRF: Tensor) -> float:
        return self.length_scale * math.sqrt(X_BRF.shape[-1])

    def _of_distance(self, d: Tensor) -> Tensor:
        return torch.exp(-0.5 * d.square())

    def _spread(self, size: tuple[int, ...], g: torch.Generator) -> Tensor | float:
        """Factor that turns normal frequencies into the kernel's spectral density."""
        return 1.0


@dataclass(frozen=True)
class Matern(RBF):
    """Smoothness nu = 1/2 (rough), 3/2 or 5/2."""

    nu: float = 1.5

    def __post_init__(self):
        super().__post_init__()
        if self.nu not in (0.5, 1.5, 2.5):
            raise ValueError(f"nu must be 0.5, 1.5 or 2.5, got {self.nu}.")

    def _of_distance(self, d: Tensor) -> Tensor:
        d = math.sqrt(2 * self.nu) * d
        decay = torch.exp(-d)
        return {0.5: decay, 1.5: (1 + d) * decay, 2.5: (1 + d + d.square() / 3) * decay}[self.nu]

    def _spread(self, size: tuple[int, ...], g: torch.Generator) -> Tensor:
        # The spectral density is a multivariate t with 2 nu degrees of freedom.
        half_df = torch.full(size, self.nu, device=g.device)
        return torch.rsqrt((torch._standard_gamma(half_df, generator=g) / self.nu).clamp_min(1e-12))


@dataclass(frozen=True)
class Periodic(RBF):
    """Repeats along every column with the given period (MacKay 1998): an RBF kernel on circles."""

    period: float = 2.0

    def __post_init__(self):
        super().__post_init__()
        if self.period <= 0:
            raise ValueError(f"period must be positive, got {self.period}.")

    def covariance(self, left_BRF: Tensor, right_BSF: Tensor) -> Tensor:
        distance_BRS = _distance(self._on_circles(left_BRF), self._on_circles(right_BSF))
        return self._of_distance(distance_BRS / self._scale(left_BRF))

    def features(self, X_BRF: Tensor, n: int, generator: torch.Generator) -> Tensor:
        # The circles double the columns but not the length scale.
        circles_BRG = self._on_circles(X_BRF)
        return RBF(self.length_scale / math.sqrt(2)).features(circles_BRG, n, generator)

    def _on_circles(self, X_BRF: Tensor) -> Tensor:
        angle_BRF = 2 * math.pi * X_BRF / self.period
        return torch.cat([angle_BRF.sin(), angle_BRF.cos()], -1)


@dataclass(frozen=True)
class Linear(Kernel):
    """Inner product over the number of columns: linear functions through the origin."""

    def covariance(self, left_BRF: Tensor, right_BSF: Tensor) -> Tensor:
        return left_BRF @ right_BSF.mT / left_BRF.shape[-1]

    def variance(self, X_BRF: Tensor) -> Tensor:
        return X_BRF.square().mean(-1)

    def features(self, X_BRF: Tensor, n: int, generator: torch.Generator) -> Tensor:
        B, _, F = X_BRF.shape
        return X_BRF @ normal((B, F, n), generator) / math.sqrt(F)


@dataclass(frozen=True)
class Sum(Kernel):
    left: Kernel
    right: Kernel

    def covariance(self, left_BRF: Tensor, right_BSF: Tensor) -> Tensor:
        return self.left.covariance(left_BRF, right_BSF) + self.right.covariance(left_BRF, right_BSF)

    def variance(self, X_BRF: Tensor) -> Tensor:
        return self.left.variance(X_BRF) + self.right.variance(X_BRF)

    def features(self, X_BRF: Tensor, n: int, generator: torch.Generator) -> Tensor:
        # Both have mean 0 and are independent, so the cross terms of the second moment vanish.
        return self.left.features(X_BRF, n, generator) + self.right.features(X_BRF, n, generator)


@dataclass(frozen=True)
class Product(Kernel):
    left: Kernel
    right: Kernel

    def covariance(self, left_BRF: Tensor, right_BSF: Tensor) -> Tensor:
        return self.left.covariance(left_BRF, right_BSF) * self.right.covariance(left_BRF, right_BSF)

    def variance(self, X_BRF: Tensor) -> Tensor:
        return self.left.variance(X_BRF) * self.right.variance(X_BRF)

    def features(self, X_BRF: Tensor, n: int, generator: torch.Generator) -> Tensor:
        return self.left.features(X_BRF, n, generator) * self.right.features(X_BRF, n, generator)


KERNELS: dict[str, Callable[[float], Kernel]] = {
    "rbf": RBF,
    "matern12": lambda length_scale: Matern(length_scale, 0.5),
    "matern32": lambda length_scale: Matern(length_scale, 1.5),
    "matern52": lambda length_scale: Matern(length_scale, 2.5),
    "periodic": Periodic,
    "linear": lambda length_scale: Linear(),
}


def parse_kernel(expression: str, length_scale: float = 1.0) -> Kernel:
    """A kernel from sums and products of names, such as "rbf + periodic * linear"; products bind tighter.

    Raises:
        ValueError: for an unknown name; lists those that exist.
    """
    products = []
    for term in expression.split("+"):
        factors = []
        for name in (part.strip() for part in term.split("*")):
            if name not in KERNELS:
                raise ValueError(f"kernel names are {', '.join(KERNELS)}, joined by + and *; got {expression!r}.")
            factors.append(KERNELS[name](length_scale))
        products.append(reduce(operator.mul, factors))
    return reduce(operator.add, products)


def _distance(left_BRF: Tensor, right_BSF: Tensor) -> Tensor:
    return torch.cdist(left_BRF, right_BSF, compute_mode="donot_use_mm_for_euclid_dist")
