"""A companion that answers a number with a number, as a voice: its own errors, out of context, around each answer.

Dimension key: N context rows, M query rows, K bins, A atoms, X = K + A, Q stretches of answers.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import ndtr

from icl.network.distribution import histogram_edges
from icl.prediction.atoms import match_atoms
from icl.prediction.companions.protocol import Companion, Labelled

# Of the bins, as for trees.
_LEAST_MASS = 1e-5
# Standard deviations by which the errors are spread, in units of their own.
_SPREADS = (0.1, 0.2, 0.4)
# Errors are counted in cells of this width, this far to both sides, in standard deviations of the target.
_STEP, _REACH = 0.01, 12.0
_N_CELLS = round(2 * _REACH / _STEP)
# Answers are alike within a twentieth of them; what an atom's share there is held back by, in rows.
_N_STRETCHES, _ROWS_MORE = 20, 2.0


class PointVoice:
    """The errors that a companion made of the labelled rows, the same for all rows, around what it answers.

    Args:
        name: of the companion.
        companion: fitted.
        labelled: the rows that it answered out of context.
        answer_N: what it answered.
        n_bins: of the network's histograms.
        atoms: (A,) of the target, standardised: each as likely as it was where answers were alike.
        column: of its columns, the one that answers.
    Source:
        The distribution of out-of-context errors around an answer: Barber et al. (2021), Predictive inference with the
        jackknife+, doi:10.1214/20-AOS1965.
    """

    def __init__(
        self,
        name: str,
        companion: Companion,
        labelled: Labelled,
        answer_N: np.ndarray,
        n_bins: int,
        atoms: np.ndarray,
        column: int = 0,
    ):
        self.name, self._companion, self._column = name, companion, column
        self._edges = histogram_edges(n_bins).numpy()
        self._labelled, self._answer_N = labelled, answer_N.astype(float)
        weight_N = labelled.weights
        atom, is_atom = match_atoms(atoms, labelled.y_N) if len(atoms) else (0, np.zeros(len(weight_N), bool))
        self._hit_NA = (is_atom[:, None] & (np.arange(len(atoms)) == np.reshape(atom, (-1, 1)))) * weight_N[:, None]
        self._ends = np.quantile(self._answer_N, np.linspace(0, 1, _N_STRETCHES + 1)[1:-1])
        # Errors are those of rows beside the atoms, if there are any.
        counted_N = weight_N * ~is_atom if not is_atom.all() else weight_N
        self._share_N = counted_N / counted_N.sum()
        # One answer may be far beyond all targets, as of a line that nothing holds; it shall not decide how wide to be.
        error_N = np.clip(labelled.y_N - self._answer_N, -_REACH, _REACH)
        self._cell_N = np.minimum((error_N + _REACH) / _STEP, _N_CELLS - 1).astype(int)
        scale = max(float(np.sqrt(self._share_N @ error_N**2)), _STEP)
        self._differing = _differing(labelled.groups, self._cell_N)
        place_N = np.where(is_atom, len(self._edges) + 1 + atom, np.searchsorted(self._edges, labelled.y_N))
        own_N = np.arange(len(place_N)), place_N
        # Whole numbers are as likely as errors that lead to them, or as they were.
        self._between_atoms = (atoms[1:] + atoms[:-1]) / 2 if is_atom.all() and len(atoms) > 1 else None
        ways = [(share * scale, False) for share in _SPREADS]
        ways += [(spread, True) for spread, _ in ways if self._between_atoms is not None]
        found = [self.out_of_context(*way) for way in ways]
        best = int(np.argmax([weight_N @ log_masses_NX[own_N] for log_masses_NX in found]))
        (self.spread, self._by_error), self.context = ways[best], found[best]
        self._cdf = _cdf(self._cell_N, self._share_N, self.spread)

    def out_of_context(self, spread: float, by_error: bool = False) -> np.ndarray:
        """(N, K + A) log-masses for the labelled rows, each without its own error and those of its copies.

        `by_error`: atoms are as likely as errors that end nearer to them than to any other.
        """
        edges = self._between_atoms if by_error else self._edges
        assert edges is not None
        group_N = self._labelled.groups
        alike_N1 = np.bincount(group_N, self._share_N)[group_N][:, None]
        place_N = self._answer_N + (self._cell_N + 0.5) * _STEP - _REACH
        own_NK = alike_N1 * _between(ndtr((edges - place_N[:, None]) / spread))
        for rows in self._differing:
            cdf = _cdf(self._cell_N[rows], self._share_N[rows], spread)
            own_NK[rows] = alike_N1[rows] * _masses(self._answer_N[rows], cdf, edges)
        all_NK = _masses(self._answer_N, _cdf(self._cell_N, self._share_N, spread), edges)
        rest_NK = np.maximum(all_NK - own_NK, 0.0) / np.maximum(1 - alike_N1, 1e-9)
        if by_error:
            return self._joined(np.zeros((len(rest_NK), len(self._edges) + 1)), rest_NK)
        return self._joined(rest_NK, self._atoms(self._answer_N, group_N))

    def _atoms(self, answer_M: np.ndarray, group_N: np.ndarray | None = None) -> np.ndarray:
        """(M, A) how often each atom was right where answers were like these; of labelled rows, without their own."""
        weight_N = self._labelled.weights
        if not self._hit_NA.shape[1]:
            return np.empty((len(answer_M), 0))
        stretch_N, stretch_M = (np.searchsorted(self._ends, x) for x in (self._answer_N, answer_M))
        hits_QA = np.stack([np.bincount(stretch_N, h, _N_STRETCHES) for h in self._hit_NA.T], 1)
        hits_MA, rows_M1 = hits_QA[stretch_M], np.bincount(stretch_N, weight_N, _N_STRETCHES)[stretch_M][:, None]
        own_MA, own_M1 = np.zeros((1, 1)), np.zeros((1, 1))
        if group_N is not None:  # copies have one answer, and lie in one stretch
            own_MA = np.stack([np.bincount(group_N, h)[group_N] for h in self._hit_NA.T], 1)
            own_M1 = np.bincount(group_N, weight_N)[group_N][:, None]
        # Held towards how often it is right at all, as if so many rows more had been seen.
        typical_MA = (self._hit_NA.sum(0) - own_MA) / np.maximum(weight_N.sum() - own_M1, 1e-9)
        found_MA = np.maximum(hits_MA - own_MA, 0) + _ROWS_MORE * np.maximum(typical_MA, 0)
        return found_MA / (np.maximum(rows_M1 - own_M1, 0) + _ROWS_MORE)

    def _joined(self, masses_MK: np.ndarray, atoms_MA: np.ndarray) -> np.ndarray:
        beside_M1 = np.maximum(1 - atoms_MA.sum(1, keepdims=True), 0.0)
        return np.log(np.concatenate([masses_MK * beside_M1, atoms_MA], 1) + _LEAST_MASS)

    def __call__(self, rows_MF: np.ndarray) -> torch.Tensor:
        answer_M = self._companion(rows_MF)[:, self._column].astype(float)
        if self._by_error:
            assert self._between_atoms is not None
            atoms_MA = _masses(answer_M, self._cdf, self._between_atoms)
            return torch.from_numpy(self._joined(np.zeros((len(answer_M), len(self._edges) + 1)), atoms_MA))
        return torch.from_numpy(self._joined(_masses(answer_M, self._cdf, self._edges), self._atoms(answer_M)))


def _masses(answer_M: np.ndarray, cdf: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(M, K) masses between edges of an answer and its error."""
    points = np.linspace(-_REACH, _REACH, len(cdf))
    return _between(np.interp(edges - answer_M[:, None], points, cdf, left=0.0, right=1.0))


