"""What gaps leave open: members move towards voices by the share of variance that is between draws."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import log_softmax

from icl import ICLClassifier, ICLRegressor
from icl.prediction.companions.surprise import Surprise
from icl.prediction.doubt import Doubt


@pytest.fixture
def context():
    """A number that nothing tells of, and one that does not matter."""
    return np.random.default_rng(0).normal(size=(300, 2)).astype("f4")


class Voice:
    """Says of a row that the answer is near its first number; the second tells it nothing."""

    def __init__(self, values_T, sharpness):
        self._values_T, self._sharpness = values_T, sharpness

    def __call__(self, rows_MF):
        first_M1 = rows_MF[:, :1].astype(float)
        return torch.from_numpy(log_softmax(-self._sharpness * np.abs(np.nan_to_num(first_M1) - self._values_T), 1))


@pytest.mark.parametrize("classify", [True, False])
@pytest.mark.parametrize("sharpness", [0.5, 3.0, 30.0])
def test_the_law_of_total_variance(context, classify, sharpness):
    values_T = np.linspace(-2, 2, 9)
    values_TQ = np.eye(9) if classify else values_T[:, None]
    surprise = Surprise(context, np.zeros(2, int))
    said = Voice(values_T, sharpness)
    rows = context[:20].copy()
    rows[:10, 0] = np.nan  # matters
    rows[10:15, 1] = np.nan  # does not
    member = torch.from_numpy(np.random.default_rng(1).normal(size=(20, 9)).astype("f4"))
    doubt = Doubt(surprise, np.array([0.2]), values_TQ, classify)
    moved, spoken = doubt.heard([member], [said], rows)
    assert moved.dtype == member.dtype and torch.equal(moved[10:], member[10:])
    np.testing.assert_allclose(spoken[15:], said(rows[15:]), rtol=1e-6)
    # By hand, from the draws themselves.
    asked = []
    surprise.answered(rows, lambda filled: (asked.append(filled), np.zeros((len(filled), 1)))[1])
    draws = np.exp(log_softmax(said(asked[1]).numpy(), 1)).reshape(-1, 15, 9)[:, :10]
    between = (draws @ values_TQ).var(0).sum(1)
    logs = log_softmax(member[:10].double().numpy(), 1)
    probs, mean = np.exp(logs), draws.mean(0)
    within = (probs @ values_TQ**2 - (probs @ values_TQ) ** 2).sum(1)
    share = (between / (between + within))[:, None]
    assert (share > 0).all() and (share < 1).all()
    wanted = (1 - share) * logs + share * np.log(mean) if classify else np.log((1 - share) * probs + share * mean)
    np.testing.assert_allclose(log_softmax(moved[:10].numpy(), 1), log_softmax(wanted, 1), atol=1e-5)


def test_voices_count_by_their_share(context):
    values_T = np.linspace(-2, 2, 5)
    rows = context[:9].copy()
    rows[:, 0] = np.nan
    surprise, member = Surprise(context, np.zeros(2, int)), torch.zeros(9, 5)
    one, other = Voice(values_T, 5.0), Voice(values_T[::-1].copy(), 2.0)
    heard = lambda shares, voices: Doubt(surprise, np.array(shares), np.eye(5), True).heard([member], voices, rows)[0]
    np.testing.assert_allclose(heard([0.3, 0.0], [one, other]), heard([0.1], [one]), atol=1e-6)
    assert not np.allclose(heard([0.3, 0.1], [one, other]), heard([0.1], [one]), atol=1e-3)
    assert Doubt(surprise, np.empty(0), np.eye(5), True).heard([member], [], rows)[0] is member


@pytest.mark.filterwarnings("ignore:X differs")
@pytest.mark.parametrize("Estimator", [ICLClassifier, ICLRegressor])
def test_gaps_make_answers_less_sure(Estimator):
    """A target that one column says all of: without it, answers are as sure as the labels spread, and score so."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(500, 3)), columns=["0", "1", "2"])
    # A rule of two columns, that their product alone tells of.
    y = (X["0"] * X["1"] > 0).astype(int) if Estimator is ICLClassifier else X["0"].abs() + 0.1 * rng.normal(size=500)
    model = Estimator("nano", n_estimators=1).fit(X[:300], y[:300])
    whole, gappy = X[300:], X[300:].assign(**{"0": np.nan})
    if Estimator is ICLClassifier:
        entropy = lambda rows: -(lambda p: p * np.log(p))(np.maximum(model.predict_proba(rows), 1e-9)).sum(1).mean()
        loss = -np.log(model.predict_proba(gappy)[np.arange(200), y[300:]]).mean()
        assert entropy(gappy) > entropy(whole) + 0.1 and loss < 0.8  # nothing is known: log 2 is .69
    else:
        quantiles = lambda rows: model.predict_quantiles(rows, [0.1, 0.9])
        low, high = quantiles(gappy).T
        assert (high - low).mean() > 2 * np.diff(quantiles(whole), axis=1).mean()
        assert 0.65 < ((low <= y[300:]) & (y[300:] <= high)).mean() < 0.95
