"""Designs: textbook formulas, special cases that must coincide, and coverage where ignoring the design fails."""

import math

import numpy as np
import pandas as pd
import pytest
from light_models import Line, Odds
from numpy.testing import assert_allclose
from scipy.special import stdtrit
from sklearn.linear_model import LinearRegression, LogisticRegression

from icl.inference import OLS, Design, Mean, choose, infer
from icl.inference.engine.sandwich import effective_units
from icl.inference.inputs.propensity import estimate_propensity

LEVEL = 0.90


def draw(n_rows: int, seed: int) -> pd.DataFrame:
    """The best linear slope of y on x is 1, its mean 0; predictions curve where y does not."""
    rng = np.random.default_rng(seed)
    x, e, u = rng.normal(size=(3, n_rows))
    return pd.DataFrame({"x": x, "y": x + 0.7 * e, "f": 0.5 * x**2 + x + 0.7 * e + 0.4 * u})


def sample(table: pd.DataFrame, probability: np.ndarray, seed: int) -> pd.DataFrame:
    """Rows labeled with these probabilities; the others lose their outcome."""
    labeled = np.random.default_rng(seed).uniform(size=len(table)) < probability
    return table.assign(p=probability, y=table["y"].where(labeled))


def assert_nominal(hits: list[bool]) -> None:
    rate, noise = np.mean(hits), math.sqrt(LEVEL * (1 - LEVEL) / len(hits))
    assert abs(rate - LEVEL) < 4 * noise, f"covered {rate:.3f}, nominal {LEVEL}, Monte Carlo error {noise:.3f}"


def covers(result, truth: float, term=-1) -> bool:
    lower, upper = result.interval().iloc[term]
    return bool(lower <= truth <= upper)


@pytest.fixture(scope="module")
def table():
    rows = draw(300, 0)
    rows["region"] = np.digitize(rows["x"], [-0.5, 0.6])
    rate = np.array([0.2, 0.5, 0.35])[rows["region"]]
    return sample(rows, rate, 1)


def same(a, b, rtol=1e-10):
    assert_allclose(a.estimate, b.estimate, rtol=rtol)
    assert_allclose(a.covariance, b.covariance, rtol=rtol)


@pytest.mark.parametrize("estimand", [Mean("y"), OLS("y ~ x")])
def test_a_constant_probability_changes_nothing(table, estimand):
    options = dict(predictions="f")
    same(
        infer(estimand, table, **options),
        infer(estimand, table, design=Design(probability=np.full(300, 0.3)), **options),
    )


def test_known_probabilities_are_the_hajek_estimate(table):
    result = infer(Mean("y"), table, predictions="f", weight=1, design=Design(probability="p"))
    labeled = table.dropna()
    w = 1 / labeled["p"]
    by_hand = table["f"].mean() + (w * (labeled["y"] - labeled["f"])).sum() / w.sum()
    assert_allclose(result.estimate.iloc[0], by_hand)
    rest = w / w.sum() * ((labeled["y"] - labeled["f"]) - (w * (labeled["y"] - labeled["f"])).sum() / w.sum())
    own = (table["f"] - table["f"].mean()) / 300
    rows = own.add(rest, fill_value=0)
    assert_allclose(result.std_error.iloc[0], np.sqrt((rows**2).sum()), rtol=0.01)  # up to small-sample factors


def test_strata_without_predictions_are_the_textbook_formula(table):
    groups = table.groupby("region")
    share, n, mean = groups.size() / 300, groups["y"].count(), groups["y"].mean()
    within = (share**2 * groups["y"].var(ddof=1) / n).sum()
    between = (share * (mean - share @ mean) ** 2).sum() / 300
    # Rows that sample a population show the sizes of its strata with error; survey weights say what they are.
    for weights, variance in ((None, within + between), (np.full(300, 40.0), within)):
        result = infer(Mean("y"), table, design=Design(strata="region", weights=weights), std_error="HC0")
        assert_allclose(result.estimate.iloc[0], share @ mean)
        assert_allclose(result.std_error.iloc[0] ** 2, variance)


