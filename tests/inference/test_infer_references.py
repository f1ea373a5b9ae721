"""Agreement with independent programs: statsmodels, ppi-python, R ipd, R SurrogateRegression."""

import json
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.testing import assert_allclose

from icl.inference import OLS, Design, Logistic, Mean, Multinomial, Poisson, Quantile, infer


def load_reference(name: str) -> dict:
    return json.loads((Path(__file__).parent / "data" / f"{name}_reference.json").read_text())


PPI_PY, IPD, SYNSURR = load_reference("ppi_py"), load_reference("ipd_R"), load_reference("synsurr_R")
REPPI = load_reference("reppi")
FORMULA = "y_lin ~ x1 + x2"


def as_ppi_py(table, estimand, **options):
    return infer(estimand, table, predictions="f_lin", compat="ppi_py", level=0.9, **options)


def interval(result, **options) -> np.ndarray:
    return result.interval(**options).to_numpy().T


@pytest.mark.parametrize("kind", ["HC0", "HC1", "HC2", "HC3"])
def test_weight_zero_is_the_textbook_sandwich(table, inputs, kind):
    labeled = inputs["labeled"] == 1
    X = np.column_stack([inputs[name][labeled] for name in ("x0", "x1", "x2")])
    peer = sm.OLS(inputs["y_lin"][labeled], X).fit(cov_type=kind, use_t=True)
    ours = infer(OLS(FORMULA), table, predictions="f_lin", weight=0, std_error=kind)
    assert_allclose(ours.estimate, peer.params, rtol=1e-10)
    assert_allclose(ours.covariance, peer.cov_params(), rtol=1e-10, atol=1e-14)
    assert_allclose(ours.p_value(), peer.pvalues, rtol=1e-8)
    assert_allclose(ours.interval(0.9), peer.conf_int(0.1), rtol=1e-10)


@pytest.mark.parametrize("weight", ["ppi++", 0.0, 0.5, 1.0])
def test_mean_equals_ppi_py(table, weight):
    key = f"mean/lam={None if weight == 'ppi++' else weight}"
    ours = as_ppi_py(table, Mean("y_lin"), weight=weight)
    assert_allclose(ours.estimate, PPI_PY[f"{key}/est"], rtol=1e-10)
    assert_allclose(interval(ours), PPI_PY[f"{key}/ci"], rtol=1e-10)
    if weight != 1.0:
        assert_allclose(ours.p_value(0.9), PPI_PY[f"{key}/pval_null0.9"], rtol=1e-8)


def test_mean_at_weight_one_has_the_p_value_of_ppi_py(table):
    assert_allclose(
        as_ppi_py(table, Mean("y_lin"), weight=1).p_value(0.9), PPI_PY["mean/lam=1.0/pval_null0.9"], rtol=1e-8
    )


def test_tuned_weight_equals_ppi_py_and_auto_means_it(table):
    assert_allclose(as_ppi_py(table, Mean("y_lin")).weight, PPI_PY["mean/tuned_lambda"], rtol=1e-10)


def test_one_sided_intervals_equal_ppi_py_where_it_honours_the_side(table):
    ours = as_ppi_py(table, Mean("y_lin"), weight=0.5)
    assert_allclose(ours.interval(alternative="larger")["lower"], PPI_PY["mean/lam=0.5/ci_larger"][0], rtol=1e-10)
    assert_allclose(ours.interval(alternative="smaller")["upper"], PPI_PY["mean/lam=0.5/ci_smaller"][1], rtol=1e-10)
    assert np.isposinf(ours.interval(alternative="larger")["upper"]).all()
    assert np.isneginf(ours.interval(alternative="smaller")["lower"]).all()


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_ols_at_a_fixed_weight_equals_ppi_py(table, weight):
    ours = as_ppi_py(table, OLS(FORMULA), weight=weight)
    assert_allclose(ours.estimate, PPI_PY[f"ols/lam={weight}/est"], rtol=1e-8)
    assert_allclose(interval(ours), PPI_PY[f"ols/lam={weight}/ci"], rtol=1e-8)


def test_tuned_ols_equals_ppi_py_in_both_steps(table):
    ours = as_ppi_py(table, OLS(FORMULA), weight="ppi++")
    assert_allclose(ours.weight, PPI_PY["ols/lambda_step2(used by *_ci)"], rtol=1e-8)
    assert_allclose(interval(ours), PPI_PY["ols/lam=None/ci"], rtol=1e-8)
    # The peer's point estimate belongs to the weight of the first step, its interval to that of the second.
    first = as_ppi_py(table, OLS(FORMULA), weight=PPI_PY["ols/lambda_step1(at lam=1 estimate)"])
    assert_allclose(first.estimate, PPI_PY["ols/lam=None/est"], rtol=1e-8)


