"""What the mixins of this wing read of the estimator that they are mixed into: annotations, and nothing that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from icl.estimators.weights import Worth
    from icl.tables.encoder import TableEncoder


class Host:
    """Base of the mixins; `InContextEstimator`, the classifier and the regressor hold what is named here."""

    checkpoint: Any
    random_state: Any
    checkpoint_name: Any
    classes_: np.ndarray
    dropped_columns_: list
    _encoder: TableEncoder
    _context_NF: np.ndarray
    _y_N: np.ndarray
    _worth: Worth
    _far: np.ndarray | None
    _labeled: tuple[pd.DataFrame, bool, np.ndarray]
    """The table, whether its columns have names, and the targets: numbers, or codes of `classes_`."""
    _loc: float
    _scale: float
    # Methods that one mixin has of another.
    _calibration: Any
    _encode_rows: Any
    _predict_blocks: Any
    _marginal: Any
    as_classifier: Any
    _in_full: Any
