"""Rows that lack cells which the labelled rows have: a sensor that is down, a level that was never seen.

What companions answer out of context is as good as where such cells are there, and the network has learnt in context to
believe it. Asked for rows without them, trees and boosting send these anywhere and regressions take the mean for
granted: with a tenth of the cells of new rows gone, squared errors of the default were .39 where those of the network
alone were .28 (elevators), log losses .55 and .42 (vehicle). With the gaps filled as here they are .16 and .33
(benchmarks/surprise.md). The network itself is shown the gaps as they are; what they leave open it is told by
`icl.prediction.doubt`.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from scipy.special import logsumexp

from icl.prediction.companions.donors import Donors
from icl.prediction.components import Components

# A column with gaps in a twentieth of its labelled rows is one in which companions have met them.
_RARE = 0.05
# Numbers of a row that are asked for one that is missing, by equations of that size for each pattern of gaps; of more
# the column's mean has to do.
_MOST_NUMBERS = 100
# Rows of the context that relations of columns are learnt from.
_MOST_ROWS = 5_000
# Rows of the context, most like a row, that lend it their levels, and by how much their numbers are off what their
# others say.
_N_DONORS = 16
# Rows of the context that are asked how much of what they are off themselves their donors share.
_N_JUDGED = 100
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
        self._n_levels_F = n_levels_F
        self._numbers_F, self._levels_F = ~is_met_F & (n_levels_F == 0), ~is_met_F & (n_levels_F > 0)

    def answered(self, rows_MF: np.ndarray, ask: Answers, mean: Answers | None = None) -> np.ndarray:
        """(M, T) what `ask` answers for (M, F) rows, whose gaps are filled where they are a surprise.

        Answers are averaged over draws. A number is what the row's other numbers say, given the context, and as much
        more as that is off in a row of the context like it (`icl.prediction.companions.donors`), for relations are no
        lines; levels are borrowed from that row. No answer hangs on which rows are asked together.

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
                yield at, self._filled(rows_MF[at], numbers_MF[at], levels_MF[at]).astype(rows_MF.dtype, order="C")

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

    def _filled(self, rows_mF: np.ndarray, numbers_mF: np.ndarray, levels_mF: np.ndarray) -> np.ndarray:
        """(D, m, F) rows with numbers off their expectation by as much as a donor's are, and with its levels."""
        donors_mDF = self._donors.cells_NF[self._donors(rows_mF, _N_DONORS)]
        filled_mDF = np.where(levels_mF[:, None], donors_mDF, rows_mF[:, None]).astype(float)
        own = self._numbers_F
        if own.sum() > _MOST_NUMBERS:
            known_mDF = np.where(np.isnan(donors_mDF), self._means_F, donors_mDF)
            filled_mDF = np.where(numbers_mF[:, None], known_mDF, filled_mDF)
        elif numbers_mF.any():
            gap_m1f, seen_mDf = numbers_mF[:, None, own], donors_mDF[..., own]
            expected_m1f = self._components.fill(rows_mF[:, own])[:, None]
            masked_mDf = np.where(gap_m1f, np.nan, seen_mDf)
            of_donor_mDf = self._components.fill(masked_mDf.reshape(-1, masked_mDf.shape[-1])).reshape(seen_mDf.shape)
            off_mDf = np.nan_to_num(seen_mDf - of_donor_mDf)
            off_mDf -= (1 - self._kept_f) * off_mDf.mean(1, keepdims=True)
            filled_mDF[..., own] = np.where(gap_m1f, expected_m1f + off_mDf, filled_mDF[..., own])
        return filled_mDF.swapaxes(0, 1)

    @functools.cached_property
    def _donors(self) -> Donors:
        return Donors(self._cells_NF, self._n_levels_F)

    @functools.cached_property
    def _kept_f(self) -> np.ndarray:
        """(f,) of each number how much of the mean by which donors are off is the row's own, and how little chance.

        The slope of one on the other, in rows of the context without this cell: 0 where the expectation leaves nothing
        that rows alike share, as of columns that are independent, or on lines.
        """
        of_numbers = self._n_levels_F == 0
        off_Nf = np.nan_to_num(self._components.off(self._donors.cells_NF[:, self._numbers_F]))
        asked = np.flatnonzero(self._numbers_F[of_numbers])
        near = list(self._donors.of_others(_N_JUDGED, _N_DONORS + 1))
        kept_f = np.zeros(len(asked))
        for k, near_mD in enumerate(near[place] for place in asked):
            other_mD = near_mD >= 0
            mean_m = (off_Nf[near_mD, k] * other_mD).sum(1) / np.maximum(other_mD.sum(1), 1)
            kept_f[k] = np.clip(mean_m @ off_Nf[: len(mean_m), k] / max(mean_m @ mean_m, 1e-300), 0, 1)
        return kept_f

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
