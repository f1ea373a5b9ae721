"""A column from the others by the in-context model: its predictive distribution about a straight part."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from icl.estimators.classifier import ICLClassifier
from icl.estimators.prior_limits import OutOfPriorWarning
from icl.estimators.regressor import ICLRegressor
from icl.joint.kinds import Kind
from icl.joint.marginal import drawn_codes, shares_of
from icl.joint.noise import Noise, Normal, Part, Said
from icl.joint.strays import Strays
from icl.joint.warp import Straight, Warp, straight_part
from icl.network.distribution import CategoricalPredictive, HistogramPredictive
from icl.prediction.atoms import find_atoms
from icl.prediction.companions.columns import suited
from icl.prediction.together import distributions
from icl.tables.schema import SchemaWarning
from icl.tables.strays import strays_beside

# Of the spread: the mass of a step below that is lost between two values of a distribution function.
_FINE = 1e-3
# Of the spread: a value that holds mass is the bound that it lies so close to, for distributions round their values.
_AT_BOUND = 1e-6
# Rows from which on a straight part is taken out before the network is asked.
_FEWEST_STRAIGHT = 10
# Steps of a scale, such as answers 1 to 5, of which one is drawn as the nearest to a straight part and its noise: by
# shares alone slopes on such columns were 8 % too flat (24 tables of 150 rows), now 4 %, with 3 % for complete cases.
# Not codes of many values, which another column may decide, and not counts that are mostly 0: CRPS of adult .41 -> .45.
_STEPS = (4, 7)
_TINY = 1e-12


class NetworkColumn:
    """The in-context model's predictive distribution; see `icl.joint.column.ColumnModel`.

    Args:
        known: numbers or codes, none missing.
        weight: whole numbers, or None if all rows count alike.
        tilt: log odds to add to each level in draws.
        reach: all rows, those that will be asked about among them; default: X.
        rng: if given, what the straight part is drawn with, from rows of weight 0 too.

    Attributes:
        believed, widened: factors of the network's mean and of its spread.
        shares: of a column of levels, what the last draw was from.
        temperature: of the network's log probabilities of levels.
        noise_shares: (3,) of `parts`.
        strays: numbers that were set aside, if any.
        common: of a column of numbers, what was last drawn before some of it became strays.
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
        rng: np.random.Generator | None = None,
    ):
        shown = np.ones(len(known), dtype=bool) if weight is None else weight > 0
        self.kind, self._n_known, self._tilt = kind, int(shown.sum()), tilt
        self.believed, self.widened, self.temperature = 1.0, 1.0, 1.0
        self.noise_shares = np.array([1.0])
        self.strays: Strays | None = None
        self.common: np.ndarray | None = None
        self.shares: np.ndarray | None = None
        # A temperature of its own is learnt from cells that were left out (`icl.joint.left_out`).
        settings = {"quality": "fast", "softmax_temperature": 1.0, **options, "random_state": seed}
        make = ICLClassifier if kind.is_class else ICLRegressor
        y = known.astype(np.int64) if kind.is_class else known
        self.straight: Straight | None = None
        self.warp = Warp()
        with warnings.catch_warnings():
            # Said once for the whole table by whoever asks for columns, not for every fit of every chain.
            warnings.simplefilter("ignore", SchemaWarning)
            warnings.simplefilter("ignore", OutOfPriorWarning)
            if not kind.is_class:
                aside = strays_beside(X, known)
                count = np.ones(len(known)) if weight is None else weight
                if self._n_known >= _FEWEST_STRAIGHT and _may_be_straight(kind, known[shown & ~aside]):
                    self.straight = straight_part(X, known, count, reach, rng, aside)
                    self.warp, aside = self.straight.warp, self.straight.aside
                    settings = {"companions": (), **settings}
                if aside.any():
                    self.strays = Strays.of(known, count, aside)
                    X, known, shown = X[~aside], known[~aside], shown[~aside]
                    weight = None if weight is None else weight[~aside]
                y = known if self.straight is None else self.straight.part.residuals
            elif kind.is_class:
                # Trees tell levels apart that differ by rules: Brier score .475 -> .463 on six tables of 200 rows, for
                # a tenth more time.
                beside = suited(self._n_known, len(np.unique(known[shown])))
                settings = {"companions": [name for name in beside if name in ("ridge", "trees")], **settings}
            self._spread = float(known[shown].std())
            rows = np.flatnonzero(shown)
            counted = None if weight is None else weight[rows]
            self.estimator = make(**settings).fit(X.iloc[rows], y[rows], sample_weight=counted)

    def draw(self, X: pd.DataFrame, rng: np.random.Generator) -> pd.Series:
        [answer] = answers([self], [X])
        return self.kind.cells(self.drawn(answer, X, rng), X.index)

    def drawn(self, distribution: Any, X: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
        """One draw from each of the distributions that the network gave for the rows: numbers on the grid, or codes."""
        if isinstance(distribution, CategoricalPredictive):
            u = rng.random(distribution.batch_shape[0])
            probs = torch.softmax(distribution.log_probs.double() / self.temperature, -1).numpy()
            assert self.kind.levels is not None
            self.shares = shares_of(probs, self.estimator.classes_, len(self.kind.levels), self._tilt)
            return drawn_codes(probs, self.estimator.classes_, u, self._tilt)
        numbers = self.warp.back(self._noise(distribution, X).draw(rng))
        self.common = self.kind.snap(numbers)
        return self.common if self.strays is None else self.kind.snap(self.strays.mixed(numbers, rng))

    def straight_at(self, X: pd.DataFrame) -> np.ndarray:
        """(n,) the straight part, on the column's scale; 0 without one."""
        return np.zeros(len(X)) if self.straight is None else self.straight(self.straight.encoded(X))

    def parts(self, distribution: HistogramPredictive, X: pd.DataFrame) -> list[Part]:
        """On the column's scale: the network's, the normal one with its mean and spread, that of the straight part."""
        straight, mean = self.straight_at(X), distribution.mean.double().numpy()
        said = Said(distribution, straight + (self.believed - self.widened) * mean, self.widened)
        if self.straight is None:
            return [said]
        std = self.widened * distribution.variance.double().sqrt().numpy()
        even = np.full(len(X), max(float(np.sqrt(self.straight.part.variance)), _TINY))
        return [said, Normal(straight + self.believed * mean, np.maximum(std, _TINY)), Normal(straight, even)]

    def _noise(self, distribution: HistogramPredictive, X: pd.DataFrame) -> Noise:
        # P(Y <= low) would cut off the zeros of amounts that are 0 or more, as many as there are.
        step = self.kind.half_step + _AT_BOUND * self._spread
        low, high = self.warp.there(np.array([self.kind.low - step, self.kind.high + step]))
        parts = self.parts(distribution, X)[: len(self.noise_shares)]
        if self.straight is not None and np.isfinite(self.straight.most):
            high = np.minimum(high, self.straight_at(X) + self.straight.most)
        return Noise(len(X), parts, self.noise_shares, (low, high))

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
        noise, step = self._noise(distribution, X), self.kind.half_step
        if 2 * step < _FINE * self._spread:
            found = noise.log_density(self.warp.there(numbers)) + self.warp.log_slope(numbers)
            # Values that repeat have a mass already, whatever the unit or the grid.
            unit = np.log(2 * step) if step else -self.kind.log_unit
            found = found + unit * ~np.isin(numbers, self.estimator.atoms_)
        else:
            found = noise.log_mass(self.warp.there(numbers - step), self.warp.there(numbers + step))
            unit = np.log(2 * step)
        return found if self.strays is None else self.strays.log_mixed(found, numbers, np.exp(unit))


def _may_be_straight(kind: Kind, known: np.ndarray) -> bool:
    """Whether values do not come up again and again, or all do as steps of one scale, most often in its middle."""
    atoms = find_atoms(known)
    if not len(atoms):
        return True
    steps, counts = np.unique(known, return_counts=True)
    is_scale = kind.digits is not None and len(atoms) == len(steps) and _STEPS[0] <= len(steps) <= _STEPS[1]
    return bool(is_scale and 0 < counts.argmax() < len(steps) - 1)


def answers(models: Sequence[NetworkColumn], tables: Sequence[pd.DataFrame]) -> list[Any]:
    """What each network says of its own rows, in shared forward passes."""
    fitted = [model.estimator.answering() for model in models]
    rows = [one.encoder.transform(table) for one, table in zip(fitted, tables)]
    [said] = distributions(fitted, rows, max(1, *map(len, rows)))
    return said