def test_classical_intervals_equal_ppi_py(table):
    mean = infer(Mean("y_lin"), table, std_error="HC0", reference="normal", level=0.9)
    assert_allclose(interval(mean)[:, 0], PPI_PY["classical/mean_ci"], rtol=1e-10)
    ols = infer(OLS(FORMULA), table, std_error="HC0", reference="normal", level=0.9)
    assert_allclose(interval(ols), PPI_PY["classical/ols_ci"], rtol=1e-8)


def test_cross_fitted_predictions_equal_ppi_py(table, inputs):
    class Stored:
        """Knows the predictions of the reference run; its folds are those of the reference, not ours."""

        def fit(self, X, y):
            raise AssertionError("the batched path must be used")

        predict = fit

        def predict_folds(self, X_labeled, y_labeled, folds, X_unlabeled):
            labeled = inputs["labeled"] == 1
            by_fold = np.stack([inputs[f"f_lin_k{k}"] for k in range(5)])
            out_of_fold = by_fold[inputs["fold"][labeled], np.flatnonzero(labeled)]
            return out_of_fold, by_fold[:, ~labeled]

    options = dict(predictor=Stored(), features=["x1", "x2"], weight=1, level=0.9, compat="ppi_py")
    mean, ols = infer(Mean("y_lin"), table, **options), infer(OLS(FORMULA), table, **options)
    assert_allclose(mean.estimate, PPI_PY["cross/mean/est"], rtol=1e-10)
    assert_allclose(interval(mean), PPI_PY["cross/mean/ci"], rtol=1e-10)
    assert_allclose(ols.estimate, PPI_PY["cross/ols/est"], rtol=1e-8)


def test_ppi_equals_ipd(table):
    ours = infer(OLS(FORMULA), table, predictions="f_lin", weight=1, std_error="HC0", reference="normal")
    assert_allclose(ours.estimate, IPD["ols/ppi"]["est"], rtol=1e-8)
    assert_allclose(ours.std_error, IPD["ols/ppi"]["se"], rtol=1e-8)
    mean = as_ppi_py(table, Mean("y_lin"), weight=1)
    assert_allclose(interval(mean)[:, 0], IPD["mean/ppi"], rtol=1e-8)


def test_ppi_plus_plus_equals_ipd(table):
    ours, peer = as_ppi_py(table, OLS(FORMULA), weight="ppi++"), IPD["ols/ppi_plusplus"]
    assert_allclose(ours.weight, peer["lambda"][0], rtol=1e-8)
    assert_allclose(ours.estimate, peer["est"], rtol=1e-8)
    assert_allclose(ours.std_error, peer["se"], rtol=1e-8)


def test_synsurr_equals_surrogate_regression(table):
    ours = infer(OLS(FORMULA), table, predictions="f_lin", weight="synsurr", std_error="model", reference="normal")
    assert_allclose(ours.estimate, SYNSURR["LS/target/est"], rtol=1e-10)
    assert_allclose(ours.std_error, SYNSURR["LS/target/se"], rtol=1e-10)
    assert_allclose(ours.p_value(), SYNSURR["LS/target/p"], rtol=1e-8)
    sigma_tt, sigma_ts, sigma_ss = SYNSURR["LS/sigma(TT,TS,SS)"]
    assert_allclose(ours.weight, sigma_ts / sigma_ss, rtol=1e-10)
    for terms, key in ((["x1"], "LS/wald x1=0 (stat,df,p)"), (["x1", "x2"], "LS/wald x1=x2=0")):
        test = ours.wald(terms)
        assert_allclose([test.statistic, test.df, test.p_value], SYNSURR[key], rtol=1e-8)


def test_synsurr_equals_the_em_estimate(table):
    ours = infer(OLS(FORMULA), table, predictions="f_lin", weight="synsurr")
    assert_allclose(ours.estimate, SYNSURR["EM/target/est"], rtol=1e-7)  # where that iteration stopped


def test_mean_is_the_textbook_standard_error(table, inputs):
    y = inputs["y_lin"][inputs["labeled"] == 1]
    ours = infer(Mean("y_lin"), table)
    assert_allclose(ours.std_error.iloc[0], y.std(ddof=1) / np.sqrt(len(y)), rtol=1e-12)
    assert ours.df == len(y) - 1


def test_mean_equals_the_regression_on_an_intercept(table):
    for weight in (0, 1, 0.4, "ppi++", "synsurr"):
        options = dict(predictions="f_lin", weight=weight, std_error="HC3", reference="normal")
        mean, ols = infer(Mean("y_lin"), table, **options), infer(OLS("y_lin ~ 1"), table, **options)
        assert_allclose(mean.to_frame().iloc[:, 1:], ols.to_frame().iloc[:, 1:], rtol=1e-9)


