"""Tables of Arrow, Hugging Face and polars are taken wherever pandas' are, and answered alike."""

import importlib.util
import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone, is_classifier
from sklearn.linear_model import LinearRegression, LogisticRegression

import icl
from icl import BetterBaselineWarning, ICLClassifier, ICLRegressor, inference, predict_many
from icl.inference import OLS, infer


def to_arrow(frame):
    return pa.Table.from_pandas(frame, preserve_index=False)


def to_polars(frame):
    return pytest.importorskip("polars").from_pandas(frame)


def to_hugging_face(frame):
    import datasets

    return datasets.Dataset.from_pandas(frame, preserve_index=False)


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=60), "k": rng.choice(["u", "v"], 60)})
    table["day"] = pd.date_range("2024-01-01", periods=60).strftime("%d.%m.%Y")
    return table.assign(y=table["a"] + (table["k"] == "u") + 0.1 * rng.normal(size=60))


@pytest.fixture
def regressor(tiny_release):
    return ICLRegressor(tiny_release, n_estimators=1, companions=())


@pytest.mark.parametrize("made", [to_arrow, to_hugging_face, to_polars])
def test_every_entry_takes_tables_of_other_kinds(made, frame, tiny_release, regressor):
    X, targets = made(frame[["a", "k", "day"]]), frame[["y", "a"]]
    y = made(frame)["y"]
    model, alike = clone(regressor), clone(regressor).fit(frame[["a", "k", "day"]], frame["y"])
    assert_allclose(model.fit(X, y).predict(X), alike.predict(frame[["a", "k", "day"]]))
    ends = model.predict_interval(X, 0.8, folds=3, as_frame=True)
    assert_allclose(ends, alike.predict_interval(frame[["a", "k", "day"]], 0.8, folds=3))
    assert_allclose(model.predict_distribution(X).mean, alike.predict(X))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BetterBaselineWarning)  # random weights
        assert model.check_baseline().loss == alike.check_baseline().loss
    folds = np.arange(60) % 2
    assert_allclose(model.predict_folds(X, y, folds, X)[0], alike.predict_folds(X, frame["y"], folds, X)[0])
    [many] = predict_many([(X, y, X)], clone(regressor))
    assert_allclose(many, model.predict(X), rtol=1e-4, atol=1e-5)
    classifier = ICLClassifier(tiny_release, n_estimators=1).fit(made(frame[["a", "day"]]), made(frame)["k"])
    assert classifier.predict_set(made(frame[["a", "day"]]), 0.8, folds=2).shape == (60, 2)
    several = clone(regressor).fit(made(frame[["k", "day"]]), made(targets))
    assert several.predict(made(frame[["k", "day"]])).shape == (60, 2)
    part = frame.assign(y=frame["y"].where(np.arange(60) < 30))
    found, alone = (infer(OLS("y ~ a"), rows, predictor=clone(regressor), folds=2) for rows in (made(part), part))
    assert_allclose(found.estimate, alone.estimate, rtol=1e-6)


class Column:
    """What a column of polars shows: no pandas, no truth value, no `iloc`."""

    def __init__(self, series):
        self._series = series

    def __len__(self):
        return len(self._series)

    def __iter__(self):
        return iter(self._series.tolist())

    def __array__(self, dtype=None, copy=None):
        return self._series.to_numpy(dtype)

    def __bool__(self):
        raise TypeError("the truth value of a column is ambiguous")

    def to_pandas(self):
        return self._series.copy()


class Table(Column):
    """What a table of polars shows, where polars is not installed."""

    @property
    def columns(self):
        return list(self._series.columns)

    @property
    def shape(self):
        return self._series.shape

    def __iter__(self):
        return (Column(self._series[name]) for name in self._series)

    def __getitem__(self, name):
        return Column(self._series[name])


def polars_if_there(frame):
    return to_polars(frame) if importlib.util.find_spec("polars") else Table(frame)


@dataclass(frozen=True)
class Given:
    """Tables of one kind, `made` of pandas', and a release to answer with."""

    frame: pd.DataFrame
    release: object
    made: Callable = lambda frame: frame

    def __call__(self, *names):
        return self.made(self.frame[list(names) or list(self.frame)])

    def rows(self, start, end, *more):
        return self.made(self.frame[["a", "n", *more]][start:end])

    def fitted(self, kind, y):
        return kind(self.release, n_estimators=1, companions=()).fit(self("a", "n", "day"), self(y)[y])

    def part(self):
        """Numbers where half of the rows lack y."""
        return self.made(self.frame[["a", "n", "y"]].assign(y=self.frame["y"].where(np.arange(len(self.frame)) < 30)))

    def decided(self):
        return self.made(self.frame[["k", "n"]].assign(d=(self.frame["n"] + self.frame["a"] > 4) * 1.0))

    def gaps(self):
        return self.made(self.frame.assign(a=self.frame["a"].where(np.arange(len(self.frame)) % 5 > 0)))