def test_strata_between_which_labels_were_not_rationed_are_no_news():
    """All rows labeled: that they fall into strata says nothing about the mean of a random sample."""
    rows = draw(4_000, 8).assign(half=lambda t: t["x"] > 0)
    plain, split = infer(Mean("y"), rows), infer(Mean("y"), rows, design=Design(strata="half"))
    assert_allclose(split.std_error, plain.std_error, rtol=2e-3)


@pytest.mark.parametrize("predicted", [None, "f"])
@pytest.mark.parametrize("all_labeled", [False, True])
@pytest.mark.parametrize(
    ("design", "said"),
    [
        ({}, ""),
        ({"weights": "w"}, "as its weight says"),
        ({"clusters": "cluster"}, "clusters are independent"),
        ({"probability": "p"}, "with the probability that was given"),
        ({"clusters": "cluster", "weights": "w"}, "as its weight says, and that clusters are independent"),
        ({"strata": "half", "weights": "w"}, "within each stratum, each row standing for"),
    ],
)
def test_the_assumption_says_what_the_design_takes_for_granted(design, said, all_labeled, predicted):
    """With unlabeled rows and without, with predictions and without, on paper and in JSON."""
    rng = np.random.default_rng(3)
    rows = draw(120, 4).assign(w=rng.uniform(0.5, 4, 120), half=np.resize(list("aabb"), 120), p=0.5)
    rows["cluster"] = np.arange(120) // 4
    if not all_labeled:
        rows.loc[::2, "y"] = np.nan
    result = infer(Mean("y"), rows, predictions=predicted, design=Design(**design))
    text = " ".join(str(result).split("Assumes")[1].split())
    assert said in text and said in result.to_dict()["assumption"]
    if not design and all_labeled:
        assert text.startswith("that the labeled rows are a random sample of the population")
    if not design and not all_labeled:
        assert text.startswith("that the labeled rows are a random sample of all rows (missing completely")


def test_strata_with_equal_rates_keep_the_estimate():
    rows = draw(300, 2).assign(half=np.resize([0, 1], 300))
    rows.loc[60:, "y"] = np.nan
    plain = infer(Mean("y"), rows, predictions="f")
    assert_allclose(infer(Mean("y"), rows, predictions="f", design=Design(strata="half")).estimate, plain.estimate)


def test_integer_weights_are_repeated_rows(table):
    weights = np.resize([1, 2, 3], 300)
    repeated = table.loc[np.repeat(table.index, weights)]
    for estimand in (Mean("y"), OLS("y ~ x")):
        # A weight that is shrunk knows that repeated rows, were they independent, would be worth more.
        options = dict(predictions="f", weight="synsurr")
        weighted = infer(estimand, table, **options, design=Design(weights=weights))
        assert_allclose(weighted.estimate, infer(estimand, repeated, **options).estimate, rtol=1e-9)
        for weight in ("synsurr", "auto"):
            options["weight"] = weight
            by_weights = [infer(estimand, table, **options, design=Design(weights=k * weights)) for k in (1, 7.5)]
            same(*by_weights)


def test_clusters_of_one_row_are_rows(table):
    one_each = Design(clusters=np.arange(300))
    for estimand in (Mean("y"), OLS("y ~ x")):
        options = dict(predictions="f", std_error="HC0", reference="normal")
        same(infer(estimand, table, **options), infer(estimand, table, design=one_each, **options), rtol=1e-8)


def test_arrays_columns_and_row_order_agree(table):
    by_name = infer(Mean("y"), table, predictions="f", design=Design(probability="p", clusters="region"))
    arrays = Design(probability=table["p"].to_numpy(), clusters=table["region"].to_numpy())
    same(by_name, infer(Mean("y"), table, predictions="f", design=arrays))
    order = np.random.default_rng(0).permutation(300)
    shuffled = table.iloc[order]
    same(by_name, infer(Mean("y"), shuffled, predictions="f", design=Design(probability="p", clusters="region")), 1e-8)
    halves = dict(labeled=table[table["y"].notna()], unlabeled=table[table["y"].isna()].drop(columns="y"))
    same(by_name, infer(Mean("y"), **halves, predictions="f", design=Design(probability="p", clusters="region")), 1e-8)


