"""Chained draws: each incomplete column from all others, round after round, in m chains.

In the first round gaps that were not drawn yet stay gaps, which the in-context model takes as they are; from the second
on every column is drawn given the completed others. Every draw comes from a model of its own: its straight part is a
draw of the coefficients, and for what that leaves, and for levels, it is shown a bootstrap sample of the rows that know
the column. How little is known of the relation is part of what is drawn. Chains share nothing but what left-out rows
say of all their models of a column.

Source:
    Chained equations: van Buuren et al. (2006), doi:10.1080/10629360600810434; uncertainty of the model by bootstrap:
    Rubin & Schenker (1986), doi:10.1080/01621459.1986.10478280, Heitjan & Little (1991), doi:10.2307/2347572.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from icl.joint.column import draw_each, fit_column
from icl.joint.kinds import Kind
from icl.joint.layout import MOST_SHOWN, Layout
from icl.joint.left_out import LeftOut

# Chains that are fitted and asked together: their contexts share passes, and their memory is the limit.
_AT_ONCE = 20
# Rows of those that a bootstrap sample left out on which a chain's model is checked.
_LEFT_OUT = 30


@dataclass(frozen=True)
class Drawn:
    """What chains leave.

    Attributes:
        values: of each incomplete column, by position, (m, gaps) numbers or codes in the order of the rows.
        trace: of each, (rounds, m, 2) mean and spread of what a chain drew in a round: numbers, or places of levels.
        guess: of each, what is known of a gap in the later half of the rounds, mean over rounds and chains: (gaps,) of
            what was drawn, or (gaps, L) of the probabilities that a level was drawn from, which chance moves less.
    """

    values: dict[int, np.ndarray]
    trace: dict[int, np.ndarray]
    guess: dict[int, np.ndarray]


class Chains:
    """The state of m chains over one table.

    Args:
        table: all rows.
        layout: what is imputed.
        shifts: numbers to add to draws, and log odds of levels, by position of the column.
        options: of the estimators.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        layout: Layout,
        m: int,
        seed: int,
        shifts: tuple[Mapping[int, float], Mapping[int, np.ndarray]],
        options: Mapping[str, Any],
    ):
        self.layout, self._seed, self._options = layout, seed, options
        self._added, self._tilted = shifts
        working = pd.DataFrame({str(j): _working(kind, table.iloc[:, j]) for j, kind in layout.kinds.items()})
        # In an order of their own that only their cells decide, rows get the same draws however the table is sorted.
        self._order = np.argsort(pd.util.hash_pandas_object(working, index=False).to_numpy(), kind="stable")
        self._missing = layout.missing[self._order]
        keeps = np.ones(len(table), dtype=bool)
        keeps[layout.empty_rows] = False
        self._shown = keeps[self._order]
        working = working.iloc[self._order].reset_index(drop=True)
        self._kinds = {j: _working_kind(kind, working[str(j)]) for j, kind in layout.kinds.items()}
        for j in self._added:  # a shift that is smaller than a stride would be rounded away
            self._kinds[j] = replace(self._kinds[j], stride=1)
        self._frames = [working.copy() for _ in range(m)]
        self._guess: dict[int, np.ndarray] = {}

    def run(self, rounds: int, step: Callable[[int], Any]) -> Drawn:
        """Draw; `step(n)` is told of each n columns drawn in one chain."""
        todo, m = self.layout.incomplete, len(self._frames)
        trace = {j: np.empty((rounds, m, 2)) for j in todo}
        for turn in range(rounds):
            if turn <= rounds // 2:
                self._guess = {}  # of rounds in which chains may still be on their way
            for j in todo:
                for start in range(0, m, _AT_ONCE):
                    chains = range(start, min(start + _AT_ONCE, m))
                    for chain, numbers in zip(chains, self._draw(turn, j, chains)):
                        scale = max(np.abs(numbers).max(initial=0.0), 1.0)  # squares of a stray may overflow
                        trace[j][turn, chain] = numbers.mean(), scale * (numbers / scale).std()
                    step(len(chains))
        back = np.argsort(self._order)
        values, guess = {}, {}
        n_kept = rounds - min(rounds // 2, rounds - 1)
        for j in todo:
            rows = back[self.layout.missing[:, j]]
            values[j] = np.stack([self._numbers(frame, j)[rows] for frame in self._frames])
            place = np.searchsorted(np.flatnonzero(self._missing[:, j]), rows)
            guess[j] = self._guess[j][place] / (n_kept * m)
        return Drawn(values, trace, guess)

    def _draw(self, turn: int, j: int, chains: range) -> list[np.ndarray]:
        """A new draw of one column in some chains, put into their tables."""
        name, gaps, kind = str(j), self._missing[:, j], self._kinds[j]
        known = np.flatnonzero(~gaps & self._shown & self._frames[0][name].notna().to_numpy())
        model = self.layout.models[j]
        fitted, asked, rngs, left_out = [], [], [], []
        for chain in chains:
            rng = np.random.default_rng([self._seed, chain, turn, j])
            others = self._frames[chain].drop(columns=name)
            drawn = known[rng.integers(len(known), size=len(known))]
            if model == "network" and len(known) > MOST_SHOWN:
                drawn = rng.permutation(drawn)[:MOST_SHOWN]
            weight = np.bincount(drawn, minlength=len(gaps))
            weight[gaps] = 1  # they lack the column, and say where it is asked about
            column = self._frames[0][name].where(~gaps)
            seed, tilt = int(rng.integers(2**31)), self._tilted.get(j)
            sample: dict[str, Any] = {"weight": weight, "seed": seed, "tilt": tilt}
            sample["draw_line"] = len(known) <= MOST_SHOWN  # of more, a line of all rows would cost as much as they are
            fitted.append(fit_column(others, column, kind=kind, model=model, options=self._options, **sample))
            asked.append(others[gaps])
            rngs.append(rng)
            spare = np.setdiff1d(known, drawn)
            if fitted[-1].strays is not None:  # nobody foretells them
                spare = spare[~np.isin(kind.numbers(column.iloc[spare]), fitted[-1].strays.values)]
            rows = np.sort(rng.permutation(spare)[:_LEFT_OUT])
            left_out.append(LeftOut(others.iloc[rows], kind.numbers(column.iloc[rows]), rows))
        found = []
        for chain, model_of, cells in zip(chains, fitted, draw_each(fitted, asked, rngs, left_out)):
            numbers = kind.numbers(cells)
            if j in self._added:
                numbers = kind.snap(numbers + self._added[j])
                cells = kind.cells(numbers)
            self._put(chain, name, gaps, kind, numbers)
            found.append(numbers)
            said = model_of.shares if kind.is_class else model_of.common
            assert said is not None, "it was drawn from"
            if j in self._added:
                said = said + self._added[j]
            self._guess[j] = said + self._guess.get(j, np.zeros_like(said))
        return found

    def _put(self, chain: int, name: str, gaps: np.ndarray, kind: Kind, numbers: np.ndarray) -> None:
        frame = self._frames[chain]
        column = kind.numbers(frame[name])
        column[gaps] = numbers
        self._frames[chain] = frame.assign(**{name: kind.cells(column)})

    def _numbers(self, frame: pd.DataFrame, j: int) -> np.ndarray:
        return self._kinds[j].numbers(frame[str(j)])


def _working(kind: Kind, column: pd.Series) -> pd.Series:
    """A column as chains hold it: float64, or a categorical of codes."""
    numbers = kind.numbers(column)
    if kind.levels is None:
        return pd.Series(numbers)
    codes = np.where(np.isnan(numbers), -1, numbers).astype(np.int64).tolist()
    is_ordered = isinstance(column.dtype, pd.CategoricalDtype) and bool(column.cat.ordered)
    places = pd.Index([f"level {i}" for i in range(len(kind.levels))])
    return pd.Series(pd.Categorical.from_codes(codes, categories=places, ordered=is_ordered))


def _working_kind(kind: Kind, column: pd.Series) -> Kind:
    if kind.levels is None:
        return replace(kind, name=column.name, dtype=np.dtype("float64"), moment="", wholes=None, power=0)
    return replace(kind, name=column.name, dtype=column.dtype, levels=column.cat.categories.to_numpy(dtype=object))
