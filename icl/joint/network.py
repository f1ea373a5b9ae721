"""A column from the others by the in-context model: its predictive distribution about a straight part.

From a bootstrap sample of few rows a network says both too much and too little: it believes patterns that copies of
rows suggest, and it leaves room for more spread than there is. `settle` measures both on rows that each sample left
out, over all samples together, and scales what the network says accordingly.

Dimension key: n rows of a column, k rows that a sample left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from icl.estimators.classifier import ICLClassifier
from icl.estimators.prior_limits import OutOfPriorWarning
from icl.estimators.regressor import ICLRegressor
from icl.joint.kinds import Kind
from icl.joint.marginal import drawn_codes, shares_of
from icl.joint.warp import Straight, Warp, straight_part
from icl.network.distribution import CategoricalPredictive, HistogramPredictive
from icl.prediction.atoms import find_atoms
from icl.prediction.companions.columns import suited
from icl.prediction.together import distributions
from icl.tables.schema import SchemaWarning

# A uniform number this close to 0 or 1 would ask a half-normal tail for its end.
_LEAST = 1e-6
_TINY = 1e-12
# Of the spread: the mass of a step below that is lost between two values of a distribution function.
_FINE = 1e-3
# Of the spread: a value that holds mass is the bound that it lies so close to, for distributions round their values.
_AT_BOUND = 1e-6
# Rows from which on a straight part is taken out before the network is asked.
_FEWEST_STRAIGHT = 10
_TEMPERATURES = np.geomspace(0.4, 2.5, 23)


class NetworkColumn:
    """The in-context model's predictive distribution; see `icl.joint.column.ColumnModel`.

    Args:
        known: numbers or codes, none missing.
        weight: whole numbers, or None if all rows count alike.
        tilt: log odds to add to each level in draws.
        reach: all rows, those that will be asked about among them; default: X.
    """

    def __init__(
        self,
        kind: Kind,
        X: pd.DataFrame,
        known: np.ndarray,
        weight: np.ndarray | None,
        seed: int,
        options: Mapping[str, Any],
        tilt: np.ndarray | None = None,
        reach: pd.DataFrame | None = None,
    ):
        self.kind, self._n_known, self._tilt = kind, len(known), tilt
        self.believed, self.widened, self.temperature = 1.0, 1.0, 1.0
        self._spread = float(known.std())
        self.shares: np.ndarray | None = None
        settings = {"quality": "fast", **options, "random_state": seed}
        make = ICLClassifier if kind.is_class else ICLRegressor
        y = known.astype(np.int64) if kind.is_class else known
        self.straight: Straight | None = None
        self.warp = Warp()
        with warnings.catch_warnings():
            # Said once for the whole table by whoever asks for columns, not for every fit of every chain.
            warnings.simplefilter("ignore", SchemaWarning)
            warnings.simplefilter("ignore", OutOfPriorWarning)
            if not kind.is_class and len(known) >= _FEWEST_STRAIGHT and not len(find_atoms(known)):
                count = np.ones(len(known)) if weight is None else weight
                self.straight = straight_part(X, known, count, reach)
                self.warp, y = self.straight.warp, self.straight.part.residuals
                settings = {"companions": (), **settings}
            elif kind.is_class:
                # Trees tell levels apart that differ by rules: Brier score .475 -> .463 on six tables of 200 rows, for
                # a tenth more time.
                beside = suited(len(known), len(np.unique(known)))
                settings = {"companions": [name for name in beside if name in ("ridge", "trees")], **settings}
            self.estimator = make(**settings).fit(X, y, sample_weight=weight)

    def draw(self, X: pd.DataFrame, rng: np.random.Generator) -> pd.Series:
        [answer] = answers([self], [X])
        return self.kind.cells(self.drawn(answer, X, rng), X.index)

    def drawn(self, distribution: Any, X: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
        """One draw from each of the distributions that the network gave for the rows: numbers on the grid, or codes."""
        u = rng.random(distribution.batch_shape[0])
        if isinstance(distribution, CategoricalPredictive):
            probs = torch.softmax(distribution.log_probs.double() / self.temperature, -1).numpy()
            assert self.kind.levels is not None
            self.shares = shares_of(probs, self.estimator.classes_, len(self.kind.levels), self._tilt)
            return drawn_codes(probs, self.estimator.classes_, u, self._tilt)
        start = self._start(distribution, X)
        below, upto = self._levels_between(distribution, start)
        u = below + u * np.maximum(upto - below, 0.0)  # a draw of the distribution cut off at the bounds
        found = distribution.icdf(torch.from_numpy(u.clip(_LEAST, 1 - _LEAST)).to(distribution.edges))
        return self.kind.snap(self.warp.back(start + self.widened * found.double().numpy()))

    def straight_at(self, X: pd.DataFrame) -> np.ndarray:
        """(n,) the straight part, on the column's scale; 0 without one."""
        return np.zeros(len(X)) if self.straight is None else self.straight(self.straight.encoded(X))

    def _start(self, distribution: HistogramPredictive, X: pd.DataFrame) -> np.ndarray:
        """(n,) what is added to `widened` times a number of the network's."""
        return self.straight_at(X) + (self.believed - self.widened) * distribution.mean.double().numpy()

    def _levels_between(self, distribution: HistogramPredictive, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,) probability below the lower and up to the upper bound of the column."""
        kind, n = self.kind, len(start)
        # P(Y <= low) would cut off the zeros of amounts that are 0 or more, as many as there are.
        step = kind.half_step + _AT_BOUND * self._spread
        ends = self.warp.there(np.array([kind.low - step, kind.high + step]))
        low, high = ((bound - start) / self.widened for bound in ends)
        below = _level(distribution, low) if np.isfinite(ends[0]) else np.zeros(n)
        upto = _level(distribution, high) if np.isfinite(ends[1]) else np.ones(n)
        return below, upto

    def log_density(self, X: pd.DataFrame, y: pd.Series) -> np.ndarray:
        numbers = self.kind.numbers(y)
        out = np.full(len(numbers), np.nan)
        rows = np.flatnonzero(np.isfinite(numbers))
        if len(rows):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SchemaWarning)
                distribution = self.estimator.predict_distribution(X.iloc[rows])
            out[rows] = self._score(distribution, X.iloc[rows], numbers[rows])
        return out

    def _score(self, distribution: Any, X: pd.DataFrame, numbers: np.ndarray) -> np.ndarray:
        if isinstance(distribution, CategoricalPredictive):
            place = pd.Index(self.estimator.classes_).get_indexer(numbers.astype(np.int64))
            found = distribution.log_prob(np.maximum(place, 0)).double().numpy()
            # A level that the context does not hold: as rare as one row among all of them would be.
            return np.where(place < 0, -np.log(self._n_known + 1.0), found)
        start, step, wide = self._start(distribution, X), self.kind.half_step, self.widened
        below, upto = self._levels_between(distribution, start)
        whole = np.log(np.maximum(upto - below, _TINY))
        if 2 * step < _FINE * self._spread:
            there = self.warp.there(numbers)
            density = distribution.log_prob(torch.from_numpy((there - start) / wide)).double().numpy()
            found = density + self.warp.log_slope(numbers) - np.log(wide) - whole
            # Values that repeat have a mass already, whatever the unit or the grid.
            unit = np.log(2 * step) if step else -self.kind.log_unit
            return found + unit * ~np.isin(numbers, self.estimator.atoms_)
        ends = [_level(distribution, (self.warp.there(numbers + sign * step) - start) / wide) for sign in (1, -1)]
        return np.log(np.maximum(ends[0] - ends[1], _TINY)) - whole


def answers(models: Sequence[NetworkColumn], tables: Sequence[pd.DataFrame]) -> list[Any]:
    """What each network says of its own rows, in shared forward passes."""
    fitted = [model.estimator.answering() for model in models]
    rows = [one.encoder.transform(table) for one, table in zip(fitted, tables)]
    [said] = distributions(fitted, rows, max(1, *map(len, rows)))
    return said


@dataclass(frozen=True)
class LeftOut:
    """Rows that know the column and that the sample of a model left out.

    Args:
        X: (k, ...) their other columns.
        numbers: (k,) their numbers or codes.
        rows: (k,) which rows of the table they are.
    """

    X: pd.DataFrame
    numbers: np.ndarray
    rows: np.ndarray


def settle(models: Sequence[NetworkColumn], said: Sequence[Any], left_out: Sequence[LeftOut]) -> None:
    """Scale what several models of one column say by how it fits the rows that their samples left out.

    Args:
        models: of samples of the same rows.
        said: what each says of its own left-out rows.
    """
    if models[0].kind.is_class:
        temperature = _temperature(models, said, left_out)
        for model in models:
            model.temperature = temperature
        return
    of_straight = [i for i, model in enumerate(models) if model.straight is not None]
    if not of_straight:
        return
    models, said = [models[i] for i in of_straight], [said[i] for i in of_straight]
    left_out = [left_out[i] for i in of_straight]
    # In units of the noise, since samples may differ in the scale of the column.
    units = [max(float(np.sqrt(model.straight.part.variance)), _TINY) for model in models if model.straight is not None]
    rest = [(m.warp.there(one.numbers) - m.straight_at(one.X)) / u for m, one, u in zip(models, left_out, units)]
    means = [d.mean.double().numpy() / u for d, u in zip(said, units)]
    r_K, m_K = np.concatenate(rest), np.concatenate(means)
    square = float(m_K @ m_K)
    if square == 0 or len(r_K) < 2:
        return
    slope = float(r_K @ m_K) / square
    # A row that several samples left out is one row.
    scores = np.bincount(np.concatenate([one.rows for one in left_out]), m_K * (r_K - slope * m_K))
    error = float(np.sqrt((scores**2).sum())) / square
    # Believed as far as it is beyond error; the positive part of Stein's factor.
    believed = float(np.clip(slope * max(0.0, 1 - (error / slope) ** 2), 0.0, 1.0)) if slope > 0 else 0.0
    kept = float(((r_K - believed * m_K) ** 2).sum() / (r_K**2).sum())
    for model, distribution in zip(models, said):
        assert model.straight is not None
        variance = float(distribution.variance.double().mean())
        model.believed = believed
        model.widened = float(np.sqrt(min(kept, 1.0) * model.straight.part.variance / max(variance, _TINY)))


def _temperature(models: Sequence[NetworkColumn], said: Sequence[Any], left_out: Sequence[LeftOut]) -> float:
    """The temperature at which the levels of left-out rows are likeliest, held back towards 1 by a few rows' worth."""
    held, seen = [], set()
    for model, distribution, one in zip(models, said, left_out):
        place = pd.Index(model.estimator.classes_).get_indexer(one.numbers.astype(np.int64))
        known = place >= 0
        held.append((distribution.log_probs.double()[torch.from_numpy(known)], torch.from_numpy(place[known])))
        seen |= set(one.rows.tolist())
    total = sum(len(place) for _, place in held)
    if not total:
        return 1.0
    worth = len(seen) / total  # a row counts once, however many samples left it out

    def loss(temperature: float) -> float:
        log_probs = [torch.log_softmax(scores / temperature, -1) for scores, _ in held]
        likelihood = sum(float(p.gather(-1, place[:, None]).sum()) for p, (_, place) in zip(log_probs, held))
        return -worth * likelihood + 4.0 * np.log(temperature) ** 2

    return float(min(_TEMPERATURES, key=loss))


def _level(distribution: HistogramPredictive, value: Any) -> np.ndarray:
    """(n,) P(Y <= value)."""
    given = torch.as_tensor(value, dtype=distribution.edges.dtype).expand(distribution.batch_shape)
    return distribution.cdf(given).double().numpy()