def test_the_predictor_does_not_see_the_design(table):
    class Spy(LinearRegression):
        def fit(self, X, y):
            columns.append(list(X.columns))
            return super().fit(X, y)

    columns: list = []
    infer(Mean("y"), table, predictor=Spy(), design=Design(probability="p", strata="region"))
    assert columns == [["x", "f"]] * 5


def test_selection_on_x_with_curved_predictions_needs_its_probabilities():
    weighted, ignored = [], []
    for r in range(180):
        rows = draw(1_200, 10 + r)
        chosen = sample(rows, 0.06 + 0.24 / (1 + np.exp(-2 * rows["x"].to_numpy())), r)
        options = dict(predictions="f", level=LEVEL)
        weighted.append(covers(infer(OLS("y", covariates=["x"]), chosen, design=Design(probability="p"), **options), 1))
        if r < 60:
            ignored.append(covers(infer(OLS("y", covariates=["x"]), chosen, **options), 1))
    assert_nominal(weighted)
    assert np.mean(ignored) < 0.6  # the predictions are nonlinear in what decided about labeling


def test_estimated_probabilities_cover_and_either_model_is_enough():
    hits = {"both": [], "predictions only": [], "ignored": []}
    for r in range(150):
        rows = draw(600, 5_000 + r)
        chosen = sample(rows, 0.05 + 0.25 / (1 + np.exp(-2 * rows["x"].to_numpy())), r)[["x", "y"]]
        options = dict(level=LEVEL, seed=r, folds=3)
        line, constant = Line(), Odds(constant=True)
        right = Design(propensity=Odds())
        hits["both"].append(covers(infer(Mean("y"), chosen, predictor=line, design=right, **options), 0))
        # Wrong probabilities (the same for every row), but predictions that are right on average given x.
        wrong = Design(propensity=constant)
        hits["predictions only"].append(covers(infer(Mean("y"), chosen, predictor=line, design=wrong, **options), 0))
        if r < 50:
            hits["ignored"].append(covers(infer(Mean("y"), chosen, level=LEVEL), 0))
    assert_nominal(hits["both"])
    assert_nominal(hits["predictions only"])
    assert np.mean(hits["ignored"]) < 0.1


def test_propensities_are_calibrated_out_of_fold():
    rng = np.random.default_rng(0)
    x = rng.normal(size=20_000)
    p = 0.02 + 0.1 / (1 + np.exp(-2 * x))
    labeled = rng.uniform(size=20_000) < p
    order = np.argsort(~labeled, kind="stable")
    n = int(labeled.sum())
    estimated, n_raised = estimate_propensity(LogisticRegression(), pd.DataFrame({"x": x[order]}), n, 5, 0)
    assert n_raised == 0
    assert abs(estimated.sum() / n - 1) < 4 / math.sqrt(n)
    for part in (x[order] < -1, x[order] > 1):
        assert abs(estimated[part].mean() / p[order][part].mean() - 1) < 0.25


def test_chosen_rows_cover_and_are_worth_more_than_random_ones():
    chosen_hits, chosen_se, random_se = [], [], []
    for r in range(150):
        rng = np.random.default_rng(900 + r)
        f = rng.uniform(size=1_000) ** 3  # mostly sure, sometimes not
        y = (rng.uniform(size=1_000) < f).astype(float)
        table = pd.DataFrame({"f": f, "y": y})
        pilot = table.assign(y=table["y"].where(np.arange(1_000) < 60))
        choice = choose(infer(Mean("y"), pilot, predictions="f"), 120, seed=r)
        seen = np.arange(1_000) < 60
        seen[choice.rows] = True
        options = dict(predictions="f", level=LEVEL)
        result = infer(Mean("y"), table.assign(y=table["y"].where(seen)), design=choice.design, **options)
        chosen_hits.append(covers(result, 0.25))
        chosen_se.append(result.std_error.iloc[0])
        if r >= 100:
            continue
        at_random = table.assign(y=table["y"].where(np.arange(1_000) < 180))
        random_se.append(infer(Mean("y"), at_random, **options).std_error.iloc[0])
    assert_nominal(chosen_hits)
    assert np.mean(chosen_se) < 0.93 * np.mean(random_se)


