"""Columns made of one column: parts of dates, and what the letters of a text say. Learnt from context rows only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from icl.tables.cells import all_text, is_text, text_of
from icl.tables.roles import reads_as_text

# Letters in twos to fives within words, by hash; and how many directions of them, at most a twentieth of the rows
_HASHES, _MOST_DIRECTIONS, _ROWS_A_DIRECTION = 1 << 12, 12, 20
# Fewer dates than this tell nothing of weeks and years.
_FEWEST_DATES = 20
_DAYS_OF_A_YEAR = 365.2425


@dataclass
class TextParts:
    """A column of sentences as a few numbers: weighted counts of letters in a row, along their main directions.

    Latent semantic analysis (Deerwester et al. 1990, doi:10.1002/(SICI)1097-4571(199009)41:6<391::AID-ASI1>3.0.CO;2-9)
    of hashed character n-grams. Nothing is downloaded, and nothing of the outcome is used.
    """

    name: Any
    weights: np.ndarray = field(default_factory=lambda: np.ones(_HASHES))
    """(H,) inverse document frequencies."""
    directions: np.ndarray = field(default_factory=lambda: np.zeros((0, _HASHES)))
    """(k, H) right singular vectors."""
    center: np.ndarray = field(default_factory=lambda: np.zeros(0))
    scale: np.ndarray = field(default_factory=lambda: np.ones(0))

    @classmethod
    def learn(cls, series: pd.Series) -> TextParts:
        from sklearn.decomposition import TruncatedSVD

        parts = cls(series.name)
        known = series.dropna()
        counts = _counts(known)
        n_with = np.asarray((counts > 0).sum(axis=0)).ravel()
        parts.weights = np.log((1 + len(known)) / (1 + n_with)) + 1
        k = int(np.clip(len(known) // _ROWS_A_DIRECTION, 2, _MOST_DIRECTIONS))
        with np.errstate(divide="ignore", invalid="ignore"):  # shares of no variance, of texts all the same
            parts.directions = TruncatedSVD(k, random_state=0).fit(parts._weighted(known)).components_
        values = parts._weighted(known) @ parts.directions.T
        parts.center, scale = values.mean(axis=0), values.std(axis=0)
        parts.scale = np.where(scale > 1e-9, scale, 1.0)
        return parts

    @property
    def n_levels(self) -> list[int]:
        return [0] * len(self.directions)

    def read(self, series: pd.Series) -> np.ndarray:
        """(n, k) standardised; NaN where there is no text."""
        texts = pd.Series(text_of(series.astype(object)).to_pylist(), dtype=object)
        out = np.full((len(texts), len(self.directions)), np.nan)
        has = texts.map(bool).to_numpy(bool)
        if has.any():
            out[has] = (self._weighted(texts[has]) @ self.directions.T - self.center) / self.scale
        return out

    def _weighted(self, texts: pd.Series) -> Any:
        from sklearn.preprocessing import normalize

        return normalize(_counts(texts).multiply(self.weights).tocsr())


def _counts(texts: pd.Series) -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer

    hasher = HashingVectorizer(
        analyzer="char_wb", ngram_range=(2, 5), n_features=_HASHES, alternate_sign=False, norm=None, dtype=np.float64
    )
    counts = hasher.transform(texts.astype(str))
    counts.data = 1 + np.log(counts.data)
    return counts


@dataclass
class DateParts:
    """Of a column of dates, beside its trend: season, weekday and time of day, as far as they vary."""

    name: Any
    parts: list[str]

    @classmethod
    def learn(cls, days: np.ndarray, name: Any) -> DateParts | None:
        """Of (n,) days since 1970, NaN where missing; None if too few dates, or too short a time, tell nothing."""
        known = np.unique(days[~np.isnan(days)])
        if len(known) < _FEWEST_DATES:
            return None
        parts = []
        if np.ptp(known) > _DAYS_OF_A_YEAR / 2:
            parts += ["season_sin", "season_cos"]
        if len(np.unique(np.floor(known) % 7)) > 1:
            parts.append("weekday")
        if len(np.unique(known % 1)) > 1:
            parts += ["hour_sin", "hour_cos"]
        return cls(name, parts) if parts else None

    @property
    def n_levels(self) -> list[int]:
        return [7 if part == "weekday" else 0 for part in self.parts]

    def read(self, days: np.ndarray) -> np.ndarray:
        """(n, k), NaN where missing; a weekday is a code, 0 a Monday."""
        turns = {"season": days / _DAYS_OF_A_YEAR, "hour": days % 1}
        columns = []
        for part in self.parts:
            what, _, wave = part.partition("_")
            if what == "weekday":
                columns.append((np.floor(days) + 3) % 7)  # 1970 began on a Thursday
            else:
                columns.append(np.sqrt(2) * (np.sin if wave == "sin" else np.cos)(2 * np.pi * turns[what]))
        return np.stack(columns, axis=1)


def takes_text(series: pd.Series) -> bool:
    """Whether a column is read by its letters: sentences, hardly two alike."""
    return is_text(series) and all_text(series) and reads_as_text(series)
