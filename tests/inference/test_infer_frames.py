"""One table in every dress that people's tables wear: the answer is one."""

import warnings
from decimal import Decimal

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression, LogisticRegression

from icl import ICLRegressor, SchemaWarning
from icl.inference import OLS, Design, Logistic, Mean, MEstimand, Quantile, Statistic, infer

N, LABELED = 200, 60


def draw() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"y": rng.normal(size=N), "a": rng.normal(size=N), "k": list("uvwx") * 50})
    table["f"], table["i"] = table["y"] + 0.3 * rng.normal(size=N), rng.integers(0, 9, N)
    table["b"] = table["a"] > 0
    table.loc[LABELED:, "y"] = np.nan
    return table


D = draw()
ESTIMAND = OLS("y ~ a + k + i + b")
WANTED = infer(ESTIMAND, D, predictions="f")
DECIMAL = pd.ArrowDtype(pa.decimal128(9, 2))
BACKENDS = {
    "nullable": lambda: D.convert_dtypes(),
    "arrow": lambda: D.convert_dtypes(dtype_backend="pyarrow"),
    "arrow table": lambda: pa.Table.from_pandas(D),
    "dictionary": lambda: D.astype({"k": pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))}),
    "categories": lambda: D.astype({"k": "category"}),
    "unused categories": lambda: D.assign(k=pd.Categorical(D["k"], categories=list("auvwxz"))),
    "sparse": lambda: D.assign(a=pd.arrays.SparseArray(D["a"].to_numpy())),
    "objects": lambda: D.astype(object),
    "decimals": lambda: D.assign(**{c: [None if np.isnan(v) else Decimal(repr(v)) for v in D[c]] for c in "yaf"}),
    "arrow decimals": lambda: D.assign(i=pd.array([Decimal(int(v)) for v in D["i"]], DECIMAL)),
    "dict": lambda: D.to_dict("list"),
    "datasets": lambda: datasets.Dataset.from_pandas(D),
    "odd index": lambda: D.set_index(pd.Index(["same"] * N)),
    "missing as null and as nan": lambda: D.astype({"y": "Float64"}).assign(y=lambda t: nan_inside(t["y"])),
}  # fmt: skip


def nan_inside(column: pd.Series) -> pd.Series:
    values = column.to_numpy(dtype=float, na_value=np.nan)
    return pd.Series(pd.arrays.FloatingArray(values, np.arange(N) > 150), column.index)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_answer_is_one_whatever_holds_the_table(backend):
    ours = infer(ESTIMAND, BACKENDS[backend](), predictions="f")
    assert list(ours.estimate.index) == list(WANTED.estimate.index)
    assert_allclose(ours.estimate, WANTED.estimate, rtol=1e-9)
    assert_allclose(ours.covariance, WANTED.covariance, rtol=1e-7, atol=1e-16)


@pytest.mark.parametrize("backend", [b for b in BACKENDS if b not in ("dict",)])
def test_labeled_and_unlabeled_apart_too(backend):
    table = BACKENDS[backend]()
    if isinstance(table, pa.Table):
        pair = table.slice(0, LABELED), table.slice(LABELED)
    elif isinstance(table, datasets.Dataset):
        pair = table.select(range(LABELED)), table.select(range(LABELED, N))
    else:
        pair = table.iloc[:LABELED], table.iloc[LABELED:]
    ours = infer(ESTIMAND, labeled=pair[0], unlabeled=pair[1], predictions="f")
    assert_allclose(ours.estimate, WANTED.estimate, rtol=1e-9)


NAMES = {
    "numbers": dict(zip(D.columns, range(6), strict=True)),
    "mixed": {"y": 0, "a": np.nan, "k": "k", "f": 2.5, "i": pd.Timestamp("2020-01-01"), "b": None},
}


@pytest.mark.parametrize("kind", NAMES)
def test_columns_may_have_any_name(kind):
    to = NAMES[kind]
    named = D.set_axis([to[c] for c in D.columns], axis=1)
    for ours, theirs in (
        (OLS(to["y"], covariates=[to["a"], to["i"]]), OLS("y", covariates=["a", "i"])),
        (Mean(to["y"], by=to["k"]), Mean("y", by="k")),
        (Quantile(to["y"]), Quantile("y")),
        (Statistic(lambda t: t[to["y"]].std(), to["y"], n_draws=100),
         Statistic(lambda t: t["y"].std(), "y", n_draws=100)),
        (MEstimand(lambda t, X, y: y[:, None] - t, to["y"]), MEstimand(lambda t, X, y: y[:, None] - t, "y")),
    ):  # fmt: skip
        one, other = infer(ours, named, predictions=to["f"]), infer(theirs, D, predictions="f")
        assert np.array_equal(one.estimate, other.estimate) and np.array_equal(one.interval(), other.interval())
        assert str(to["y"]) in one.summary()
    features = [to["a"], to["i"], to["f"]]
    one = infer(Mean(to["y"]), named, predictor=LinearRegression(), features=features, design=Design(strata=to["k"]))
    other = infer(Mean("y"), D, predictor=LinearRegression(), features=["a", "i", "f"], design=Design(strata="k"))
    assert np.array_equal(one.interval(), other.interval())