def _cdf(cell_N: np.ndarray, share_N: np.ndarray, spread: float) -> np.ndarray:
    """Distribution function of the errors, spread, at the ends of the cells."""
    n_near = max(round(4 * spread / _STEP), 1)
    near = np.diff(ndtr((np.arange(-n_near, n_near + 2) - 0.5) * _STEP / spread))
    masses = np.convolve(np.bincount(cell_N, share_N, _N_CELLS), near)
    # What is spread beyond the last cells stays in them.
    masses[n_near] += masses[:n_near].sum()
    masses[-n_near - 1] += masses[-n_near:].sum()
    cumulative = np.cumsum(masses[n_near:-n_near])
    return np.concatenate([[0.0], cumulative / max(cumulative[-1], 1e-300)])  # of rows that do not count, no mass


def _differing(group_N: np.ndarray, cell_N: np.ndarray) -> list[np.ndarray]:
    """Rows of each group whose errors are not all in one cell: copies with another label, which are few."""
    first_G = np.unique(group_N, return_index=True)[1]
    odd = np.unique(group_N[cell_N != cell_N[first_G][group_N]])
    return [np.flatnonzero(group_N == group) for group in odd]


def _between(below_MK: np.ndarray) -> np.ndarray:
    """(M, K) masses of the bins, from the distribution function at their inner edges."""
    return np.diff(np.pad(below_MK, ((0, 0), (1, 1)), constant_values=(0, 1)), axis=1)