GLM = {"logistic": (Logistic("y_bin ~ x1 + x2"), "f_bin"), "poisson": (Poisson("y_poi ~ x1 + x2"), "f_poi")}


@pytest.mark.parametrize("name", GLM)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("weight", ["ppi++", 0.0, 0.5, 1.0])
def test_glms_equal_ppi_py(table, name, weighted, weight):
    estimand, f = GLM[name]
    key = f"{name}{'_w' * weighted}/lam={None if weight == 'ppi++' else weight}"
    design = Design(weights="w") if weighted else None
    ours = infer(estimand, table, predictions=f, weight=weight, compat="ppi_py", level=0.9, design=design)
    # The peer stops its optimiser early: its own answers are 1e-8 from the zero of its score.
    assert_allclose(interval(ours), PPI_PY[f"{key}/ci"], atol=2e-8)
    if weight != "ppi++":
        assert_allclose(ours.estimate, PPI_PY[f"{key}/est"], atol=2e-8)


@pytest.mark.parametrize("estimand", [Mean("y_lin"), OLS(FORMULA)], ids=str)
@pytest.mark.parametrize("weight", ["ppi++", 0.0, 0.5, 1.0])
def test_weighted_rows_equal_ppi_py(table, estimand, weight):
    key = f"{'mean' if isinstance(estimand, Mean) else 'ols'}_w/lam={None if weight == 'ppi++' else weight}"
    ours = as_ppi_py(table, estimand, weight=weight, design=Design(weights="w"))
    assert_allclose(interval(ours), PPI_PY[f"{key}/ci"], rtol=1e-8)


@pytest.mark.parametrize(("mode", "weight"), [("overall", "ppi++"), ("element", "coordinate")])
def test_two_means_equal_ppi_py(table, mode, weight):
    estimand = Mean(["y_lin", "y_bin"])
    ours = infer(estimand, table, predictions=["f_lin", "f_bin"], weight=weight, compat="ppi_py", level=0.9)
    assert_allclose(ours.estimate, PPI_PY[f"mean2d/{mode}/est"], rtol=1e-10)
    assert_allclose(interval(ours), PPI_PY[f"mean2d/{mode}/ci"], rtol=1e-10)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.75])
def test_quantiles_equal_ppi_py_on_its_exact_grid(table, q):
    ours = as_ppi_py(table, Quantile("y_lin", q))
    assert_allclose(ours.estimate, PPI_PY[f"quantile/q={q}/exact=True/est"], rtol=1e-12)
    assert_allclose(interval(ours)[:, 0], PPI_PY[f"quantile/q={q}/exact=True/ci"], rtol=1e-12)
    # Labeled rows alone: there the tests that are inverted are the same, and no compatibility is needed.
    classical = infer(Quantile("y_lin", q), table, reference="normal", level=0.9).interval().iloc[0]
    assert_allclose(classical, PPI_PY[f"classical/quantile_ci/q={q}"], rtol=0.05)


def test_weighted_quantile_is_within_a_grid_step_of_ppi_py(table):
    step = np.ptp(np.concatenate([table["y_lin"].dropna(), table["f_lin"]])) / 4_999
    for q in (0.1, 0.5, 0.75):
        ours = as_ppi_py(table, Quantile("y_lin", q), design=Design(weights="w"))
        assert_allclose(interval(ours)[:, 0], PPI_PY[f"quantile_w/q={q}/ci"], atol=step)


PEERS_IPD = [(name, peer) for name in ("ols", *GLM) for peer in ("pspa", "chen")] + [("mean", "pspa")]


@pytest.mark.parametrize(("name", "peer"), PEERS_IPD)
def test_pspa_and_chen_equal_ipd(table, name, peer):
    weight = {"pspa": "coordinate", "chen": "matrix"}[peer]
    estimand, f = {"ols": (OLS(FORMULA), "f_lin"), "mean": (Mean("y_lin"), "f_lin"), **GLM}[name]
    ours = infer(estimand, table, predictions=f, weight=weight, compat="ipd")
    atol = 1e-7 if name == "logistic" else 1e-9  # R's glm stops at a relative change of the deviance of 1e-8
    assert_allclose(ours.estimate, IPD[f"{name}/{peer}"]["est"], atol=atol)
    assert_allclose(ours.std_error, IPD[f"{name}/{peer}"]["se"], atol=atol)


