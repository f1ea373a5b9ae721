"""Scores -> predictive distributions, in the vocabulary of `torch.distributions`.

Dimension key: any batch shape, here (B, M); C classes; K bins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import ArrayLike
from torch import Tensor

from icl.network.arrays import InNumPy

RandomState = int | np.random.Generator | np.random.RandomState

_TAIL_SCALE = 1.0
"""Scale of the half-normal tails, in standard deviations of the context target."""


def histogram_edges(
    n_bins: int, reach: float = 5.0, bend: float = 2.5, device: torch.device | str | None = None
) -> Tensor:
    """The n_bins - 1 inner edges, finer near 0; the first and the last bin are open.

    With 128 bins the width is .03 at the centre and .2 at +-5 standard deviations.
    """
    u = torch.linspace(-1, 1, n_bins - 1, dtype=torch.double, device=device)
    return reach * torch.sinh(bend * u) / math.sinh(bend)


def bin_centers(n_bins: int) -> np.ndarray:
    """(n_bins,) middles of the bins, of the open ones half a standard deviation beyond their edge."""
    edges = histogram_edges(n_bins).numpy()
    return np.concatenate([[edges[0] - 0.5], (edges[1:] + edges[:-1]) / 2, [edges[-1] + 0.5]])


def _seeded(generator: torch.Generator | None, random_state: RandomState, like: Tensor) -> torch.Generator:
    if generator is not None:
        return generator
    if isinstance(random_state, np.random.Generator):
        seed = int(random_state.integers(2**31))
    elif isinstance(random_state, np.random.RandomState):
        seed = random_state.randint(2**31)
    else:
        seed = random_state
    return torch.Generator(like.device).manual_seed(int(seed))


def rows_of(shape: torch.Size) -> str:
    """How many distributions, in words."""
    return f"{shape[0]} row{'' if shape[0] == 1 else 's'}" if len(shape) == 1 else f"batch shape {tuple(shape)}"


def few(values: Tensor, most: int = 3) -> str:
    """The first values, for a person."""
    shown = [f"{v:.4g}" for v in values.flatten()[:most].tolist()]
    return ", ".join(shown) + (", ..." if values.numel() > most else "")


def log_mixture(log_probs: Sequence[Tensor], log_weights: ArrayLike = 0.0) -> Tensor:
    """(...) log of the sum of probabilities, each times its weight; `log_weights` has one for each, or one for all."""
    stacked = torch.stack(list(log_probs))
    weights = torch.as_tensor(log_weights, dtype=stacked.dtype).to(stacked.device)
    return torch.logsumexp(stacked + weights.reshape(-1, *[1] * (stacked.dim() - 1)), 0)


class CategoricalPredictive:
    """Class probabilities.

    Args:
        scores: (..., C) log-probabilities up to a constant; -inf excludes a class.
    """

    def __init__(self, scores: Tensor):
        self.log_probs = nnf.log_softmax(scores, -1)

    def __repr__(self) -> str:
        n_classes = self.log_probs.shape[-1]
        return f"CategoricalPredictive of {rows_of(self.batch_shape)}, {n_classes} classes; mode {few(self.mode)}"

    @property
    def batch_shape(self) -> torch.Size:
        return self.log_probs.shape[:-1]

    @property
    def probs(self) -> Tensor:
        return self.log_probs.exp()

    @property
    def mode(self) -> Tensor:
        return self.log_probs.argmax(-1)

    @property
    def entropy(self) -> Tensor:
        return torch.special.entr(self.probs).sum(-1)

    def log_prob(self, value: ArrayLike) -> Tensor:
        """Log-probability of the classes `value`, whole numbers of the batch shape."""
        codes = torch.as_tensor(value, device=self.log_probs.device).long()
        return self.log_probs.gather(-1, codes.expand(self.batch_shape)[..., None]).squeeze(-1)

    def numpy(self) -> InNumPy:
        """The same distribution, with NumPy arrays for answers."""
        return InNumPy(self)

    def sample(self, n: int, generator: torch.Generator | None = None, *, random_state: RandomState = 0) -> Tensor:
        """(n, ...) independent draws of classes, of the generator or else of the seed `random_state`."""
        g = _seeded(generator, random_state, self.log_probs)
        u = torch.rand((n, *self.batch_shape), generator=g, device=self.log_probs.device)
        cumulative = self.probs.cumsum(-1)
        u = u.to(cumulative) * cumulative[..., -1]
        return torch.searchsorted(cumulative.expand(n, *cumulative.shape).contiguous(), u[..., None]).squeeze(-1)

    @classmethod
    def mixture(cls, members: list[CategoricalPredictive], log_weights: ArrayLike = 0.0) -> CategoricalPredictive:
        """Average of probabilities, with equal weights or these."""
        return cls(log_mixture([m.log_probs for m in members], log_weights))

    @classmethod
    def pool(cls, members: list[CategoricalPredictive], log_weights: ArrayLike = 0.0) -> CategoricalPredictive:
        """Average of log-probabilities, normalised: surer than `mixture` where members agree.

        Source:
            Genest & Zidek (1986), Combining probability distributions: the logarithmic opinion pool.
        """
        stacked = torch.stack([m.log_probs for m in members])
        log_w = torch.as_tensor(log_weights, dtype=stacked.dtype).to(stacked.device).expand(len(members))
        return cls((stacked * log_w.softmax(0).reshape(-1, *[1] * (stacked.dim() - 1))).sum(0))


class HistogramPredictive:
    """A density that is constant inside bins and half-normal in the two open tails.

    cdf, quantiles, mean, variance and log score are exact for this density, not samples from it; so is the CRPS but for
    its two tails, which are integrated on a fine grid.

    Args:
        scores: (..., K) log-masses up to a constant.
        edges: (K - 1,) inner edges, in standardised units.
        loc, scale: broadcastable to the batch shape; y = loc + scale * standardised y.
    """

    def __init__(self, scores: Tensor, edges: Tensor, loc: Tensor | float = 0.0, scale: Tensor | float = 1.0):
        if edges.shape[-1] != scores.shape[-1] - 1:
            raise ValueError(f"{scores.shape[-1]} bins need {scores.shape[-1] - 1} inner edges, got {edges.shape[-1]}.")
        self.log_probs = nnf.log_softmax(scores, -1)
        self.edges = edges
        self.loc = torch.as_tensor(loc, dtype=scores.dtype, device=scores.device)
        self.scale = torch.as_tensor(scale, dtype=scores.dtype, device=scores.device)

    def __repr__(self) -> str:
        n_bins = self.log_probs.shape[-1]
        shown = f"mean {few(self.mean)}; standard deviation {few(self.stddev)}"
        return f"HistogramPredictive of {rows_of(self.batch_shape)}, {n_bins} bins; {shown}"

    def __getitem__(self, index) -> HistogramPredictive:
        """The distributions at `index` of the batch shape."""
        batch = self.log_probs.shape[:-1]
        loc, scale = self.loc.expand(batch)[index], self.scale.expand(batch)[index]
        return HistogramPredictive(self.log_probs[index], self.edges, loc, scale)

    @property
    def batch_shape(self) -> torch.Size:
        return self.log_probs.shape[:-1]

    @property
    def probs(self) -> Tensor:
        return self.log_probs.exp()

    def _moments(self) -> tuple[Tensor, Tensor]:
        """First and second moment of each bin, (K,), standardised."""
        low, high = self.edges[:-1], self.edges[1:]
        half = _TAIL_SCALE * math.sqrt(2 / math.pi)
        left, right = self.edges[0], self.edges[-1]
        first = torch.cat([(left - half)[None], (low + high) / 2, (right + half)[None]])
        tail = _TAIL_SCALE**2
        second = torch.cat(
            [
                (left**2 - 2 * left * half + tail)[None],
                (low**2 + low * high + high**2) / 3,
                (right**2 + 2 * right * half + tail)[None],
            ]
        )
        return first, second

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * (self.probs @ self._moments()[0])

    @property
    def variance(self) -> Tensor:
        first, second = self._moments()
        return self.scale.square() * (self.probs @ second - (self.probs @ first).square())

    @property
    def stddev(self) -> Tensor:
        return self.variance.sqrt()

    @property
    def median(self) -> Tensor:
        return self.icdf(0.5)

    @property
    def mode(self) -> Tensor:
        """Centre of the bin of highest density (a tail counts with its density at the edge)."""
        first = self._moments()[0]
        return self.loc + self.scale * first[(self.log_probs - self._log_widths()).argmax(-1)]

    def _log_widths(self) -> Tensor:
        tail = math.log(_TAIL_SCALE * math.sqrt(math.pi / 2))
        return nnf.pad((self.edges[1:] - self.edges[:-1]).log(), (1, 1), value=tail)

    def _standardise(self, value: ArrayLike) -> Tensor:
        if not isinstance(value, Tensor):
            value = torch.as_tensor(value, dtype=self.edges.dtype, device=self.edges.device)
        return (value - self.loc) / self.scale

    def bin_of(self, value: Tensor) -> Tensor:
        """Index of the bin that holds `value`; int64 of the batch shape."""
        return torch.searchsorted(self.edges, self._standardise(value).contiguous())

    def log_prob(self, value: ArrayLike) -> Tensor:
        """Log density at `value` (batch shape), per unit of y."""
        z = self._standardise(value)
        z = z.expand(torch.broadcast_shapes(z.shape, self.batch_shape)).contiguous()
        index = torch.searchsorted(self.edges, z)
        log_mass = self.log_probs.expand(*z.shape, -1).gather(-1, index[..., None]).squeeze(-1)
        beyond = torch.relu(self.edges[0] - z) + torch.relu(z - self.edges[-1])
        log_density = log_mass - self._log_widths()[index] - 0.5 * (beyond / _TAIL_SCALE).square()
        return log_density - self.scale.log()

    def cdf(self, value: ArrayLike) -> Tensor:
        """P(Y <= value); `value` broadcasts against the batch shape."""
        z, _ = torch.broadcast_tensors(self._standardise(torch.as_tensor(value, dtype=self.edges.dtype)), self.loc)
        z = z.expand(torch.broadcast_shapes(z.shape, self.batch_shape)).contiguous()
        index = torch.searchsorted(self.edges, z)
        probs = self.probs.expand(*z.shape, -1)
        below = nnf.pad(probs.cumsum(-1), (1, 0)).gather(-1, index[..., None]).squeeze(-1)
        mass = probs.gather(-1, index[..., None]).squeeze(-1)
        return (below + mass * self._share_of_bin(z, index)).clamp(0, 1)

    def cdf_at(self, points: Tensor) -> Tensor:
        """(..., P) cdf of every distribution at the same standardised `points` (P,)."""
        index = torch.searchsorted(self.edges, points)
        below = nnf.pad(self.probs.cumsum(-1), (1, 0))[..., index]
        return below + self.probs[..., index] * self._share_of_bin(points, index)

    def _share_of_bin(self, z: Tensor, index: Tensor) -> Tensor:
        """Share of the bin's mass that lies below z."""
        last = self.edges.shape[0] - 1
        low, high = self.edges[(index - 1).clamp(0, last)], self.edges[index.clamp(0, last)]
        inside = (z - low) / (high - low).clamp_min(1e-12)
        left_tail = 2 * torch.special.ndtr((z - self.edges[0]).clamp_max(0) / _TAIL_SCALE)
        right_tail = 2 * torch.special.ndtr((z - self.edges[-1]).clamp_min(0) / _TAIL_SCALE) - 1
        return torch.where(index == 0, left_tail, torch.where(index == last + 1, right_tail, inside))

    def icdf(self, q: Tensor | float) -> Tensor:
        """Quantile; `q` is a fraction in (0, 1), a scalar or broadcastable to the batch shape.

        Raises:
            ValueError: if a fraction is outside (0, 1).
        """
        q = torch.as_tensor(q, dtype=self.edges.dtype, device=self.edges.device)
        if not bool(((q > 0) & (q < 1)).all()):
            raise ValueError(f"quantile levels are fractions in (0, 1), got {q.tolist()}; write 0.9 for 90%.")
        q = q.expand(torch.broadcast_shapes(q.shape, self.batch_shape)).contiguous()
        probs = self.probs.expand(*q.shape, -1)
        cumulative = probs.cumsum(-1)
        index = torch.searchsorted(cumulative.contiguous(), q[..., None]).clamp_max(probs.shape[-1] - 1)
        mass = probs.gather(-1, index).squeeze(-1)
        below = nnf.pad(cumulative, (1, 0)).gather(-1, index).squeeze(-1)
        index = index.squeeze(-1)
        share = ((q - below) / mass.clamp_min(1e-30)).clamp(0, 1)
        last = self.edges.shape[0] - 1
        low, high = self.edges[(index - 1).clamp(0, last)], self.edges[index.clamp(0, last)]
        tiny = torch.finfo(share.dtype).eps
        left = self.edges[0] + _TAIL_SCALE * torch.special.ndtri(share.clamp_min(tiny) / 2)
        right = self.edges[-1] + _TAIL_SCALE * torch.special.ndtri((1 + share.clamp_max(1 - tiny)) / 2)
        z = torch.where(index == 0, left, torch.where(index == last + 1, right, low + share * (high - low)))
        return self.loc + self.scale * z

    def ends(self, coverage: float) -> tuple[Tensor, Tensor]:
        """Lower and upper end of the interval with equal tails that holds this probability."""
        tail = (1 - coverage) / 2
        return self.icdf(tail), self.icdf(1 - tail)

    def numpy(self) -> InNumPy:
        """The same distribution, with NumPy arrays for answers."""
        return InNumPy(self)

    def sample(self, n: int, generator: torch.Generator | None = None, *, random_state: RandomState = 0) -> Tensor:
        """(n, ...) independent draws, of the generator or else of the seed `random_state`."""
        g, edges = _seeded(generator, random_state, self.edges), self.edges
        u = torch.rand((n, *self.batch_shape), generator=g, dtype=edges.dtype, device=edges.device)
        return self.icdf(u.clamp(1e-6, 1 - 1e-6))

    def crps(self, value: ArrayLike) -> Tensor:
        """Continuous ranked probability score of `value`, in units of y; lower is better.

        The integral of (F(t) - 1{t >= value})^2, exact inside the bins; the tails are integrated on a
        fine grid, because a half-normal's square has no elementary integral.

        Source:
            Gneiting & Raftery (2007), doi:10.1198/016214506000001437.
        """
        knots = self._knots()
        F_knots = self.cdf_at(knots)
        return self._crps(value, knots, F_knots[..., :-1], F_knots[..., 1:])

    def _knots(self) -> Tensor:
        """Standardised points between which the cdf is linear, or nearly so in the tails."""
        grid = torch.linspace(0, 6 * _TAIL_SCALE, 33, dtype=self.edges.dtype, device=self.edges.device)[1:]
        return torch.cat([self.edges[0] - grid.flip(0), self.edges, self.edges[-1] + grid])

    def _crps(self, value: ArrayLike, knots: Tensor, F_low: Tensor, F_high: Tensor) -> Tensor:
        """The integral, from the cdf at the lower and just below the upper end of each piece between knots."""
        z = self._standardise(value)
        # Split the interval that holds z: between knots F is (nearly) linear, so each piece is a cubic difference.
        F_z = self.cdf(torch.as_tensor(value, dtype=self.edges.dtype))
        low, high = knots[:-1], knots[1:]
        cut = torch.minimum(torch.maximum(z[..., None], low), high)
        inside = (z[..., None] > low) & (z[..., None] < high)
        F_cut = torch.where(inside, F_z[..., None], torch.where(z[..., None] >= high, F_high, F_low))
        below = (cut - low) * (F_low**2 + F_low * F_cut + F_cut**2) / 3
        G_cut, G_high = 1 - F_cut, 1 - F_high
        above = (high - cut) * (G_cut**2 + G_cut * G_high + G_high**2) / 3
        outside = torch.relu(knots[0] - z) + torch.relu(z - knots[-1])
        return self.scale * ((below + above).sum(-1) + outside)

    @classmethod
    def mixture(cls, members: list[HistogramPredictive], log_weights: ArrayLike = 0.0) -> HistogramPredictive:
        """Mixture of members that share edges, location and scale, with equal weights or these."""
        first = members[0]
        mixed = log_mixture([m.log_probs for m in members], log_weights)
        return cls(mixed, first.edges, first.loc, first.scale)