PARITY = inference.Disparity("d", "k")
REGRESSOR = {
    "fit": lambda model, t: model.temperature_,
    "predict": lambda model, t: model.predict(t("a", "n", "day")),
    "predict_distribution": lambda model, t: model.predict_distribution(t("a", "n", "day")).mean.numpy(),
    "predict_quantiles": lambda model, t: model.predict_quantiles(t("a", "n", "day"), [0.1, 0.9]),
    "predict_interval": lambda model, t: model.predict_interval(t("a", "n", "day"), method="split", as_frame=True),
    "companions_alone": lambda model, t: len(model.companions_alone(t("a", "n", "day"))),
    "refuse_seen_rows": lambda model, t: model.refuse_seen_rows(t.frame[:5], t.frame[5:]),
}
CLASSIFIER = {
    "fit": lambda model, t: model.classes_,
    "predict": lambda model, t: model.predict(t("a", "n", "day")),
    "predict_proba": lambda model, t: model.predict_proba(t("a", "n", "day")),
    "predict_distribution": lambda model, t: model.predict_distribution(t("a", "n", "day")).probs.numpy(),
    "predict_set": lambda model, t: model.predict_set(t("a", "n", "day"), method="split"),
}
BOTH = {
    "embed": lambda model, t: model.embed(t("a", "n", "day")),
    "explain": lambda model, t: model.explain(t("a", "n", "day"), budget=8).values,
    "nearest_rows": lambda model, t: model.nearest_rows(t("a", "n", "day"), 2),
    "partial_dependence": lambda model, t: model.partial_dependence(t("a", "n", "day"), "a", coverage=None).frame,
    "predict_folds": lambda model, t: model.predict_folds(
        t("a", "n"), t("k")["k"] if is_classifier(model) else t("y")["y"], np.arange(60) % 2, t("a", "n")
    )[1],
    "score": lambda model, t: model.score(t("a", "n", "day"), t("k")["k"] if is_classifier(model) else t("y")["y"]),
}
IMPUTER = {
    "fit": lambda model, t: model.fit(t.gaps()).transform(t.gaps()),
    "transform": lambda model, t: model.fit(t.frame).transform(t.gaps()),
    "fit_transform": lambda model, t: model.fit_transform(t.gaps()),
}
LINEAR = LinearRegression()
JOINT = {"model": "quick", "orders": 1}
# How each public function, and each method of a public class, is called with tables: tables of one kind -> an answer.
ENTRIES = {
    **{f"ICLRegressor.{n}": lambda t, ask=ask: ask(t.fitted(ICLRegressor, "y"), t) for n, ask in REGRESSOR.items()},
    **{f"ICLRegressor.{n}": lambda t, ask=ask: ask(t.fitted(ICLRegressor, "y"), t) for n, ask in BOTH.items()},
    **{f"ICLClassifier.{n}": lambda t, ask=ask: ask(t.fitted(ICLClassifier, "k"), t) for n, ask in CLASSIFIER.items()},
    **{f"ICLClassifier.{n}": lambda t, ask=ask: ask(t.fitted(ICLClassifier, "k"), t) for n, ask in BOTH.items()},
    **{f"ICLImputer.{n}": lambda t, ask=ask: ask(icl.ICLImputer(budget=0), t) for n, ask in IMPUTER.items()},
    "audit": lambda t: (
        icl.audit(t("a", "n"), t("a", "n"), holdout=t("a", "n"), detector=LogisticRegression()).memorised.n_exact
    ),
    "augment": lambda t: icl.augment(t("a", "n"), t("k")["k"], rows=3, method="smote")[0],
    "compare_augmentation": lambda t: (
        icl.compare_augmentation(
            LogisticRegression(), t("a", "n"), t("k")["k"], ["mixup"], amounts=[1.0], folds=2
        ).frame
    ),
    "generate": lambda t: icl.generate(t(), 5, **JOINT),
    "generate, given": lambda t: icl.generate(t(), 60, given=t("k"), **JOINT),
    "generation_time": lambda t: icl.generation_time(t(), given=t("k"), **JOINT).fits,
    "imputation_time": lambda t: icl.imputation_time(t.gaps(), budget=0).fits,
    "impute": lambda t: next(iter(icl.impute(t.gaps(), 2, budget=0))),
    "log_density": lambda t: icl.log_density(t(), t(), **JOINT),
    "outlier_scores": lambda t: icl.outlier_scores(t(), folds=2, **JOINT),
    "predict_many": lambda t: icl.predict_many(
        [(t("a", "n"), t("y")["y"], t("a", "n"))], ICLRegressor(t.release, n_estimators=1, companions=())
    )[0],
    "tipping_point": lambda t: icl.tipping_point("ols: y ~ a", t.gaps(), "a", [0.0], m=2, options={"budget": 0}).frame,
    "inference.infer": lambda t: inference.infer("ols: y ~ a", t.part(), predictor=LINEAR, folds=2).estimate,
    "inference.infer, labeled": lambda t: (
        inference.infer(
            "ols: y ~ a", labeled=t.rows(0, 30, "y"), unlabeled=t.rows(30, 60), predictor=LINEAR, folds=2
        ).estimate
    ),
    "inference.infer, predictions": lambda t: inference.infer("mean: y", t.part(), predictions=t("a")["a"]).estimate,
    "inference.cross_fit": lambda t: inference.cross_fit(LINEAR, t("a", "n"), t("y")["y"], t("a", "n"), 2).f_labeled,
    "inference.fit_synsurr": lambda t: inference.fit_synsurr("y ~ a", t.part(), predictions="n").estimate,
    "inference.posterior": lambda t: (
        inference.posterior(
            "mean: y", t("a", "n", "y"), ICLRegressor(t.release, n_estimators=1, companions=()), draws=3, rows=20
        ).draws
    ),
    "inference.equalize": lambda t: inference.equalize(PARITY, t.decided(), "n", bound=0.2).thresholds,
    "inference.Equalized.decide": lambda t: inference.equalize(
        PARITY, Given(t.frame, t.release).decided(), "n", bound=0.2
    ).decide(t()),
    "inference.Monitor.update": lambda t: inference.monitor(inference.Mean("y")).update(t()).interval(),
}
# Take folders and files, what was read before, or models and results; and `finetune` and `compare_checkpoints`, which
# train or take minutes:
# tests/finetuning holds how they read tables.
OTHERS = {
    "ICLClassifier.predict_dataset", "ICLRegressor.predict_dataset", "ICLClassifier.refuse_seen_rows",
    "ICLClassifier.companions_alone", "finetune", "compare_checkpoints",
    "inference.Design.check", "inference.Transport.check",
}  # fmt: skip


