"""Rows of a table as vectors, from a fitted estimator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from icl.estimators.base import InContextEstimator
from icl.prediction.embedding import embed
from icl.prediction.member import Member


class Embedded(InContextEstimator):
    """An estimator with `embed`."""

    def embed(self, X) -> np.ndarray:
        """(n, 2 d_embed) float32 vectors of the rows of X: what the network knows of a row before it answers.

        Rows with like answers for like reasons lie close; use them to look for neighbours, to cluster, to draw. The
        context is that of `fit`, without columns of companions, whose folds depend on the order of rows: a vector
        depends neither on the other rows of X nor, beyond rounding, on the order of the labelled rows (of more than
        `max_rows`, a sample of them is read). A labelled row sees its own label in the context: embed rows of the
        context only to show them, and learn from vectors of rows that `fit` did not see.

        Of several members the first one answers, which sees the table as it is; of more than ten classes, its question
        about all of them.
        """
        rows_MF = self._encode_rows(X)
        plain = replace(self._guises[0], stacked=False, apart=False)
        member = Member(plain, self._context_NF, self._y_N, self._encoder.is_categorical_)
        model = self._model() if not self.fast_queries else self._base_model()
        return embed(model, member.contexts[0], member.views(rows_MF)[0])
