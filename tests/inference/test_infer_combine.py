"""Summary statistics: the published example, the best linear estimator, and the engine on rows."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from icl.inference import Mean, combine_estimates, infer

PSPS = json.loads((Path(__file__).parent / "data" / "psps_reference.json").read_text())


def draw(P: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Estimates and a covariance in which everything depends on everything."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(3 * P, 3 * P + 2))
    return *rng.normal(size=(3, P)), root @ root.T


def test_one_parameter_equals_psps():
    ours = combine_estimates(PSPS["est_lab_y"], PSPS["est_lab_yhat"], PSPS["est_unlab_yhat"], PSPS["Sigma"])
    peer = PSPS["expected"]
    assert_allclose(ours.estimate, peer["Estimate"], rtol=1e-8)
    assert_allclose(ours.std_error, peer["Std.Error"], rtol=1e-8)
    assert_allclose(np.ravel(ours.interval(0.95)), [peer["Lower95"], peer["Upper95"]], rtol=1e-8)
    assert_allclose(ours.p_value(0.0), peer["P"], rtol=1e-6)  # far in the tail: errors of z are multiplied by z


@pytest.mark.parametrize("P", [1, 3])
def test_the_matrix_is_the_best_linear_unbiased_estimator(P):
    """Generalised least squares of the three estimates on theta and on the common mean of both etas."""
    beta, eta_L, eta_U, joint = draw(P)
    eye, zero = np.eye(P), np.zeros((P, P))
    X = np.block([[eye, zero], [zero, eye], [zero, eye]])
    bread = np.linalg.inv(X.T @ np.linalg.solve(joint, X))
    whole = bread @ X.T @ np.linalg.solve(joint, np.concatenate([beta, eta_L, eta_U]))
    ours = combine_estimates(beta, eta_L, eta_U, joint)
    assert_allclose(ours.estimate, whole[:P], rtol=1e-9)
    assert_allclose(ours.covariance, bread[:P, :P], rtol=1e-8)


def test_more_freedom_is_never_worse():
    beta, eta_L, eta_U, joint = draw(3, seed=4)
    variance = {w: combine_estimates(beta, eta_L, eta_U, joint, w).std_error ** 2 for w in ("matrix", "coordinate", 0)}
    assert (variance["matrix"] < variance["coordinate"]).all() and (variance["coordinate"] < variance[0]).all()
    scalar = combine_estimates(beta, eta_L, eta_U, joint, "ppi++")
    assert variance["coordinate"].sum() < (scalar.std_error**2).sum() < variance[0].sum()
    assert_allclose(combine_estimates(beta, eta_L, eta_U, joint, 0).covariance, joint[:3, :3])
    for nearby in (scalar.weight - 0.01, scalar.weight + 0.01):
        moved = combine_estimates(beta, eta_L, eta_U, joint, nearby)
        assert (moved.std_error**2).sum() > (scalar.std_error**2).sum()


def test_it_agrees_with_the_engine_on_rows(table, inputs):
    """The mean: variances of the three means and the covariance of two of them are all there is to know."""
    labeled = inputs["labeled"] == 1
    y, f, g = inputs["y_lin"][labeled], inputs["f_lin"][labeled], inputs["f_lin"][~labeled]
    joint = np.zeros((3, 3))
    joint[:2, :2] = np.cov(y, f, ddof=0) / len(y)
    joint[2, 2] = g.var() / len(g)
    engine = infer(Mean("y_lin"), table, predictions="f_lin", weight=0.7, std_error="HC0", reference="normal")
    ours = combine_estimates(y.mean(), f.mean(), g.mean(), joint, 0.7)
    assert_allclose(ours.estimate, engine.estimate, rtol=1e-12)
    assert_allclose(ours.std_error, engine.std_error, rtol=1e-12)
    tuned = infer(Mean("y_lin"), table, predictions="f_lin", weight="ppi++")
    assert_allclose(combine_estimates(y.mean(), f.mean(), g.mean(), joint, "ppi++").weight, tuned.weight, rtol=1e-10)


@pytest.mark.parametrize(
    ("covariance", "weight", "words"),
    [
        (np.eye(2), "matrix", r"shape \(2, 2\).*expected three of shape \(1,\) and \(3, 3\)"),
        ([[1, 2, 0], [2, 1, 0], [0, 0, 1]], "matrix", "positive semidefinite"),
        ([[1, 0.5, 0], [0, 1, 0], [0, 0, 1]], "matrix", "symmetric"),
        (np.eye(3), "synsurr", "known are 'matrix'"),
    ],
)
def test_refused_with_advice(covariance, weight, words):
    with pytest.raises(ValueError, match=words):
        combine_estimates(1.0, 0.5, 0.4, covariance, weight)
