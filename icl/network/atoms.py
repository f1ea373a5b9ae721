"""A predictive distribution in which single values hold mass of their own, beside a histogram for all others.

Dimension key: any batch shape, here (M,); K bins; A atoms.
"""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from numpy.typing import ArrayLike
from torch import Tensor

from icl.network.distribution import HistogramPredictive, few, log_mixture, rows_of


class AtomicPredictive(HistogramPredictive):
    """Atoms and a histogram: targets that are 0 for many rows, or whole numbers.

    What `HistogramPredictive` says holds, with these readings: `log_prob` is the log-mass of an atom, and the log
    density at every other value, so its mean over rows compares with that of another distribution of the same atoms
    only; `cdf` jumps at atoms, and `icdf` is the least value at which it reaches the level; `log_probs` are those of
    the bins given that no atom comes up.

    Args:
        scores: (..., K + A) log-masses up to a constant, of the bins and then of the atoms.
        edges: (K - 1,) inner edges, in standardised units.
        atoms: (A,) increasing, in the units of y: a value is an atom if it equals one of these exactly.
        loc, scale: numbers; y = loc + scale * standardised y.
    """

    def __init__(
        self, scores: Tensor, edges: Tensor, atoms: Tensor, loc: Tensor | float = 0.0, scale: Tensor | float = 1.0
    ):
        n_bins = edges.shape[-1] + 1
        if scores.shape[-1] != n_bins + len(atoms):
            raise ValueError(f"{n_bins} bins and {len(atoms)} atoms need as many scores, got {scores.shape[-1]}.")
        super().__init__(scores[..., :n_bins], edges, loc, scale)
        self.masses = nnf.log_softmax(scores, -1)
        self.atoms = atoms.to(scores)
        self.atom_probs = self.masses[..., n_bins:].exp()
        self._log_rest = self.masses[..., :n_bins].logsumexp(-1)
        self._rest = self._log_rest.exp()

    def __repr__(self) -> str:
        n_atoms = f"{len(self.atoms)} atom{'' if len(self.atoms) == 1 else 's'}"
        shown = f"mean {few(self.mean)}; standard deviation {few(self.stddev)}"
        return f"AtomicPredictive of {rows_of(self.batch_shape)}, {len(self.edges) + 1} bins and {n_atoms}; {shown}"

    def __getitem__(self, index) -> AtomicPredictive:
        """The distributions at `index` of the batch shape."""
        return AtomicPredictive(self.masses[index], self.edges, self.atoms, self.loc, self.scale)

    @property
    def mean(self) -> Tensor:
        # About `loc`: far from zero, products of masses and values would lose what tells the values apart.
        return self.loc + self._rest * (super().mean - self.loc) + self.atom_probs @ (self.atoms - self.loc)

    @property
    def variance(self) -> Tensor:
        mean = self.mean
        inside = super().variance + (super().mean - mean).square()
        return self._rest * inside + (self.atom_probs * (self.atoms - mean[..., None]).square()).sum(-1)

    @property
    def mode(self) -> Tensor:
        """The likeliest atom, if it is likelier than the bin of highest density; else the centre of that bin."""
        mass, which = self.atom_probs.max(-1)
        densest = (self.log_probs - self._log_widths()).argmax(-1)
        in_bin = self._rest * self.log_probs.gather(-1, densest[..., None]).squeeze(-1).exp()
        return torch.where(mass > in_bin, self.atoms[which], super().mode)

    def log_prob(self, value: ArrayLike) -> Tensor:
        """Log-mass at `value` (batch shape) where it is an atom, else log density, per unit of y."""
        value = torch.as_tensor(value, dtype=self.edges.dtype, device=self.edges.device)
        density = self._log_rest + super().log_prob(value)
        is_atom = value[..., None] == self.atoms
        log_mass = torch.where(is_atom, self.masses[..., -len(self.atoms) :], -torch.inf).amax(-1)
        return torch.where(is_atom.any(-1), log_mass, density)

    def cdf(self, value: ArrayLike) -> Tensor:
        """P(Y <= value); `value` broadcasts against the batch shape."""
        value = torch.as_tensor(value, dtype=self.edges.dtype, device=self.edges.device)
        below = (self.atom_probs * (self.atoms <= value[..., None])).sum(-1)
        return (self._rest * super().cdf(value) + below).clamp(0, 1)

    def cdf_at(self, points: Tensor) -> Tensor:
        """(..., P) cdf of every distribution at the same standardised `points` (P,)."""
        upto = (self._standardise(self.atoms) <= points[:, None]).to(self.atom_probs)
        return self._rest[..., None] * super().cdf_at(points) + self.atom_probs @ upto.mT

    def _at_atoms(self) -> Tensor:
        """(..., A) probability of the values below each atom."""
        before = self.atom_probs.cumsum(-1) - self.atom_probs
        return self._rest[..., None] * super().cdf_at(self._standardise(self.atoms)) + before

    def icdf(self, q: Tensor | float) -> Tensor:
        """Quantile: the least value with `cdf` of at least `q`, a fraction in (0, 1), broadcastable to the batch shape.

        Raises:
            ValueError: if a fraction is outside (0, 1).
        """
        q = torch.as_tensor(q, dtype=self.edges.dtype, device=self.edges.device)
        below = self._at_atoms()
        upto = below + self.atom_probs
        inner = super().icdf(q)  # of this shape, and refuses what is no fraction
        at = (below < q[..., None]) & (q[..., None] <= upto)
        passed = upto < q[..., None]
        tiny = torch.finfo(inner.dtype).eps
        share = (q - (self.atom_probs * passed).sum(-1)) / self._rest.clamp_min(tiny)
        inner = super().icdf(share.clamp(tiny, 1 - tiny))
        # Between the atoms on either side, also where the rest holds nothing but rounding.
        inner = inner.maximum(torch.where(passed, self.atoms, -torch.inf).amax(-1))
        inner = inner.minimum(torch.where(passed | at, torch.inf, self.atoms).amin(-1))
        return torch.where(at.any(-1), torch.where(at, self.atoms, -torch.inf).amax(-1), inner)

    def ends(self, coverage: float) -> tuple[Tensor, Tensor]:
        """The interval with equal tails; where an atom at an end leaves its tail unused, the shorter of two others.

        A target that is never below its atom 0 has nothing in the lower tail: the upper one may have all that is to
        lie outside. Where hardly any mass is beside atoms the tails stay equal: ends move by whole steps there, and an
        interval that is a little too short by its labels would be widened by one.
        """
        tail = (1 - coverage) / 2
        low, high = super().ends(coverage)
        below = (self.cdf(low) - (self.atom_probs * (self.atoms == low[..., None])).sum(-1)).clamp(0, tail)
        above = (1 - self.cdf(high)).clamp(0, tail)
        up, down = self.icdf(coverage + below), self.icdf(1 - coverage - above)
        is_free = self._rest > 1 - coverage
        to_low = is_free & (up - low <= high - down)
        return torch.where(is_free & ~to_low, down, low), torch.where(to_low, up, high)

    def crps(self, value: ArrayLike) -> Tensor:
        """Continuous ranked probability score of `value`, in units of y; see `HistogramPredictive.crps`."""
        plain = self._knots()
        atoms = self._standardise(self.atoms)
        knots = torch.cat([plain, atoms])
        order = knots.argsort(stable=True)
        rest = self._rest[..., None] * super().cdf_at(knots)
        # Up to and with each knot, and up to it without it: they differ at atoms.
        upto = rest + self.atom_probs @ (atoms <= knots[:, None]).to(rest).mT
        before = rest + self.atom_probs @ (atoms < knots[:, None]).to(rest).mT
        return self._crps(value, knots[order], upto[..., order[:-1]], before[..., order[1:]])

    def as_histogram(self) -> HistogramPredictive:
        """The same with the mass of each atom spread over its bin: a density, to compare with those of others."""
        n_bins = len(self.edges) + 1
        masses = self.masses[..., :n_bins].exp().clone()
        bins = torch.searchsorted(self.edges, self._standardise(self.atoms).contiguous())
        masses.index_add_(-1, bins, self.atom_probs)
        return HistogramPredictive(masses.log(), self.edges, self.loc, self.scale)

    @classmethod
    def mixture(cls, members: list[AtomicPredictive], log_weights: ArrayLike = 0.0) -> AtomicPredictive:  # type: ignore[override]
        """Mixture of members that share edges, atoms, location and scale, with equal weights or these."""
        first = members[0]
        mixed = log_mixture([m.masses for m in members], log_weights)
        return cls(mixed, first.edges, first.atoms, first.loc, first.scale)
