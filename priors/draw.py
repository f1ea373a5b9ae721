"""Elementary draws; each takes a generator and answers on its device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Size = tuple[int, ...]

AS_ACCELERATOR = False
"""Take the ways of an accelerator on a CPU too, where they can be counted (`benchmarks/operations.py`) and tested."""


def waits(x: Tensor | torch.Generator) -> bool:
    """Whether reading a number of `x` makes the host wait for the device."""
    return AS_ACCELERATOR or x.device.type != "cpu"


def nothing_in(mask: Tensor) -> bool:
    """Whether a mask is known to be empty, so that what it guards need not be computed.

    On an accelerator nothing is known: to ask would cost more than to compute it for nobody.
    """
    return not waits(mask) and not bool(mask.any())


def uniform(low: float, high: float, size: Size, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(size, generator=generator, device=generator.device)


def log_uniform(low: float, high: float, size: Size, generator: torch.Generator) -> Tensor:
    return torch.exp(uniform(math.log(low), math.log(high), size, generator))


def normal(size: Size, generator: torch.Generator) -> Tensor:
    return torch.randn(size, generator=generator, device=generator.device)


def gumbel(size: Size, generator: torch.Generator) -> Tensor:
    """Added to log-weights, their order is that of draws without replacement."""
    return -(-uniform(1e-9, 1, size, generator).log()).log()


def bernoulli(p: float | Tensor, size: Size, generator: torch.Generator) -> Tensor:
    return torch.rand(size, generator=generator, device=generator.device) < p


def integers(low: int, high: int, size: Size, generator: torch.Generator) -> Tensor:
    """Uniform on {low, ..., high}, both ends included."""
    return torch.randint(low, high + 1, size, generator=generator, device=generator.device)


def choice(weights: Sequence[float], size: Size, generator: torch.Generator) -> Tensor:
    """Indices drawn with the given (unnormalised) weights."""
    p = torch.tensor(weights, dtype=torch.float, device=generator.device)
    return torch.multinomial(p, math.prod(size), replacement=True, generator=generator).reshape(size)


def student_t(df: Tensor, size: Size, generator: torch.Generator) -> Tensor:
    """Student's t with `df` degrees of freedom (broadcast to `size`), as a normal over a root chi-square."""
    chi2 = 2 * torch._standard_gamma((df / 2).expand(size).contiguous(), generator=generator)
    return normal(size, generator) * torch.rsqrt((chi2 / df).clamp_min(1e-6))


def permutation(size: Size, generator: torch.Generator) -> Tensor:
    """Random permutations along the last axis."""
    return torch.rand(size, generator=generator, device=generator.device).argsort(-1)


def standardise(values: Tensor, dim: int) -> Tensor:
    """Mean 0 and standard deviation 1 along `dim`; constants become 0."""
    centred = values - values.mean(dim, keepdim=True)
    return centred / centred.square().mean(dim, keepdim=True).sqrt().clamp_min(1e-6)


def apply_by_kind(values: Tensor, kind: Tensor, functions: Sequence[Callable[[Tensor], Tensor]]) -> Tensor:
    """`functions[kind]` applied slice by slice; `kind` indexes the leading axes of `values`.

    Loops over the few functions, not over tasks or columns, and each value is touched once; on an accelerator by every
    function, which is cheaper than to ask which values are whose.
    """
    if waits(values):
        kind = kind.reshape(*kind.shape, *[1] * (values.ndim - kind.ndim))
        whole = values
        for k, function in enumerate(functions):
            whole = torch.where(kind == k, function(values), whole)
        return whole
    out = values.clone()
    for k, function in enumerate(functions):
        chosen = kind == k
        if chosen.any():
            out[chosen] = function(values[chosen])
    return out