def test_published_chen_chen_variance_is_that_of_the_matrix_weight(table):
    """For a linear model ours differs from the peer in the point around which predictions are scored only."""
    ours = infer(OLS(FORMULA), table, predictions="f_lin", weight="matrix", std_error="model", reference="normal")
    assert_allclose(ours.estimate, IPD["ols/chen"]["est"], rtol=0.02)
    assert_allclose(ours.std_error, IPD["ols/chen"]["se"], rtol=0.02)


@pytest.mark.parametrize("name", GLM)
def test_weight_zero_is_the_textbook_glm(table, inputs, name):
    estimand, f = GLM[name]
    labeled = inputs["labeled"] == 1
    X = np.column_stack([inputs[c][labeled] for c in ("x0", "x1", "x2")])
    family = {"logistic": sm.families.Binomial(), "poisson": sm.families.Poisson()}[name]
    outcome = estimand.outcome_columns[0]
    peer = sm.GLM(inputs[outcome][labeled], X, family=family).fit(cov_type="HC0", tol=1e-14, maxiter=100)
    ours = infer(estimand, table, predictions=f, weight=0, std_error="HC0")
    assert_allclose(ours.estimate, peer.params, rtol=1e-10)
    assert_allclose(ours.covariance, peer.cov_params(), rtol=1e-10, atol=1e-14)
    # HC2 and HC3 divide by what leverage leaves: its textbook form, from the peer's own hat matrix.
    h = peer.get_hat_matrix_diag()
    score = X * (inputs[outcome][labeled] - peer.mu)[:, None]
    bread = np.linalg.inv(X.T @ (X * family.variance(peer.mu)[:, None]))
    for kind, power in (("HC2", 0.5), ("HC3", 1.0)):
        rows = score / (1 - h[:, None]) ** power
        ours = infer(estimand, table, weight=0, std_error=kind)
        assert_allclose(ours.covariance, bread @ rows.T @ rows @ bread, rtol=1e-9)


def test_weight_zero_is_the_textbook_multinomial(table, inputs):
    labeled = inputs["labeled"] == 1
    table = table.assign(level=np.where(labeled, np.digitize(inputs["y_lin"], [0, 1.5]), np.nan))
    X = np.column_stack([inputs[c][labeled] for c in ("x0", "x1", "x2")])
    peer = sm.MNLogit(table["level"][labeled], X).fit(disp=0, tol=1e-14, maxiter=100, cov_type="HC0")
    ours = infer(Multinomial("level ~ x1 + x2"), table, std_error="HC0")
    assert_allclose(ours.estimate, peer.params.to_numpy().T.ravel(), rtol=1e-10)
    assert_allclose(ours.covariance, peer.cov_params(), rtol=1e-8, atol=1e-12)
    assert list(ours.estimate.index[:3]) == ["1.0: Intercept", "1.0: x1", "1.0: x2"]


@pytest.mark.parametrize("kind", ["HC0", "HC1", "HC2", "HC3"])
def test_weighted_least_squares_is_the_textbook_sandwich(table, inputs, kind):
    labeled = inputs["labeled"] == 1
    X = np.column_stack([inputs[name][labeled] for name in ("x0", "x1", "x2")])
    peer = sm.WLS(inputs["y_lin"][labeled], X, weights=inputs["w"][labeled]).fit(cov_type=kind)
    ours = infer(OLS(FORMULA), table, weight=0, std_error=kind, design=Design(weights="w"))
    assert_allclose(ours.estimate, peer.params, rtol=1e-10)
    assert_allclose(ours.covariance, peer.cov_params(), rtol=1e-10, atol=1e-14)


def test_clustered_errors_are_the_textbook_ones(table, inputs):
    labeled = inputs["labeled"] == 1
    table = table.assign(school=np.arange(len(table)) // 8)
    X = np.column_stack([inputs[name][labeled] for name in ("x0", "x1", "x2")])
    groups = np.arange(labeled.sum()) // 8
    peer = sm.OLS(inputs["y_lin"][labeled], X).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
    )
    ours = infer(OLS(FORMULA), table, weight=0, std_error="HC0", design=Design(clusters="school"))
    assert_allclose(ours.covariance, peer.cov_params(), rtol=1e-10, atol=1e-14)


def test_recalibrated_equals_reppi(table):
    from icl.inference.engine.recalibrate import solve_recalibrated

    parts = infer(OLS(FORMULA), table, predictions="f_lin", reference="normal", std_error="HC0")._solver.parts
    order = np.random.RandomState(0).permutation(400)  # the folds of the reference run
    ours = solve_recalibrated(parts, order=order)
    assert_allclose(ours.estimate, REPPI["est"], rtol=1e-10)
    assert_allclose(ours.interval(0.9), REPPI["ci"], rtol=1e-10)
