"""Few and uneven clusters: corrections against their definition, degrees of freedom, coverage."""

import math

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.special import expit, stdtrit

from icl.inference import OLS, Design, Logistic, Mean, Multinomial, Quantile, infer
from icl.inference.engine.clusters import WORKING_CORRELATION, adjustments, satterthwaite
from icl.inference.engine.freedom import cluster_df

LEVEL = 0.90


def draw(seed: int, G: int = 8, sizes=(2, 4, 8, 30), n_all: int = 40) -> pd.DataFrame:
    """Clusters of uneven sizes, the first `G` of them labeled; the mean of y is 0 and its slope on x is 0."""
    rng = np.random.default_rng(seed)
    school = np.repeat(np.arange(n_all), rng.choice(sizes, n_all))
    effect, shared, level = rng.normal(size=(3, n_all))
    f = effect[school] + rng.normal(size=len(school))
    y = f + 0.8 * shared[school] + 0.5 * rng.normal(size=len(school))
    x = 0.7 * level[school] + 0.7 * rng.normal(size=len(school))
    event = (rng.uniform(size=len(school)) < expit(y)).astype(float)
    table = pd.DataFrame({"f": f, "x": x, "school": school, "treated": school % 9 == 0, "p": expit(f)})
    return table.assign(y=np.where(school < G, y, np.nan), event=np.where(school < G, event, np.nan))


def by_definition(X: np.ndarray, school: np.ndarray, y: np.ndarray, power: float):
    """Covariance and degrees of freedom of least squares with n by n matrices, cluster by cluster."""
    bread = np.linalg.inv(X.T @ X)
    hat = X @ bread @ X.T
    e, covariance, makers = y - hat @ y, np.zeros((X.shape[1],) * 2), []
    for g in np.unique(school):
        own = np.flatnonzero(school == g)
        value, vector = np.linalg.eigh(np.eye(len(own)) - hat[np.ix_(own, own)])
        root = vector * value**power @ vector.T
        score = bread @ X[own].T @ root @ e[own]
        covariance += np.outer(score, score)
        makers.append((bread @ X[own].T @ root) @ (np.eye(len(y)) - hat)[own])
    same = school[:, None] == school
    omega = WORKING_CORRELATION * same + (1 - WORKING_CORRELATION) * np.eye(len(y))
    df = []
    for j in range(X.shape[1]):
        Z = np.array([m[j] for m in makers])
        B = Z @ omega @ Z.T
        df.append(np.trace(B) ** 2 / np.trace(B @ B))
    return covariance, np.array(df)


@pytest.mark.parametrize(("kind", "power"), [("HC2", -0.5), ("HC3", -1.0)])
def test_corrections_and_degrees_of_freedom_are_those_of_the_definition(kind, power):
    table = draw(1).dropna()
    X = np.column_stack([np.ones(len(table)), table["x"]])
    covariance, df = by_definition(X, table["school"].to_numpy(), table["y"].to_numpy(), power)
    result = infer(OLS("y ~ x"), draw(1), design=Design(clusters="school"), std_error=kind)
    assert_allclose(result.covariance, covariance, rtol=1e-9)
    assert_allclose(result._answer.df_terms, df, rtol=1e-9)
    assert_allclose(result.df, df.min(), rtol=1e-9)
    lower, upper = result.interval(0.5).to_numpy().T
    assert_allclose(result.p_value(lower), 0.5, rtol=1e-8)  # each term with its own degrees of freedom
    alone = result.contrast({"slope": {"x": 1.0}}, level=0.5).iloc[0]
    assert_allclose([alone["conf.low"], alone["conf.high"]], [lower[1], upper[1]], rtol=1e-12)


def test_clusters_of_one_size_are_worth_their_number_less_one():
    result = infer(Mean("y"), draw(2, sizes=(5,)), design=Design(clusters="school"))
    assert_allclose(result.df, 7, rtol=1e-9)


def test_what_comes_from_many_unlabeled_clusters_costs_few_degrees_of_freedom():
    few = draw(2, sizes=(5,))
    options = dict(predictions="f", design=Design(clusters="school"))
    tuned, fixed = infer(Mean("y"), few, **options), infer(Mean("y"), few, weight=1, **options)
    assert 6 < tuned.df < 40 and 7 < fixed.df < 40  # eight labeled clusters, forty in all
    useless = infer(
        Mean("y"), few.assign(f=np.random.default_rng(0).normal(size=len(few))), weight="synsurr", **options
    )
    assert 5.8 <= useless.df < 6.2
    labeled, others = np.array([2.0, 3.0]), np.array([1.0, 0.0])
    assert_allclose(cluster_df(fixed._solver.parts, False, labeled, others), [9 / (4 / 7 + 1 / 31), 7], rtol=1e-9)


