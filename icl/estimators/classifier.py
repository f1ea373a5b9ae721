"""ICLClassifier: class probabilities from labelled rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from sklearn.base import ClassifierMixin

from icl.estimators.baseline import BaselineMixin
from icl.estimators.calibration import choose_temperature
from icl.estimators.chain import Chain, for_each_target, targets_of
from icl.estimators.conformal import ConformalClassifierMixin
from icl.estimators.dataset import DatasetMixin
from icl.estimators.explained import Explained
from icl.estimators.options import check_params
from icl.estimators.prior_limits import PriorLimitsMixin
from icl.estimators.saved import SavedMixin
from icl.estimators.weights import shown_rows
from icl.network.distribution import CategoricalPredictive
from icl.tables import schema
from icl.tables.target import as_column, class_codes


class ICLClassifier(
    ClassifierMixin, ConformalClassifierMixin, BaselineMixin, PriorLimitsMixin, SavedMixin, DatasetMixin, Explained
):
    """Class probabilities for a table, from its labelled rows as context; no training.

    Any number of classes: beyond the limit of the checkpoint, a tree of questions is asked (see
    `icl.prediction.hierarchy`).

    Args:
        checkpoint: None for the best one shipped, a name of `icl.available_checkpoints()`, a release folder, or a
            TabularTransformer.
        n_estimators: members averaged; cost grows with it. "auto" is what `quality` says. Every second one also sees
            principal components of the numbers (`icl.prediction.components`). Beside a number `blend_` is chosen by
            one pass.
        device: "auto" (a CUDA device if there is one, else the CPU) or a torch device.
        random_state: int, numpy RandomState or None for fresh members at every fit.
        softmax_temperature: above 1 makes probabilities less extreme, below 1 more, 1 leaves the average of the
            members as it is. "auto" is what suits most tables, 1 / 1.05 of two classes and 1 / 1.15 of more, moved a
            little by what was held out to choose `blend_`, which from 400 rows on chooses `blend_.offsets` of the
            classes too; 1 and none for a network that `finetune` has tuned.
        calibrate: whether fit chooses the temperature, in place of `softmax_temperature`: the one that scores best
            when each fifth of the labelled rows is predicted from the others, held back towards 1; offsets of
            classes ("auto") stay. Costs five more fits and a prediction of the labelled rows.
        max_rows: context rows that a member sees. Of a longer context all members see one sample, drawn in proportion
            over y, and companions learn from all other rows, so that they answer for the sample out of context, too;
            without companions each member sees another sample. "auto" shows up to 5,000 rows as they are and 2,500 of
            more (benchmarks/long_contexts.md); without companions 10,000.
        memory_gb: what a forward pass may take, estimated; query rows and members are split to respect it.
        fit_mode: what the model read of the context is kept after the first prediction if it takes at most half of
            `memory_gb` ("auto"), read by fit already and kept up to all of it ("cache"), or read again at every
            prediction ("low_memory"). The answers are the same; a pickle never holds it.
        finetune: whether fit trains a copy of the model on the labelled rows first: True, or a `FinetuneConfig`. Three
            fifths of the rows train, a fifth chooses the rate, a fifth decides: the tuned weights are used only if
            its loss falls beyond error, else those of the checkpoint. Below 300 rows nothing is tried, with a
            warning, for an error would end cross-fitting, where folds are smaller. Folds (`predict_interval`,
            `infer`, `calibrate`) train each by itself, minutes rather than seconds.
        companions: classical models whose predictions for each row, made without this row's label, all members also
            see as columns, where they explain anything (`icl.prediction.companions`): "ridge" (ridge regressions,
            linear and on random waves), "kernel" (kernel ridge regression), "trees" (bagged extra-trees), "boosting"
            (histogram gradient boosting, for longer contexts), and scikit-learn estimators, which are cross-fitted.
            () is the network alone; "auto" is what did best: ridge, from 80 rows on trees, from 250 on kernel, from
            600 on (of numbers from 250) boosting, and boosting and trees beyond 5,000 rows.
            Wherever this estimator is fitted on some of the rows, its companions are fitted on those alone.
        fast_queries: whether query rows take the short way of the checkpoint's reader (see `icl.network.reader`): two
            to five times faster a row once the context is read, from a third of the cache or less, for answers a little
            worse (`checkpoints/README.md` says how much). Of the shipped checkpoints base has one.
        time_budget: seconds that fit and a prediction of 1,000 rows may take on this machine, or (seconds, rows) for
            another number of rows. Members, rows before the network and companions are left out until it is kept
            (`left_out_` says which; `time_estimate` tells the seconds beforehand). What takes over a minute without a
            budget says so. Planned, not guaranteed: a machine that others begin to use is slower than it was.
        stacking: deprecated; True stands for companions=("ridge",), False for ().
        quality: "fast" (one member, ridge columns), "default" (two members with ridge, kernel, trees and, from 600 rows
            on or of numbers, boosting, most of whose own voices count too (of numbers all); below 250 four members
            without kernel and boosting, below 80 without trees), or "best" (twice the members, boosting from 250 rows
            on, shares of the voices by four passes; by default one, three of classes from 600 to 5,000 rows);
            `n_estimators` and `companions` go before it.

    Attributes:
        classes_: (C,) sorted labels; `predict_proba` has a column for each.
        temperature_: the softmax temperature in use.
        finetune_: what became of `finetune`, and the losses that decided; absent if it was not asked for.
        n_members_: members averaged.
        blend_: shares of the network's members together and of the companions with a voice of their own.
        companions_: those of `companions` whose columns are shown.
        left_out_: what `time_budget` had no room for, in words.
        dropped_columns_: columns that are constant or missing throughout in the context, hence ignored.
    """

    def fit(self, X, y, sample_weight=None) -> ICLClassifier:
        """Keep the labelled rows as context.

        Args:
            X: n rows, a DataFrame or array (see `icl.tables.encoder`); missing cells are welcome.
            y: (n,) labels: text, booleans, or whole numbers; none missing. Several columns make a chain
                (`icl.estimators.chain`): `predict` gives (n, k), other methods a list; cells of y may be missing then.
            sample_weight: (n,) how much each row counts, in any unit; 0 leaves a row out, whole numbers are copies
                (see `icl.estimators.weights`).
        Raises:
            ValueError: for input that cannot be used, saying what to do.
            TypeError: for a sparse X.
        """
        check_params(self, weighted=sample_weight is not None)
        self.chain_ = None
        if (targets := targets_of(y)) is not None:
            self.chain_ = Chain.fit(self, X, targets, sample_weight)
            return self
        X, labels, weight, origin = shown_rows(X, as_column(y), sample_weight, self.max_rows)
        classes, codes = class_codes(labels)
        schema.warn(schema.respelt_labels(classes, np.bincount(codes)), "y may hold labels that nobody meant")
        self._fit(X, codes, len(classes), weight, origin)
        self.classes_ = classes
        if self.calibrate:
            self.temperature_ = choose_temperature(self, X, pd.Series(labels), codes, self._worth)
        self._keep_labeled(X, codes)
        self._warn_out_of_prior()
        return self

    @for_each_target
    def predict_distribution(self, X) -> CategoricalPredictive:
        """Distribution over `classes_` for each row of X, batch shape (n,)."""
        return self._predict_whole(X)

    @for_each_target
    def predict_proba(self, X) -> np.ndarray:
        """(n, C) probabilities, columns in the order of `classes_`."""
        return self._predict_blocks(X, lambda d: d.probs.numpy())

    @for_each_target
    def predict(self, X) -> np.ndarray:
        """(n,) most probable labels."""
        most_probable = self.predict_proba(X).argmax(axis=1)
        return self.classes_[most_probable]

    def _average(self, log_probs: Sequence[torch.Tensor], temperature: float) -> CategoricalPredictive:
        members = [CategoricalPredictive(l / temperature) for l in log_probs]
        pooled = CategoricalPredictive.pool(members, self.blend_.log_weights(len(members)))
        if not self._offsets_C.any():
            return pooled
        return CategoricalPredictive(pooled.log_probs + torch.from_numpy(self._offsets_C).to(pooled.log_probs))

    @staticmethod
    def _point(distribution: CategoricalPredictive) -> np.ndarray:
        return distribution.probs[:, 1].numpy()
