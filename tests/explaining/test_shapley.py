"""Games with known values: linear ones, unanimity, players that do nothing."""

import numpy as np
import pytest

from icl.explaining.shapley import exact, sampled, shapley


def linear_game(X_MP, weight_PC, center_P):
    """A column that is not known counts as its mean, as in the conditional expectation of a linear model."""

    def game(masks_KP):
        return np.where(masks_KP, X_MP[:, None], center_P) @ weight_PC

    return game


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_exact_values_of_a_linear_model_are_the_closed_form(rng):
    X, weight, center = rng.normal(size=(7, 6)), rng.normal(size=(6, 2)), rng.normal(size=6)
    found = exact(linear_game(X, weight, center), 6)
    np.testing.assert_allclose(found.values, (X - center)[..., None] * weight, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.empty, np.tile(center @ weight, (7, 1)))
    assert found.std_errors is None and found.n_coalitions == 64


def test_orders_give_a_linear_model_exactly_and_without_error(rng):
    X, weight, center = rng.normal(size=(4, 15)), rng.normal(size=(15, 1)), np.zeros(15)
    found = sampled(linear_game(X, weight, center), 15, 3, seed=0)
    np.testing.assert_allclose(found.values, X[..., None] * weight, rtol=0, atol=1e-12)
    assert found.std_errors.max() < 1e-12


def test_unanimity_is_shared_equally_and_idle_players_get_nothing():
    found = exact(lambda masks: masks[:, :3].all(1)[None, :, None].astype(float), 5)
    np.testing.assert_allclose(found.values[0, :, 0], [1 / 3, 1 / 3, 1 / 3, 0, 0], atol=1e-12)


def test_sampled_values_are_within_their_errors_and_add_up(rng):
    """Products of columns: their distances from the exact ones in standard errors."""
    X = rng.normal(size=(40, 10))

    def game(masks):
        Z = np.where(masks, X[:, None], 0.5)
        return (Z[..., :5].prod(-1) + Z[..., 3:9].sum(-1) ** 2)[..., None]

    truth, far = exact(game, 10), []
    for seed in range(20):  # rows share their orders, so one seed is one draw
        found = sampled(game, 10, 60, seed)
        np.testing.assert_allclose(found.values.sum(1), truth.whole - truth.empty, atol=1e-9)
        varies = found.std_errors > 1e-9
        far.append(np.abs(found.values - truth.values)[varies] / found.std_errors[varies])
        np.testing.assert_allclose(found.values[~varies], truth.values[~varies], atol=1e-9)
    assert 0.9 < np.mean(np.concatenate(far) < 2) < 0.99


def test_the_budget_decides():
    def game(masks):
        return masks.sum(1)[None, :, None].astype(float)

    assert shapley(game, 9, 512, seed=0).std_errors is None
    many = shapley(game, 10, 512, seed=0)
    assert many.std_errors is not None and many.n_coalitions <= 512
    assert shapley(game, 400, 2, seed=0).values.shape == (1, 400, 1)
