"""What a companion says by itself: a distribution for each row, one voice more beside the members of the ensemble.

The network sees a companion's answers as columns and may still not believe them: of a class that has ten rows in a
thousand, of a value five standard deviations from all others. The blend (`icl.prediction.blend`) listens to both.

Dimension key: N context rows, M query rows, F columns, C classes, K bins, A atoms, X = K + A, B
trees.
"""

from __future__ import annotations

import functools
from typing import Protocol

import numpy as np
import torch
from scipy.special import ndtr

from icl.network.distribution import bin_centers, histogram_edges
from icl.prediction.atoms import match_atoms
from icl.prediction.blend import best_temperature
from icl.prediction.companions.protocol import Companion, Labelled
from icl.prediction.companions.trees import Trees

# Beside what trees say, so that no class is impossible because no leaf held it.
_LEAST_SHARE = 1e-3
# Of the bins; what no tree says is worth about one row in a thousand.
_LEAST_MASS = 1e-5
# Standard deviations by which the answers of trees are spread, in units of the target's own.
_SPREADS = (0.02, 0.05, 0.1, 0.2, 0.4)


class Voice(Protocol):
    """A distribution for each row.

    Attributes:
        name: of the companion.
        context: (N, C) or (N, K + A) log-masses for the labelled rows, each out of context.
    """

    name: str
    context: np.ndarray

    def __call__(self, rows_MF: np.ndarray) -> torch.Tensor:
        """(M, C) or (M, K + A) log-masses for rows that are not in the context."""
        ...


class ClassVoice:
    """The shares of classes that a companion gives, at the temperature at which they score best out of context.

    Args:
        name: of the companion.
        companion: fitted.
        labelled: the rows that it answered out of context.
        shown_NT: what it answered.
    """

    def __init__(self, name: str, companion: Companion, labelled: Labelled, shown_NT: np.ndarray):
        self.name, self._companion, self._labelled = name, companion, labelled
        log_shares_NC = self._log_shares(shown_NT)
        own_N = np.arange(len(log_shares_NC)), labelled.y_N

        def log_score(temperature: float) -> np.ndarray:
            return _normed(log_shares_NC / temperature)[own_N]

        self.temperature = best_temperature(log_score, labelled.weights, typical=4.0)
        self.context = _normed(log_shares_NC / self.temperature)

    def _log_shares(self, shown_MT: np.ndarray) -> np.ndarray:
        shares_MT = self._labelled.shares(shown_MT)
        shares_MC = np.concatenate([1 - shares_MT, shares_MT], 1) if shares_MT.shape[1] == 1 else shares_MT
        return np.log(shares_MC + _LEAST_SHARE)

    def __call__(self, rows_MF: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(_normed(self._log_shares(self._companion(rows_MF)) / self.temperature))


class NumberVoice:
    """The answers of all trees as a histogram, spread by as much as scores best out of context.

    Trees are grown until their leaves hold one value, so this is the distribution of the targets of rows alike.

    Args:
        trees: fitted.
        labelled: the rows that they answered out of context.
        answers_NB: what each tree answered; NaN is no answer.
        n_bins: of the network's histograms.
        atoms: (A,) of the target, standardised.
    Source:
        Meinshausen (2006), Quantile regression forests.
    """

    def __init__(self, trees: Trees, labelled: Labelled, answers_NB: np.ndarray, n_bins: int, atoms: np.ndarray):
        self.name, self._trees, self._atoms = "trees", trees, atoms
        self._edges = histogram_edges(n_bins).numpy()
        own_N = np.arange(len(labelled.y_N)), self._places(labelled.y_N)
        shares_NX = self._shares(answers_NB)
        found = [self._spread(shares_NX, spread) for spread in _SPREADS]
        scores = [np.average(log_masses_NK[own_N], weights=labelled.weights) for log_masses_NK in found]
        best = int(np.argmax(scores))
        self.spread, self.context = _SPREADS[best], found[best]

    def _places(self, values: np.ndarray) -> np.ndarray:
        """Of each value the number of its bin, or of its atom after the bins."""
        places = np.searchsorted(self._edges, values)
        if len(self._atoms):
            atom, is_atom = match_atoms(self._atoms, values)
            places = np.where(is_atom, len(self._edges) + 1 + atom, places)
        return places

    def _shares(self, answers_MB: np.ndarray) -> np.ndarray:
        """(M, K + A) share of the trees that answer within each bin, and each atom; NaN is no answer."""
        width = len(self._edges) + 1 + len(self._atoms)
        rows, trees = np.nonzero(~np.isnan(answers_MB))
        places = rows * width + self._places(answers_MB[rows, trees])
        counts_MX = np.bincount(places, minlength=len(answers_MB) * width).reshape(-1, width)
        return counts_MX / np.maximum(counts_MX.sum(1, keepdims=True), 1)

    def _spread(self, shares_MX: np.ndarray, spread: float) -> np.ndarray:
        n_bins = len(self._edges) + 1
        moved_KK = _moved(n_bins, spread)
        return np.log(np.concatenate([shares_MX[:, :n_bins] @ moved_KK, shares_MX[:, n_bins:]], 1) + _LEAST_MASS)

    def __call__(self, rows_MF: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self._spread(self._shares(self._trees.each(rows_MF)), self.spread))


@functools.cache
def _moved(n_bins: int, spread: float) -> np.ndarray:
    """(K, K) share of what lies in the middle of each bin that lies in each other bin, once it is spread."""
    edges = histogram_edges(n_bins).numpy()
    below = ndtr((edges - bin_centers(n_bins)[:, None]) / spread)
    return np.diff(np.pad(below, ((0, 0), (1, 1)), constant_values=(0, 1)), axis=1)


def _normed(log_MC: np.ndarray) -> np.ndarray:
    return log_MC - np.logaddexp.reduce(log_MC, 1, keepdims=True)
