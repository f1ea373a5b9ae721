"""Batches of unlabeled rows become designs and predictions, the same wherever they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.engine.rows import Rows
from icl.inference.estimands import Estimand
from icl.inference.estimands.composition import predicted_classes
from icl.inference.frames import plain_frame

if TYPE_CHECKING:
    import pandas as pd

BATCH = 65_536
"""Rows read at a time."""
SAMPLE = 100_000
"""Rows kept for diagnostics and for starting values."""


@dataclass(frozen=True)
class FrameReader:
    """Rows, as the engine takes them, of a DataFrame or of an Arrow batch."""

    estimand: Estimand
    design: Callable[[pd.DataFrame], np.ndarray]
    predictions: list[str]
    clusters: str | None = None

    def __call__(self, batch: Any) -> Iterator[Rows]:
        frame = plain_frame(batch.to_pandas()) if hasattr(batch, "to_pandas") else batch
        if not len(frame):
            return
        if len(self.predictions) == 1 and (named := predicted_classes(self.estimand, [frame[self.predictions[0]]])):
            [Y] = named
        else:
            Y = np.empty((len(frame), len(self.predictions)))
            for j, name in enumerate(self.predictions):
                Y[:, j] = frame[name].to_numpy(dtype=float, na_value=np.nan)
        # In memory, predictions of all classes lose the base class here too.
        if self.estimand.surrogate == "classes" and Y.shape[1] == self.estimand.n_responses + 1:
            Y = Y[:, 1:]
        groups = None if self.clusters is None else frame[self.clusters].to_numpy()
        yield from Rows(self.design(frame), Y, groups=groups).chunks()

    def check(self, rows: Rows, seen: int, where: str = "") -> None:
        """ValueError for missing and infinite values, and for predictions outside of what they may be."""
        import pandas as pd

        if not np.isfinite(rows.X).all() or not np.isfinite(rows.Y).all():
            n_bad = int((~np.isfinite(rows.X).all(axis=1) | ~np.isfinite(rows.Y).all(axis=1)).sum())
            columns = ", ".join([*self.estimand.covariate_columns, *self.predictions])
            raise ValueError(
                f"{n_bad} of the unlabeled rows {seen} to {seen + len(rows)} {where}have a missing or infinite "
                f"covariate or prediction ({columns}). Fill them, or leave those rows out."
            )
        if rows.groups is not None and pd.isna(rows.groups).any():
            raise ValueError(
                f"column {self.clusters!r}, the clusters of the design, is missing on some unlabeled rows."
            )
        if self.predictions:
            f = rows.Y[:, 0] if self.estimand.n_responses == 1 else rows.Y
            self.estimand.check_predictions(f, "unlabeled")


def thinned(X: list[np.ndarray], Y: list[np.ndarray], step: int) -> tuple[list[np.ndarray], list[np.ndarray], int]:
    """Every k-th row, with k doubled whenever there are too many."""
    while sum(map(len, X)) > 2 * SAMPLE:
        X, Y, step = [np.concatenate(X)[::2]], [np.concatenate(Y)[::2]], 2 * step
    return X, Y, step