@pytest.fixture(scope="module")
def given(tiny_release):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=60), "n": rng.integers(0, 9, 60), "k": rng.choice(["u", "v"], 60)})
    frame["day"] = pd.date_range("2024-01-01", periods=60)
    return Given(frame.assign(y=frame["a"] + (frame["k"] == "u") + 0.1 * rng.normal(size=60)), tiny_release)


@pytest.mark.parametrize("number", range(len(ENTRIES)), ids=list(ENTRIES))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_entry_answers_as_for_pandas(number, given):
    """Of the stand-in, and of one of the others in turn."""
    answer = [*ENTRIES.values()][number]
    wanted = answer(given)
    for made in (Table, [to_arrow, to_hugging_face, polars_if_there][number % 3]):
        same(answer(replace(given, made=made)), wanted)


def same(found, wanted):
    assert type(found) is type(wanted)
    if isinstance(wanted, pd.DataFrame | pd.Series):
        checked = pd.testing.assert_frame_equal if wanted.ndim == 2 else pd.testing.assert_series_equal
        checked(found, wanted, rtol=1e-4, check_dtype=False)
    elif np.asarray(wanted).dtype.kind in "fiu":
        assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    else:
        assert np.array_equal(found, wanted)


def test_no_entry_is_forgotten():
    """Whatever public takes tables, by the names that such arguments have, is among those above."""
    takes = {"X", "table", "tables", "labeled", "real", "batch", "X_labeled"}

    def is_entry(function):
        return callable(function) and takes & set(inspect.signature(function).parameters)

    found = set()
    for package, prefix in ((icl, ""), (inference, "inference.")):
        for name in package.__all__:
            owner = getattr(package, name)
            if inspect.isfunction(owner) and is_entry(owner):
                found.add(prefix + name)
            elif inspect.isclass(owner) and not issubclass(owner, inference.Estimand):  # those get tables that are read
                methods = [m for m, function in inspect.getmembers(owner, inspect.isfunction) if is_entry(function)]
                found |= {f"{prefix}{name}.{method}" for method in methods if not method.startswith("_")}
    assert found - {entry.split(",")[0] for entry in ENTRIES} - OTHERS == set()