def test_clustered_rows_need_their_clusters():
    clustered, ignored = [], []
    for r in range(180):
        rng = np.random.default_rng(r)
        school = np.repeat(np.arange(150), 8)
        effect, shared = rng.normal(size=(2, 150))
        f = effect[school] + rng.normal(size=1_200)
        table = pd.DataFrame({"f": f, "school": school, "y": f + 0.8 * shared[school] + 0.5 * rng.normal(size=1_200)})
        table.loc[school >= 40, "y"] = np.nan
        options = dict(predictions="f", level=LEVEL)
        clustered.append(covers(infer(Mean("y"), table, design=Design(clusters="school"), **options), 0))
        if r < 60:
            ignored.append(covers(infer(Mean("y"), table, **options), 0))
    assert_nominal(clustered)
    assert np.mean(ignored) < 0.75


def test_unequal_rates_by_stratum_cover():
    stratified, ignored = [], []
    for r in range(180):
        rows = draw(900, 20_000 + r)
        rows["region"] = np.digitize(rows["x"], [0.0])
        rank = rows.groupby("region").cumcount()
        rows.loc[rank >= np.where(rows["region"] == 0, 25, 100), "y"] = np.nan
        options = dict(predictions="f", level=LEVEL)
        stratified.append(covers(infer(Mean("y"), rows, design=Design(strata="region"), **options), 0))
        if r < 60:
            ignored.append(covers(infer(Mean("y"), rows, **options), 0))
    assert_nominal(stratified)
    assert np.mean(ignored) < 0.5


def test_the_result_says_what_it_assumes(table):
    for design, words in (
        (Design(), "missing completely at random"),
        (Design(probability="p"), "with the probability that was given"),
        (Design(strata="region"), "within each stratum"),
        (Design(propensity=LogisticRegression(), features=["x"]), "missing at random"),
        (Design(clusters="region"), "clusters are independent"),
    ):
        result = infer(Mean("y"), table, predictions="f", design=design)
        assert words in result.summary().replace("\n", " ")
    assert result.problem.n_labeled_units == 3 and "few_clusters" in [d.code for d in result.diagnostics]


def test_the_result_names_the_columns_of_the_design(table):
    weights = np.random.default_rng(1).uniform(1, 3, len(table))
    table = table.assign(town=np.arange(len(table)) % 3, w=weights)
    told = infer(Mean("y", by="town"), table, predictions="f", design=Design(strata="town", weights="w")).summary()
    assert "strata town, weights w" in told and "as its weight says" in " ".join(told.split())
    assert "labeled rows in all groups together" in " ".join(told.split())
    given = infer(Mean("y"), table, predictions="f", design=Design(weights=weights)).summary()
    assert "weights given" in given and "in all groups" not in " ".join(given.split())
    simple = infer(Mean("y"), table, predictions="f").summary()
    assert "design" not in simple and "weight says" not in simple


def test_uneven_weights_and_poor_overlap_are_flagged(table):
    p = np.full(300, 0.9)
    p[np.flatnonzero(table["y"].notna())[:2]] = 0.01
    told = infer(Mean("y"), table, design=Design(probability=p)).diagnostics
    assert "than with weight=0" in str(told[0])
    codes = [d.code for d in told]
    assert codes == ["uneven_weights", "influential_row"]  # both are so: two rows hold most of the weight
    rng = np.random.default_rng(0)
    x = rng.normal(size=600)
    chosen = pd.DataFrame({"x": x, "y": np.where((x > 1) | (np.arange(600) == x.argmin()), x, np.nan)})
    design = Design(propensity=LogisticRegression(C=100))
    assert "poor_overlap" in [
        d.code for d in infer(Mean("y"), chosen, predictor=LinearRegression(), design=design).diagnostics
    ]
    assert not infer(Mean("y"), table, predictions="f", design=Design(probability="p")).diagnostics


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(probability="p", propensity=LogisticRegression()), "need no model"),
        (dict(propensity=LinearRegression()), "predict_proba"),
        (dict(propensity=LogisticRegression(), strata="region"), "as a feature"),
        (dict(probability="pi"), r"no column 'pi'"),
        (dict(probability=np.ones(3)), r"shape \(3,\).*300 rows"),
        (dict(probability=np.zeros(300)), "not positive"),
        (dict(probability=np.full(300, 1.5)), r"lie in \(0, 1\]"),
        (dict(weights="y"), "missing on"),
        (dict(weights=np.full(300, "a")), "must be numbers"),
        (dict(strata=np.arange(300)), "fewer than two labeled rows"),
    ],
)
def test_refused_with_advice(table, options, words):
    with pytest.raises(ValueError, match=words):
        infer(Mean("y"), table, predictions="f", design=Design(**options))


