"""Values of a numeric target that come up again and again: zeros, bounds, whole numbers.

The network answers in bins and smears such a value over its neighbours. How the mass of each bin is dealt to atoms and
to the rest is read off the context: as its rows in this bin are, or in the nearest bin that holds any.

Dimension key: N context rows, M query rows, K bins, A atoms.
"""

from __future__ import annotations

import numpy as np
import torch

from icl.network.distribution import histogram_edges

# A value is an atom if it holds this share of the rows and comes up so many times as often as others do on average.
_LEAST_SHARE, _LEAST_ROWS, _TIMES_OTHERS = 0.02, 5, 5
# Or if all values do, at most so many of them, each this often on average: whole numbers, grades.
_MOST_VALUES, _ROWS_A_VALUE = 64, 10
_LEAST_MASS = 1e-12


def find_atoms(y_N: np.ndarray) -> np.ndarray:
    """(A,) the atoms among the values of a target, increasing; none of them for a target that does not repeat."""
    values, counts = np.unique(y_N, return_counts=True)
    n = len(y_N)
    if len(values) <= min(_MOST_VALUES, n / _ROWS_A_VALUE):
        return values
    others = (n - counts) / (len(values) - 1)
    return values[(counts >= max(_LEAST_SHARE * n, _LEAST_ROWS)) & (counts >= _TIMES_OTHERS * others)]


class AtomShares:
    """What share of each bin's mass is an atom's.

    Args:
        atoms: (A,) increasing, standardised.
        y_N: standardised targets of the rows to learn from; values equal to an atom are that atom's.
        n_bins: of the histogram.
    """

    def __init__(self, atoms: np.ndarray, y_N: np.ndarray, n_bins: int):
        edges = histogram_edges(n_bins).numpy()
        self.bin_of_atom_A = np.searchsorted(edges, atoms)
        place_N, is_atom_N = match_atoms(atoms, y_N)
        bins_N = np.searchsorted(edges, y_N)
        counts_K = np.bincount(bins_N, minlength=n_bins)
        counts_KA = np.zeros((n_bins, len(atoms)))
        np.add.at(counts_KA, (bins_N[is_atom_N], place_N[is_atom_N]), 1.0)
        held = np.flatnonzero(counts_K)
        centers_K = np.concatenate([edges[:1], (edges[1:] + edges[:-1]) / 2, edges[-1:]])
        # Of an empty bin, that of the nearest value: beside a lone atom, what is said of its neighbourhood means it.
        nearest_K = held[np.abs(centers_K[:, None] - centers_K[held]).argmin(1)]
        of_K = np.where(counts_K > 0, np.arange(n_bins), nearest_K)
        self.shares_KA = torch.from_numpy(counts_KA[of_K] / counts_K[of_K, None])

    def split(self, log_masses_MK: torch.Tensor) -> torch.Tensor:
        """(M, K + A) log-masses of the bins without their atoms, and of the atoms."""
        masses_MK = torch.softmax(log_masses_MK, -1)
        rest_MK = masses_MK * (1 - self.shares_KA.sum(1)).clamp_min(0)
        return torch.cat([rest_MK, masses_MK @ self.shares_KA], 1).clamp_min(_LEAST_MASS).log()


def match_atoms(atoms: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each value the place of the nearest atom, and whether it is that atom but for rounding to float32."""
    middles = (atoms[1:] + atoms[:-1]) / 2
    place = np.searchsorted(middles, values)
    return place, np.abs(values - atoms[place]) <= 1e-6 * np.maximum(1.0, np.abs(atoms[place]))


def in_bins(log_masses: np.ndarray, bin_of_atom_A: np.ndarray) -> np.ndarray:
    """(M, K) log-masses of bins with the mass of the atoms that lie in them, from (M, K + A)."""
    if not len(bin_of_atom_A):
        return log_masses
    masses = np.exp(log_masses)
    n_bins = masses.shape[1] - len(bin_of_atom_A)
    whole = masses[:, :n_bins].copy()
    np.add.at(whole.T, bin_of_atom_A, masses[:, n_bins:].T)
    return np.log(np.maximum(whole, _LEAST_MASS))