def test_labels_of_several_types_name_groups_strata_and_clusters():
    mixed = {"u": 1, "v": "1", "w": 2.5, "x": (3,)}
    table = D.assign(m=[mixed[k] for k in D["k"]])
    for what in ("strata", "clusters"):
        one, other = (infer(Mean("y"), table, predictions="f", design=Design(**{what: c})) for c in ("m", "k"))
        assert_allclose(one.interval(), other.interval(), rtol=1e-12)
    table["m"] = table["k"].astype(object).replace({"u": 1})
    one, other = infer(Mean("y", by="m"), table, predictions="f"), infer(Mean("y", by="k"), D, predictions="f")
    assert_allclose(np.sort(one.estimate), np.sort(other.estimate), rtol=1e-12)


def test_a_series_of_predictions_is_put_in_the_order_of_the_rows():
    f, wanted = D["f"], infer(Mean("y"), D, predictions="f", weight=1.0)
    shuffled = infer(Mean("y"), D, predictions=f.sort_values(), weight=1.0)
    assert np.array_equal(shuffled.interval(), wanted.interval())
    pair = f[:LABELED].sort_values(), f[LABELED:].sort_values()
    apart = infer(Mean("y"), labeled=D[:LABELED], unlabeled=D[LABELED:], predictions=pair, weight=1.0)
    assert np.array_equal(apart.interval(), wanted.interval())
    weights = pd.Series(np.linspace(1, 2, N)).sample(frac=1, random_state=0)
    one, other = (infer(Mean("y"), D, design=Design(weights=w)) for w in (weights, weights.sort_index().to_numpy()))
    assert np.array_equal(one.interval(), other.interval())


@pytest.mark.parametrize(
    "table, predictions",
    [(D, D["f"].set_axis(range(1, N + 1))), (D.set_axis([0] * N), D["f"]), (D, D[["f"]].set_axis(range(5, N + 5)))],
)
def test_predictions_of_other_rows_are_refused(table, predictions):
    with pytest.raises(ValueError, match=r"index is not that of the rows.*to_numpy"):
        infer(Mean("y"), table, predictions=predictions)


def test_a_fold_without_the_event_predicts_the_class_it_knows():
    """One event: the fold that holds it out has seen the class 0 alone. None and two always worked."""
    event = np.where(np.arange(N) < LABELED, 0.0, np.nan)
    event[3] = 1
    result = infer(Mean("e"), D.assign(e=event), predictor=LogisticRegression(), features=["a", "f"])
    lower, upper = result.interval().iloc[0]
    assert 0 < lower < 1 / 60 < upper < 0.2
    assert "rare_event" in [d.code for d in result.diagnostics]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"level": "0.9"}, "pass a number"),
        ({"level": True}, "pass a number"),
        ({"table": D.set_axis(pd.MultiIndex.from_product([["t"], D.columns]), axis=1)}, "levels; join them"),
        ({"table": datasets.DatasetDict(train=datasets.Dataset.from_pandas(D))}, "one split"),
        ({"table": 3}, "pass a pandas DataFrame"),
        ({"predictor": LinearRegression(), "features": ["a"], "seed": "x"}, "seed"),
    ],
)
def test_refused_with_advice(options, message):
    with pytest.raises(ValueError, match=message):
        infer(Mean("y"), **{"table": D} | options)


def test_an_outcome_of_truth_values_may_be_missing():
    table = D.assign(y=pd.array([v > 0 if v == v else None for v in D["y"]], dtype="boolean"), f=0.5 + D["f"] / 20)
    ours = infer(Logistic("y ~ a"), table, predictions="f")
    wanted = infer(
        Logistic("y ~ a"), D.assign(y=np.where(D["y"].notna(), D["y"] > 0, np.nan), f=table["f"]), predictions="f"
    )
    assert np.array_equal(ours.estimate, wanted.estimate)


def test_what_every_fold_finds_is_said_once():
    """A column that names rows is left out by each of the folds."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"patient": [f"P{k:03}" for k in range(90)], "x": rng.normal(size=90)})
    table["y"] = table["x"].where(rng.random(90) < 0.5)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        infer("mean: y", table, predictor=ICLRegressor("nano", n_estimators=1, companions=()), folds=3)
    assert len([each for each in said if "names rows" in str(each.message)]) == 1
    with warnings.catch_warnings(), pytest.raises(SchemaWarning, match="names rows"):
        warnings.simplefilter("error", SchemaWarning)
        infer("mean: y", table, predictor=ICLRegressor("nano", n_estimators=1, companions=()), folds=3)