@pytest.mark.parametrize("weight", ["ppi++", "coordinate"])
def test_weights_that_need_exchangeable_rows_are_refused(table, weight):
    with pytest.raises(ValueError, match="makes different by intention"):
        infer(Mean("y"), table, predictions="f", weight=weight, design=Design(probability="p"))
    comparison = infer(Mean("y"), table, predictions="f", design=Design(probability="p")).compare()
    assert comparison.loc["ppi++", "estimate"].isna().all() and comparison.loc["ppi", "estimate"].notna().all()


def uneven(n_rows: int, rng: np.random.Generator) -> np.ndarray:
    """Weights of 1, and of 50 for one row in ten."""
    return np.where(rng.uniform(size=n_rows) < 0.1, 50.0, 1.0)


@pytest.mark.parametrize(("n", "weights"), [(20, [0.0]), (60, [0.0, "auto"])])
def test_uneven_weights_cover(n, weights):
    hits, too_many_df = [], []
    for r in range(220):
        rng = np.random.default_rng([n, r])
        rows = draw(n + 200, 40_000 + r).assign(w=uneven(n + 200, rng))
        rows["y"] = rows["y"].where(np.arange(n + 200) < n)
        solver = infer(Mean("y"), rows, predictions="f", design=Design(weights="w"))._solver
        answers = [solver.under(weight) for weight in weights]
        sides = [answer.interval(LEVEL) for answer in answers]
        hits.append([lower[0] <= 0 <= upper[0] for lower, upper in sides])
        too_many_df.append([abs(a.estimate[0]) <= stdtrit(n - 1, 0.95) * a.std_error[0] for a in answers])
    # At n = 20 two rows hold nearly all of the weight, and the approximation errs on the wide side: .936 measured.
    rates = np.mean(hits, axis=0)
    assert (rates > LEVEL - 0.035).all() and (rates < LEVEL + 0.06).all()
    assert (np.mean(too_many_df, axis=0) < rates).all()


def test_weights_are_worth_what_satterthwaite_says():
    rng = np.random.default_rng(0)
    for weights in (uneven(40, rng), np.exp(rng.normal(size=40))):
        a = weights / weights.sum()
        residual_maker = np.eye(40) - a
        M = residual_maker.T @ np.diag(a**2 / (1 - a)) @ residual_maker
        df = np.trace(M) ** 2 / np.trace(M @ M)
        assert_allclose(effective_units(weights), 1 + df, rtol=1e-10)
        assert_allclose(effective_units(7 * weights), effective_units(weights), rtol=1e-12)
        twins = np.arange(80) // 2
        assert_allclose(effective_units(np.repeat(weights, 2), twins), 1 + df, rtol=1e-10)
    assert effective_units(np.full(40, 3.3)) == 40


def test_equal_weights_are_no_news(table):
    """Weights that hardly differ give the textbook answer of rows without weights."""
    plain = infer(Mean("y"), table)
    w = 1 + 1e-9 * np.arange(300)
    same(infer(Mean("y"), table, design=Design(weights=w)), plain, rtol=1e-6)
    assert_allclose(infer(Mean("y"), table, design=Design(weights=w)).df, plain.df, rtol=1e-6)
