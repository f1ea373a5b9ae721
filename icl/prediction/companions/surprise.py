"""Rows that lack cells which the labelled rows have: a sensor that is down, a level that was never seen.

What companions answer out of context is as good as where such cells are there, and the network has learnt in context to
believe it. Asked for rows without them, trees and boosting send these anywhere and regressions take the mean for
granted: with a tenth of the cells of new rows gone, squared errors of the default were .39 where those of the network
alone were .28 (elevators), log losses .53 and .44 (vehicle). With the gaps filled as here they are .17 and .34
(benchmarks/surprise.md). The network itself is shown the gaps as they are.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from scipy.special import logsumexp

from icl.prediction.components import Components

# A column with gaps in a twentieth of its labelled rows is one in which companions have met them.
_RARE = 0.05
# Numbers of a row that are asked for one that is missing, by equations of that size for each pattern of gaps; of more
# the column's mean has to do.
_MOST_NUMBERS = 100
# Rows of the context that relations of columns are learnt from.
_MOST_ROWS = 5_000
# Rows of the context that lend their levels, and by how much their numbers are off what their others say.
_N_DONORS = 16
# Rows that are filled at a time.
_BLOCK_ROWS = 512
_MOST_KEPT = 2**24  # cells, 64 MB of them

Answers = Callable[[np.ndarray], np.ndarray]


class Surprise:
    """Learnt from labelled cells (N, F), NaN where there is none, and the levels of each column (F,), 0 of numbers."""

    def __init__(self, cells_NF: np.ndarray, n_levels_F: np.ndarray):
        self._cells_NF = cells_NF[:: -(-len(cells_NF) // _MOST_ROWS)] if len(cells_NF) else cells_NF
        is_met_F = np.isnan(cells_NF).mean(0) >= _RARE
        self._last: tuple[weakref.ref | None, list] = (None, [])
        self._numbers_F, self._levels_F = ~is_met_F & (n_levels_F == 0), ~is_met_F & (n_levels_F > 0)

    def answered(self, rows_MF: np.ndarray, ask: Answers, mean: Answers | None = None) -> np.ndarray:
        """(M, T) what `ask` answers for (M, F) rows, whose gaps are filled where they are a surprise.

        Answers are averaged over draws. A number is what the row's other numbers say, given the context, and as much
        more as that is off in one of its rows; levels are borrowed from that row. These are the same for every row
        asked, so that no answer hangs on which rows are asked together.

        Args:
            mean: of (D, m, T) answers their average, (m, T); the arithmetic one by default.
        """
        gap_MF = np.isnan(rows_MF)
        numbers_MF, levels_MF = gap_MF & self._numbers_F, gap_MF & self._levels_F
        lent_M = (numbers_MF | levels_MF).any(1)
        if not lent_M.any():
            return ask(rows_MF)
        answers_MT = np.array(ask(rows_MF))
        for at, drawn_DmF in self._drawn(rows_MF, numbers_MF, levels_MF):
            # Asked at once: two hundred trees take as long for one row as for some hundred.
            answers_DmT = ask(drawn_DmF.reshape(-1, rows_MF.shape[1])).reshape(len(drawn_DmF), len(at), -1)
            answers_MT[at] = answers_DmT.mean(0) if mean is None else mean(answers_DmT)
        return answers_MT

    def _drawn(
        self, rows_MF: np.ndarray, numbers_MF: np.ndarray, levels_MF: np.ndarray
    ) -> Iterable[tuple[np.ndarray, np.ndarray]]:
        """Numbers of rows with gaps, block by block, and (D, m, F) how they are filled.

        Kept for the next companion, who is asked about the same rows, as long as these are there.
        """
        of_rows, kept = self._last
        if of_rows is not None and of_rows() is rows_MF:
            return kept
        places = np.flatnonzero((numbers_MF | levels_MF).any(1))
        blocks = (places[start : start + _BLOCK_ROWS] for start in range(0, len(places), _BLOCK_ROWS))

        def drawn() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for at in blocks:
                filled_mF, off_DmF = self._filled(rows_MF[at], numbers_MF[at])
                yield at, np.where(levels_MF[at], self._donors[:, None], filled_mF + off_DmF).astype(rows_MF.dtype)

        if len(places) * rows_MF.shape[1] * _N_DONORS > _MOST_KEPT:
            return drawn()
        kept = list(drawn())
        self._last = weakref.ref(rows_MF, self._forget), kept
        return kept

    def _forget(self, of_rows: weakref.ref) -> None:
        if self._last[0] is of_rows:
            self._last = (None, [])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_last": (None, [])}

    def _filled(self, rows_mF: np.ndarray, gap_mF: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(m, F) rows with numbers at their expectation, and (D, m, F) by how much each donor is off its own."""
        own = self._numbers_F
        off_DmF = np.zeros((len(self._donors), *rows_mF.shape))
        if not gap_mF.any():
            return rows_mF, off_DmF
        filled_mF = rows_mF.astype(float)
        if own.sum() > _MOST_NUMBERS:
            filled_mF = np.where(gap_mF, self._means_F, filled_mF)
            off_DmF[:] = np.where(gap_mF, np.nan_to_num(self._donors - self._means_F)[:, None], 0.0)
            return filled_mF, off_DmF
        filled_mF[:, own] = self._components.fill(rows_mF[:, own])
        patterns, of_row = np.unique(gap_mF, axis=0, return_inverse=True)
        for k, gap_F in enumerate(patterns):
            if gap_F.any():
                masked_DF = np.where(gap_F, np.nan, self._donors)
                off_DF = np.zeros(masked_DF.shape)
                off_DF[:, own] = np.where(
                    gap_F[own], self._donors[:, own] - self._components.fill(masked_DF[:, own]), 0.0
                )
                off_DmF[:, of_row.reshape(-1) == k] = np.nan_to_num(off_DF)[:, None]
        return filled_mF, off_DmF

    @functools.cached_property
    def _donors(self) -> np.ndarray:
        """(D, F) rows of the context, spread over it, the same whatever its order."""
        order_N = np.lexsort(self._cells_NF.T[::-1])
        return self._cells_NF[order_N[np.unique(np.linspace(0, len(order_N) - 1, 2 * _N_DONORS + 1)[1::2].astype(int))]]

    @functools.cached_property
    def _means_F(self) -> np.ndarray:
        known_NF = np.where(np.isnan(self._cells_NF).all(0), 0, self._cells_NF)
        return np.nanmean(known_NF, 0, dtype=float).astype(known_NF.dtype)

    @functools.cached_property
    def _components(self) -> Components:
        return Components(self._cells_NF[:, self._numbers_F], 0)


def mean_of_logarithms(log_masses_DMK: np.ndarray) -> np.ndarray:
    """(M, K) logarithms of the mean of masses."""
    return logsumexp(log_masses_DMK, axis=0) - np.log(len(log_masses_DMK))