def test_a_coefficient_that_few_clusters_decide_has_few_degrees_of_freedom():
    result = infer(OLS("y ~ x + treated"), draw(3, G=27, sizes=(6,)), design=Design(clusters="school"))
    df = dict(zip(result.estimate.index, result._answer.df_terms, strict=True))
    assert df["treated"] < 4 < 10 < df["x"]  # three schools are treated
    assert "to" in result.summary().split("reference t with")[1].split("degrees")[0]


def test_rows_as_clusters_are_hc2_and_hc3():
    table = draw(4).reset_index()
    one_each = Design(clusters="index")
    for estimand in (OLS("y ~ x"), Logistic("event ~ x")):
        for kind in ("HC2", "HC3"):
            options = dict(std_error=kind, weight=0)
            plain, clustered = infer(estimand, table, **options), infer(estimand, table, design=one_each, **options)
            assert_allclose(clustered.covariance, plain.covariance, rtol=1e-8)


def test_several_responses_have_degrees_of_freedom_of_their_clusters():
    table = draw(5, G=20).assign(kind=lambda t: np.where(t["y"].isna(), None, np.where(t["y"] > 0, "high", "low")))
    several = infer(Mean(["y", "event"]), table, predictions=["f", "p"], design=Design(clusters="school"))
    one = infer(Mean("y"), table, predictions="f", design=Design(clusters="school"))
    assert 1 <= several.df <= 19 and abs(several.df - one.df) < 2
    assert 1 <= infer(Multinomial("kind ~ x"), table, design=Design(clusters="school")).df <= 19


def test_a_cluster_that_decides_alone_is_refused():
    table = draw(6).assign(only=lambda t: (t["school"] == 0) * 1.0)
    with pytest.raises(ValueError, match="one cluster alone decides"):
        infer(OLS("y ~ only"), table, design=Design(clusters="school"))


@pytest.mark.parametrize("std_error", ["auto", "HC0", "HC1"])
@pytest.mark.parametrize(
    "estimand", [Mean("y"), OLS("y", covariates=["x"]), Quantile("y")], ids=["mean", "slope", "median"]
)
def test_labels_from_one_cluster_are_refused(estimand, std_error):
    table = draw(0, G=1, sizes=(30,))
    with pytest.raises(ValueError, match=r"all 30 labeled rows lie in the one cluster '0'.*Label rows of more"):
        infer(estimand, table, design=Design(clusters="school"), std_error=std_error)


def test_degrees_of_freedom_do_not_depend_on_units():
    rng = np.random.default_rng(0)
    X, codes = rng.normal(size=(60, 3)), np.repeat(np.arange(6), 10)
    A = rng.normal(size=(3, 3))
    hessian = lambda Z: np.stack([Z[codes == g].T @ Z[codes == g] for g in range(6)])
    df = lambda Z: satterthwaite(Z, codes, hessian(Z), np.linalg.inv(Z.T @ Z), "HC2")
    assert_allclose(df(X * [1.0, 100.0, 1e-3]), df(X), rtol=1e-8)
    bread = np.linalg.inv(X.T @ X)
    square = adjustments(hessian(X), bread, "HC2")
    assert_allclose(square @ square, adjustments(hessian(X), bread, "HC3"), rtol=1e-8)
    assert np.isfinite(df(X @ A)).all()


@pytest.mark.parametrize(
    ("estimand", "term", "sizes", "most"),
    [
        (Mean("y"), "y", (3, 6, 12), 0.06),
        (Mean("y"), "y", (2, 4, 8, 30), 0.08),
        (OLS("y", covariates=["x"]), "x", (3, 6, 12), 0.07),
    ],
    ids=["mean", "mean, wild sizes", "slope"],
)
def test_few_uneven_clusters_cover(estimand, term, sizes, most):
    """Ten of them; with CR1 and G - 1 degrees of freedom, as is usual, means cover .85 and, of wild sizes, .80."""
    hits, usual = [], []
    for r in range(200):
        table = draw(9_000 + r, G=10, sizes=sizes, n_all=80)
        result = infer(estimand, table, design=Design(clusters="school"), level=LEVEL)
        lower, upper = result.interval().loc[term]
        hits.append(lower <= 0 <= upper)
        if term == "y":
            crude = infer(estimand, table, weight=0, design=Design(clusters="school"), std_error="HC1")
            usual.append(abs(crude.estimate[term]) <= stdtrit(9, 0.95) * crude.std_error[term])
    error = math.sqrt(LEVEL * (1 - LEVEL) / 200)
    # The degrees of freedom err on the low side where one cluster holds half of the rows.
    assert LEVEL - 4 * error < np.mean(hits) < LEVEL + most
    assert not usual or np.mean(usual) < np.mean(hits) - 0.02
