"""Labels from one population, an answer about another."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression, LogisticRegression

from icl.inference import OLS, Mean, Shares, Surrogate, Transport, infer
from icl.inference.engine.contributions import Contributions
from icl.inference.engine.label_shift import Confusion, solve_label_shift


def draw(d: float, n: int = 200, N: int = 600, seed: int = 0) -> tuple[pd.DataFrame, float]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n + N) + d * (np.arange(n + N) >= n)
    y = x + 0.3 * x**2 + rng.normal(size=n + N)
    table = pd.DataFrame({"x": x, "y": np.where(np.arange(n + N) < n, y, np.nan)})
    return table, d + 0.3 * (1 + d**2)


def test_with_a_known_ratio_weight_zero_is_the_weighted_mean():
    table, _ = draw(0.7)
    p = 200 / (200 + 600 * np.exp(0.7 * table["x"] - 0.245))
    design = Transport(probability=p.to_numpy())
    result = infer(Mean("y"), table.assign(f=table.x), predictions="f", design=design, weight=0)
    ratio = np.exp(0.7 * table["x"][:200] - 0.245)
    assert_allclose(result.estimate.iloc[0], np.average(table["y"][:200], weights=ratio))
    one = infer(Mean("y"), table.assign(f=table.x), predictions="f", design=design, weight=1)
    rest = np.average((table["y"] - table["x"])[:200], weights=ratio)
    assert_allclose(one.estimate.iloc[0], table["x"][200:].mean() + rest)


def test_covers_the_other_population_where_the_default_misses_it():
    hits, missed = [], []
    design = Transport(propensity=LogisticRegression())
    for seed in range(40):
        table, truth = draw(0.6, seed=seed)
        for design_, kept in ((design, hits), (None, missed)):
            options = {"predictor": LinearRegression(), "level": 0.9, "design": design_, "folds": 2}
            low, high = infer(Mean("y"), table, **options).interval().to_numpy()[0]
            kept.append(low <= truth <= high)
    assert abs(np.mean(hits) - 0.9) < 4 * np.sqrt(0.09 / 40) and np.mean(missed) < 0.5


def test_without_shift_it_is_as_narrow_as_plain_ppi():
    table, _ = draw(0.0)
    ours = infer(Mean("y"), table, predictor=LinearRegression(), design=Transport())
    plain = infer(Mean("y"), table, predictor=LinearRegression(), weight=1)
    assert_allclose(ours.std_error, plain.std_error, rtol=0.08)


def test_slopes_move_too():
    """The best line through a parabola is steeper further right: slope 1 + .6 d."""
    table, _ = draw(0.8, n=2000, N=4000)
    result = infer(OLS("y ~ x"), table, predictor=LinearRegression(), design=Transport())
    assert abs(result.estimate["x"] - 1.48) < 4 * result.std_error["x"] < 0.5


def test_populations_that_hardly_overlap_are_refused():
    with pytest.raises(ValueError, match="resemble"):
        infer(Mean("y"), draw(2.5)[0], predictor=LinearRegression(), design=Transport())
    said = [
        d.code for d in infer(Mean("y"), draw(1.0)[0], predictor=LinearRegression(), design=Transport()).diagnostics
    ]
    assert "transport_overlap" in said and "shift" not in said


def test_one_row_shows_no_shares():
    table = pd.DataFrame({"y": [*"abc" * 30, None], "p": [*"abc" * 30, "a"]})
    with pytest.raises(ValueError, match="one unlabeled row"):
        infer(Shares("y"), table, predictions="p", design=Transport(shift="label"))


@pytest.mark.parametrize("classes", ["ab", ("a", "b", "c", "c")])
def test_classes_are_several_different_ones(classes):
    with pytest.raises(ValueError, match="different classes"):
        infer(Shares("y", classes), pd.DataFrame({"y": [*"abc" * 30]}))


def test_label_shift_recovers_the_share_from_hard_labels_like_rogan_and_gladen():
    rng = np.random.default_rng(0)
    y = np.r_[rng.random(400) < 0.3, rng.random(3000) < 0.7] * 1.0
    f = np.where(rng.random(3400) < 0.85, y, 1 - y)
    table = pd.DataFrame({"y": np.where(np.arange(3400) < 400, y, np.nan), "f": f})
    result = infer(Mean("y"), table, predictions="f", design=Transport(shift="label"))
    q1, q0 = f[:400][y[:400] == 1].mean(), 1 - f[:400][y[:400] == 0].mean()
    assert_allclose(result.estimate.iloc[0], (f[400:].mean() + q0 - 1) / (q0 + q1 - 1))
    low, high = result.interval().to_numpy()[0]
    assert low < 0.7 < high and result.method == "label shift"
    with pytest.raises(ValueError, match="cannot show"):
        infer(Mean("y"), table.assign(f=rng.random(3400)), predictions="f", design=Transport(shift="label"))


TRUTH = np.array([0.1, 0.3, 0.6])


def scored(seed: int, n: int = 240, N: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Indicators of three classes, 50:30:20 among the labeled rows and `TRUTH` among the others, and probabilities."""
    rng = np.random.default_rng(seed)
    y = np.r_[rng.choice(3, n, p=[0.5, 0.3, 0.2]), rng.choice(3, N, p=TRUTH)]
    raw = np.exp(-(((2 * y + rng.normal(size=n + N))[:, None] - 2 * np.arange(3)) ** 2) / 2)
    return np.eye(3)[y], raw / raw.sum(axis=1, keepdims=True)


