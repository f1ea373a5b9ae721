"""The exact posterior predictives, against quadrature-free identities and Monte Carlo."""

import math

import pytest
import torch
from torch.testing import assert_close

from priors import GaussianProcessPrior, LinearPrior, TaskBatch, TaskShape


@pytest.mark.parametrize("prior", [LinearPrior(), GaussianProcessPrior(), GaussianProcessPrior(kernel="matern32")])
def test_probability_integral_transform_is_uniform(prior, seeded):
    """If the posterior is exact, its cdf at the truth is uniform: mean 1/2, variance 1/12, no tails too heavy."""
    batch = prior.sample(TaskShape(4_000, 13, 12, 2), seeded(0))
    dist = prior.posterior_predictive(batch)
    y = batch.y_query.double()
    if isinstance(dist, torch.distributions.StudentT):
        import scipy.stats

        u = torch.as_tensor(scipy.stats.t.cdf(((y - dist.loc) / dist.scale).numpy(), dist.df.numpy()))
    else:
        u = dist.cdf(y)
    n = u.numel()
    assert abs(u.mean() - 0.5) < 4 / math.sqrt(12 * n)
    assert abs(u.var() - 1 / 12) < 4 * math.sqrt(1 / 180 / n)
    share_outside = ((u < 0.05) | (u > 0.95)).double().mean()
    assert abs(share_outside - 0.1) < 4 * math.sqrt(0.09 / n)


@pytest.mark.parametrize("prior", [LinearPrior(), GaussianProcessPrior()])
def test_context_order_is_irrelevant(prior, seeded):
    batch = prior.sample(TaskShape(3, 20, 15, 2), seeded(1))
    order = torch.cat([torch.randperm(15, generator=seeded(2)), torch.arange(15, 20)])
    shuffled = TaskBatch(batch.X[:, order], batch.y[:, order], 15, batch.is_categorical)
    value = batch.y_query.double()
    assert_close(
        prior.posterior_predictive(batch).log_prob(value), prior.posterior_predictive(shuffled).log_prob(value)
    )


def test_linear_equals_the_chain_rule_of_its_marginal_likelihood(seeded):
    """p(y1, y2 | X) = p(y1) p(y2 | y1) whichever row is called context: an identity only the exact answer satisfies."""
    prior = LinearPrior(coefficient_std=0.7, noise_shape=2.5, noise_scale=1.3)
    batch = prior.sample(TaskShape(6, 9, 7, 2), seeded(3))

    def joint_of_last_two(order):
        X, y = batch.X[:, order], batch.y[:, order]
        first = prior.posterior_predictive(TaskBatch(X[:, :8], y[:, :8], 7, batch.is_categorical))
        second = prior.posterior_predictive(TaskBatch(X, y, 8, batch.is_categorical))
        return first.log_prob(y[:, 7:8].double()) + second.log_prob(y[:, 8:9].double())

    assert_close(joint_of_last_two([0, 1, 2, 3, 4, 5, 6, 7, 8]), joint_of_last_two([0, 1, 2, 3, 4, 5, 6, 8, 7]))


def test_gp_covariance_of_draws_is_the_kernel(seeded):
    prior = GaussianProcessPrior(noise_std=0.3, signal_std=1.2)
    n = 20_000
    batch = prior.sample(TaskShape(n, 4, 2, 1), seeded(4))
    product = batch.y[:, 0].double() * batch.y[:, 1].double()
    expected = prior.covariance(batch.X[:, :1].double(), batch.X[:, 1:2].double()).flatten()
    error = product - expected
    assert abs(error.mean()) < 4 * error.std() / math.sqrt(n)
    variance_error = batch.y[:, 0].double().square() - (1.2**2 + 0.3**2)
    assert abs(variance_error.mean()) < 4 * variance_error.std() / math.sqrt(n)


@pytest.mark.parametrize("kernel", ["rbf", "matern12", "matern32", "matern52"])
def test_gp_kernels_match_scikit_learn(kernel, seeded):
    from sklearn.gaussian_process.kernels import RBF, Matern

    X = torch.randn(1, 6, 3, generator=seeded(5), dtype=torch.double)
    ours = GaussianProcessPrior(kernel=kernel, length_scale=0.8).covariance(X, X)[0]
    scale = 0.8 * math.sqrt(3)
    nu = {"matern12": 0.5, "matern32": 1.5, "matern52": 2.5}
    theirs = RBF(scale) if kernel == "rbf" else Matern(scale, nu=nu[kernel])
    assert_close(ours, torch.as_tensor(theirs(X[0].numpy())))
