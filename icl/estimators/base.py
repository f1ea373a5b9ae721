"""What the classifier and the regressor share: fitting keeps the labelled rows as context, predicting asks the model.

An answer is the average of `n_estimators` members, each of which sees the same table in another guise; see
`icl.prediction.member`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, is_classifier

from icl.estimators.blend import HeldOut
from icl.estimators.chain import check_one_target
from icl.estimators.folds import cross_fitted_points
from icl.estimators.options import device_of
from icl.estimators.plan import Plan, plan_of
from icl.estimators.prior_limits import warn_of_size
from icl.estimators.timed import TimedMixin
from icl.estimators.weights import worth_of
from icl.network.distribution import bin_centers
from icl.prediction.alone import by_itself
from icl.prediction.blend import Blend, usual_temperature
from icl.prediction.companions.columns import Columns
from icl.prediction.companions.protocol import Labelled
from icl.prediction.doubt import Doubt
from icl.prediction.forward import prepare
from icl.prediction.guise import Limits, draw_guises, stacks
from icl.prediction.member import Member
from icl.prediction.together import Fitted, distributions
from icl.releases.folder import load_release
from icl.releases.names import resolve_checkpoint
from icl.releases.reader_file import load_reader
from icl.tables import schema
from icl.tables.encoder import TableEncoder
from icl.tables.target import as_column, class_codes

_INSTEAD = {
    "predict_interval": "intervals are of numbers: a classifier has predict_set and predict_proba",
    "predict_quantiles": "quantiles are of numbers: a classifier has predict_proba",
    "predict_set": "sets are of classes: a regressor has predict_interval",
    "predict_proba": "probabilities are of classes: a regressor has predict_distribution and predict_quantiles",
}


class InContextEstimator(TimedMixin, BaseEstimator):
    """Base of `ICLClassifier` and `ICLRegressor`, which document the parameters."""

    _offsets_C = np.empty(0)  # of classes, where none are chosen; estimators that were saved before have none

    def __init__(
        self,
        checkpoint=None,
        n_estimators="auto",
        device="auto",
        random_state=0,
        softmax_temperature="auto",
        calibrate=False,
        max_rows="auto",
        memory_gb=2.0,
        fit_mode="auto",
        finetune=False,
        companions="auto",
        fast_queries=False,
        time_budget=None,
        stacking=None,
        quality="default",
    ):
        self.checkpoint = checkpoint
        self.n_estimators = n_estimators
        self.device = device
        self.random_state = random_state
        self.softmax_temperature = softmax_temperature
        self.calibrate = calibrate
        self.max_rows = max_rows
        self.memory_gb = memory_gb
        self.fit_mode = fit_mode
        self.finetune = finetune
        self.companions = companions
        self.fast_queries = fast_queries
        self.time_budget = time_budget
        self.stacking = stacking
        self.quality = quality

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags

    def __getstate__(self):
        # By reference: the weights are not in a pickle, and what members make of the context is made again.
        return {key: value for key, value in super().__getstate__().items() if key not in ("_members", "_voices")}

    def __setstate__(self, state):
        super().__setstate__(state)
        if "_guises" in state:
            self._dress(self._guises)

    def _fit(self, X, y: np.ndarray, n_classes: int | None, weight=None, origin=None, atoms=()) -> None:
        """Encode and keep the context.

        Args:
            y: (n,) codes 0..C-1, or standardised targets.
            weight, origin: of the rows, as from `icl.estimators.weights.shown_rows`.
            atoms: of the standardised targets (`icl.prediction.atoms`).
        """
        started = time.perf_counter()
        encoder = TableEncoder(type(self).__name__).fit(X)
        context_NF = encoder.transform(X)
        n_rows, n_features = context_NF.shape
        if len(y) != n_rows:
            raise ValueError(
                f"X has {n_rows} rows, but y has {len(y)} values: Found input variables with inconsistent numbers of "
                f"samples: {[n_rows, len(y)]}. Pass one label per row."
            )
        config = self._released().config
        size = n_rows, n_features, n_classes
        plan = plan_of(self, n_rows, n_classes, config)
        plan = self._plan_in_time(plan, size, config, time.perf_counter() - started)
        warn_of_size(self.checkpoint_name(), plan, n_rows, n_features, config)
        schema.warn(encoder.said_, "X is not read as it stands")
        seed = self.random_state.randint(2**31) if hasattr(self.random_state, "randint") else self.random_state
        limits = Limits(config.max_features, config.max_classes, plan.n_rows)
        table = context_NF, y, n_classes
        shown = encoder.n_levels_, *table, plan.n_made, weight
        guises = draw_guises(plan.n_members, seed, limits, *shown, with_components=True)
        # Nothing is kept before everything is checked: a failed fit leaves the earlier one whole.
        self._tuned, report = self._finetune(context_NF, encoder.n_levels_, y, n_classes, seed, plan)
        if report is not None:
            self.finetune_ = report
        else:
            self.__dict__.pop("finetune_", None)  # of an earlier fit
        self._encoder, self._context_NF, self._y_N, self._guises = encoder, context_NF, y, guises
        self._worth = worth_of(context_NF, y, weight, origin)
        self._plan, self._companion_seed, self._n_bins = plan, seed or 0, config.n_bins
        self._atoms_A = np.asarray(atoms, dtype=np.float64)
        made = self._dress(guises)
        self.blend_ = self._choose_blend(made, n_classes, seed)
        if self.fit_mode == "cache":
            prepare(self._model(), [c for member in self._members for c in member.contexts], self.memory_gb)
        self.left_out_, self.n_members_ = list(plan.left_out), plan.n_members
        self.temperature_, self._offsets_C = self._sureness()
        self.n_features_in_ = len(encoder.columns_)
        self.dropped_columns_ = encoder.dropped_columns_
        self.__dict__.pop("feature_names_in_", None)  # of an earlier fit
        if encoder.has_names_ and all(isinstance(name, str) for name in encoder.columns_):
            self.feature_names_in_ = np.array(encoder.columns_, dtype=object)

    def _dress(self, guises) -> Columns | None:
        """Make of guises members and voices; returns the columns that they show."""
        context_NF, encoder, y_N = self._context_NF, self._encoder, self._y_N
        made = None
        if any(guise.stacked for guise in guises):
            n_classes = int(y_N.max()) + 1 if is_classifier(self) else None
            worth = self._worth
            labelled = Labelled(context_NF, encoder.n_levels_, y_N, n_classes, worth.group_n, worth.weight_n)
            apart = guises[0].rows if guises[0].apart else None
            made = Columns(labelled, self._plan.companions, self._companion_seed, apart, self._plan.n_learnt)
        self.companions_ = [] if made is None else made.shown
        heard = self._plan.n_held_out > 0
        self._voices = made.voices(self._n_bins, self._atoms_A) if made is not None and heard else []
        shown = (context_NF, y_N, encoder.is_categorical_, made, self._atoms_A)
        self._members = [Member(guise, *shown) for guise in guises]
        return made

    def _sureness(self) -> tuple[float, np.ndarray]:
        """The temperature, and (C,) offsets of classes or none."""
        if self.softmax_temperature != "auto":
            return float(self.softmax_temperature), np.empty(0)
        if self._tuned is not None and is_classifier(self):  # on the table's own rows, hence as sure as they say
            return 1.0, np.empty(0)
        return self.blend_.temperature, np.array(self.blend_.offsets)

    def _choose_blend(self, made: Columns | None, n_classes: int | None, seed) -> Blend:
        if made is None or not self._voices:
            return Blend(temperature=usual_temperature(n_classes))
        shown = (self._context_NF, self._y_N, self._encoder.is_categorical_, made, self._atoms_A)
        held_out = HeldOut(shown, self._worth, is_classifier(self), seed or 0)
        # Of the network before it was tuned: tuned on these very labels, it would seem better than it is.
        return held_out.blend(self._released(), self._guises, self._voices, self._plan.n_held_out, self.memory_gb)

    def _finetune(self, context_NF: np.ndarray, n_levels_F: np.ndarray, y: np.ndarray, n_classes, seed, plan):
        """The model tuned on the context if `finetune` asks for it and it helps, else None; and what was found."""
        if self.finetune is False:
            return None, None
        from icl.finetuning.one_table import default_config, tune_on_table

        config = default_config() if self.finetune is True else self.finetune
        if seed is not None:
            config = replace(config, seed=int(seed))
        # Tasks are shorter than the table: "auto" means those of their own length.
        own = "auto" if isinstance(self.companions, str) and self.stacking is None else plan.companions
        model = _in_groups(self._base_model(), plan)
        return tune_on_table(model, context_NF, n_levels_F, y, n_classes, config, own)

    def _model(self):
        """What answers: the model tuned in `fit` if there is one, else that of the checkpoint, or its reader."""
        tuned = vars(self).get("_tuned")
        if tuned is not None:
            return tuned.to(device_of(self.device))
        return _in_groups(self._released(), self._plan)

    def _released(self):
        return load_reader(self.checkpoint, device_of(self.device)) if self.fast_queries else self._base_model()

    def answering(self) -> Fitted:
        """What answers for the table of `fit`; several such tables can be asked in shared passes."""
        check_one_target(self, "_context_NF")
        settings = (self.temperature_, self.memory_gb, self.fit_mode)
        return Fitted(
            self._members, self._voices, self._model(), self._average, *settings, self._encoder, self._doubt()
        )

    def _doubt(self) -> Doubt | None:
        made = next((member.made for member in self._members if member.made is not None), None)
        if made is None or not self._voices:
            return None
        shares_V = np.array(self.blend_.shares[1:])
        if is_classifier(self):
            return Doubt(made.surprise, shares_V, np.eye(int(self._y_N.max()) + 1), True)
        values_T = np.concatenate([bin_centers(self._n_bins), self._atoms_A])
        return Doubt(made.surprise, shares_V, values_T[:, None], False)

    def _base_model(self):
        if isinstance(self.checkpoint, torch.nn.Module):
            return self.checkpoint.to(device_of(self.device)).eval()
        return load_release(self.checkpoint, device_of(self.device))

    def checkpoint_name(self) -> str:
        """How messages call the checkpoint."""
        given = self.checkpoint
        return type(given).__name__ if isinstance(given, torch.nn.Module) else repr(given or resolve_checkpoint().name)

    if not TYPE_CHECKING:  # a type checker would believe in any name

        def __getattr__(self, name):
            """Only for what is not there: what the other kind of estimator has, with what this one has instead."""
            hint = f"; {_INSTEAD[name]}" if name in _INSTEAD else ""
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    def _encode_rows(self, X) -> np.ndarray:
        check_one_target(self, "_context_NF")
        differences: list[str] = []
        rows_MF = self._encoder.transform(X, differences)
        schema.warn(differences, "X differs from the rows of fit")
        return rows_MF

    def _average(self, log_probs: Sequence[torch.Tensor], temperature: float):
        """The predictive distribution, from the (M, C) or (M, K) log-probabilities of each member and voice."""
        raise NotImplementedError

    def _predict_blocks(self, X, reduce) -> np.ndarray:
        """`reduce` of the predictive distribution of every row of X: (n, ...)."""
        rows_MF = self._encode_rows(X)
        return np.concatenate([reduce(d) for [d] in distributions([self.answering()], [rows_MF])])

    def _predict_whole(self, X):
        rows_MF = self._encode_rows(X)
        [whole] = next(distributions([self.answering()], [rows_MF], block_rows=max(1, len(rows_MF))))
        return whole

    def predict_folds(self, X_labeled, y_labeled, folds, X_unlabeled) -> tuple[np.ndarray, np.ndarray]:
        """Point predictions for cross-fitting: no labelled row is predicted from a context that contains it.

        The folds of equal size are answered in one batch. Leaves this estimator as it was.

        Args:
            X_labeled, y_labeled: n labelled rows.
            folds: (n,) integer fold of each labelled row.
            X_unlabeled: m rows.
        Returns:
            (n,) prediction of each labelled row from the other folds, and (K, m) predictions of the unlabelled rows
            from the context of each fold, in the order of sorted fold numbers. A prediction is the mean for a
            regressor, the probability of `classes_[1]` for a classifier. A context whose labels are all the same
            predicts that label.
        Raises:
            ValueError: for fewer than two folds, a fold whose context cannot be fitted, or more than two classes.
        """
        folds = np.asarray(folds)
        if folds.shape != (len(y_labeled),) or len(np.unique(folds)) < 2:
            raise ValueError(
                f"folds must give one integer for each of the {len(y_labeled)} labelled rows and name at least two "
                f"folds, got shape {folds.shape} with {len(np.unique(folds))} fold(s)."
            )
        y_labeled = pd.Series(as_column(y_labeled))
        if is_classifier(self) and (n_classes := len(class_codes(y_labeled)[0])) != 2:
            raise ValueError(f"predict_folds needs two classes, y has {n_classes}; make it one class against the rest.")
        event = class_codes(y_labeled)[0][1] if is_classifier(self) else None
        of_label = float if event is None else lambda label: float(label == event)
        return cross_fitted_points(self, X_labeled, y_labeled, folds, X_unlabeled, self._point, of_label)

    def companions_alone(self, X) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """What each companion that is shown, ridge apart, says of the rows of X by itself, by name.

        (n,) numbers in the units of y, or (n, C) probabilities; and the classes that these are of.
        """
        check_one_target(self, "_context_NF")
        made = self._members[0].made
        said = {} if made is None else made.alone(self._encode_rows(X))
        if is_classifier(self):
            return {name: (probs, self.classes_) for name, probs in said.items()}
        return {name: (numbers * self._scale + self._loc, None) for name, numbers in said.items()}

    def refuse_seen_rows(self, labeled: pd.DataFrame, unlabeled: pd.DataFrame) -> None:
        """Raise if the checkpoint was fine-tuned on rows of an analysis; `icl.inference.infer` asks before it starts.

        What `finetune=` does inside `fit` needs no refusal: it is cross-fitted with the rest.

        Raises:
            ValueError: saying how many rows, and what to do (see `icl.releases.seen`).
        """
        if isinstance(self.checkpoint, torch.nn.Module):
            return
        from icl.releases.seen import read_seen, refuse_seen

        if seen := read_seen(resolve_checkpoint(self.checkpoint)):
            refuse_seen(seen, labeled, unlabeled, self.checkpoint_name())


def _in_groups(model, plan: Plan):
    """The model as it reads this table: what is tuned, judged and asked is one."""
    return model if stacks(plan.n_made, model.config.max_features) else by_itself(model)