def classes(seed: int) -> pd.DataFrame:
    y, p = scored(seed)
    names, table = np.array(["a", "b", "c"]), pd.DataFrame(p, columns=["p", "q", "r"])
    table = table.assign(judge=names[p.argmax(axis=1)], x=p[:, 0] ** 2)
    return table.assign(y=np.where(np.arange(840) < 240, names[y.argmax(axis=1)], None))


LABEL = Transport(shift="label")


def test_label_shift_of_three_classes_inverts_the_confusion_matrix():
    table = classes(0)
    result = infer(Shares("y"), table, predictions="judge", design=LABEL)
    labeled, rest = table[:240], table[240:]
    matrix = pd.crosstab(labeled["judge"], labeled["y"], normalize="columns")
    weights = np.linalg.solve(matrix, rest["judge"].value_counts(normalize=True).sort_index())
    assert_allclose(result.estimate, weights, rtol=1e-9)
    assert_allclose(result.estimate.sum(), 1)
    assert list(result.estimate.index) == ["y=a", "y=b", "y=c"]
    compared = result.compare()
    assert compared.loc["label shift", "valid"].all() and not compared.loc[["classical", "imputed"], "valid"].any()
    assert result.wald(np.eye(3), result.estimate).p_value == pytest.approx(1)  # the covariance is singular
    assert result.wald(np.eye(3), [0.5, 0.5, 0.5]).p_value == 0


@pytest.mark.parametrize("predictions", ["judge", ["p", "q", "r"]])
def test_label_shift_covers_with_the_error_of_the_confusion_matrix_in_it(predictions):
    """The confusion matrix, of 240 labels, is most of the error here: taken as known, intervals are far too short."""
    n_reps, hits, known = 200, [], []
    template = infer(Shares("y"), classes(0), predictions=predictions, design=LABEL).problem
    for seed in range(n_reps):
        y, f = scored(seed)
        f = np.eye(3)[f.argmax(axis=1)] if predictions == "judge" else f
        problem = replace(template, y=y[:240], surrogate=Surrogate(f[:240], f[240:], "simulated"))
        answer = solve_label_shift(Contributions(problem))
        low, high = answer.interval(0.9)
        hits.append((low <= TRUTH) & (high >= TRUTH))
        reach = 1.645 * np.sqrt((Confusion(problem).moves[1] ** 2).sum(axis=0))
        known.append(np.abs(answer.estimate - TRUTH) <= reach)
    assert (np.abs(np.mean(hits, axis=0) - 0.9) < 4 * np.sqrt(0.09 / n_reps)).all()
    assert (np.mean(known, axis=0) < 0.8).all()


def test_two_classes_are_the_event_and_the_rest():
    table = classes(1).assign(y=lambda t: t["y"].map({"a": 1.0, "b": 0.0, "c": 0.0}), not_p=lambda t: 1 - t["p"])
    event = infer(Mean("y"), table, predictions="p", design=LABEL)
    both = infer(Shares("y"), table, predictions=["not_p", "p"], design=LABEL)
    for name in ("estimate", "std_error", "df_terms"):
        assert_allclose(getattr(event, name)["y"], getattr(both, name)["y=1.0"])
    # The rest is two classes, which are mixed otherwise among the unlabeled rows: that is no label shift, and is said.
    assert "no_label_shift" in [d.code for d in event.diagnostics]
    assert "no_label_shift" not in [
        d.code for d in infer(Shares("y"), classes(1), predictions=["p", "q", "r"], design=LABEL).diagnostics
    ]


def test_clusters_of_copies_are_worth_one_row_each():
    table = classes(2).assign(id=np.arange(840))
    design = Transport(shift="label", clusters="id")
    once = infer(Shares("y"), table, predictions="judge", design=design)
    often = infer(Shares("y"), pd.concat([table] * 3), predictions="judge", design=design)
    assert_allclose(often.estimate, once.estimate)
    assert_allclose(often.std_error, once.std_error, rtol=0.03)


def test_a_classifier_is_cross_fitted_for_all_classes():
    table = classes(3)
    result = infer(Shares("y"), table, predictor=LogisticRegression(), features=["p", "x"], design=LABEL)
    assert (np.abs(result.estimate - TRUTH) < 4 * result.std_error).all()


@pytest.mark.parametrize(
    "estimand, options, words",
    [
        (Shares("y"), {"predictions": "noise"}, "cannot show their shares"),
        (Mean("y", event="a"), {"predictions": "p"}, "use Shares"),
        (Mean("x"), {"predictions": "p"}, "use Shares"),
        (Mean("y", event="a", by="judge"), {"predictions": "p"}, "for the shares of classes"),
        (OLS("x ~ p"), {"predictions": "q"}, "for the shares of classes"),
        (Shares("y"), {}, "needs predictions"),
        (Shares("y"), {"predictions": "judge", "weight": 0}, "needs predictions"),
        (Mean("one"), {"predictions": "p"}, "nothing shows how other classes"),
        (Shares("y"), {"predictions": "p"}, "a column for each of"),
        (Shares("y"), {"predictions": "other"}, "none of the classes"),
        (Shares("y"), {"predictions": ["p", "q", "x"]}, "no class probabilities"),
    ],
)
def test_what_label_shift_cannot_answer_is_refused(estimand, options, words):
    table = classes(0)
    is_labeled, rng = table["y"].notna(), np.random.default_rng(0)
    table = table.assign(
        other=table["judge"].str.upper(), noise=rng.permutation(table["judge"]), one=np.where(is_labeled, 1.0, np.nan)
    )
    table["x"] = table["x"].where(is_labeled) if "x" in estimand.outcome_columns else table["x"]
    with pytest.raises(ValueError, match=words):
        infer(estimand, table, design=LABEL, **options)
