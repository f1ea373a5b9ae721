"""The exact posterior predictives, against quadrature-free identities and Monte Carlo."""

import itertools
import math

import pytest
import scipy.stats
import torch
from torch.testing import assert_close

from priors import GaussianProcessPrior, LinearPrior, TaskBatch, TaskShape
from priors.changepoint import ChangepointPrior
from priors.kernels import RBF, Linear, Matern, Periodic, parse_kernel

KERNEL_EXPRESSIONS = ["rbf", "matern12", "matern32", "matern52", "periodic", "linear", "rbf + periodic * linear"]
ORACLES = {
    "linear": LinearPrior(),
    "changepoint": ChangepointPrior(),
    **{f"gp {k}": GaussianProcessPrior(kernel=k) for k in KERNEL_EXPRESSIONS},
}


def oracle_cdf(prior, batch: TaskBatch) -> torch.Tensor:
    """The posterior predictive's distribution function at the query's true values."""
    dist, y = prior.posterior_predictive(batch), batch.y_query.double()
    if isinstance(dist, torch.distributions.StudentT):  # torch has no cdf for it
        z = ((y - dist.loc) / dist.scale).numpy()
        return torch.as_tensor(scipy.stats.t.cdf(z, dist.df.numpy()))
    return dist.cdf(y)


@pytest.mark.parametrize("prior", ORACLES.values(), ids=ORACLES)
def test_probability_integral_transform_is_uniform(prior, seeded):
    """If the posterior is exact, its cdf at the truth is uniform (Kolmogorov-Smirnov at one in a thousand)."""
    # One query a task, so that the values are independent.
    u = oracle_cdf(prior, prior.sample(TaskShape(4_000, 13, 12, 2), seeded(0))).flatten()
    n = u.numel()
    assert scipy.stats.kstest(u.numpy(), "uniform").pvalue > 1e-3
    assert abs(u.var() - 1 / 12) < 4 * math.sqrt(1 / 180 / n)
    share_outside = ((u < 0.05) | (u > 0.95)).double().mean()
    assert abs(share_outside - 0.1) < 4 * math.sqrt(0.09 / n)


def test_a_wrong_posterior_fails_the_uniformity_test(seeded):
    batch = ChangepointPrior(rate=3.0).sample(TaskShape(4_000, 13, 12, 2), seeded(0))
    u = oracle_cdf(ChangepointPrior(rate=0.1), batch).flatten()
    assert scipy.stats.kstest(u.numpy(), "uniform").pvalue < 1e-6


@pytest.mark.parametrize("prior", [LinearPrior(), GaussianProcessPrior(), ChangepointPrior()])
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


def test_kernels_match_scikit_learn(seeded):
    from sklearn.gaussian_process import kernels as theirs

    X = torch.randn(1, 6, 1, generator=seeded(5), dtype=torch.double)
    pairs = [
        (RBF(0.8), theirs.RBF(0.8)),
        (Matern(0.8, 0.5), theirs.Matern(0.8, nu=0.5)),
        (Matern(0.8, 1.5), theirs.Matern(0.8, nu=1.5)),
        (Matern(0.8, 2.5), theirs.Matern(0.8, nu=2.5)),
        (Periodic(0.8, 1.3), theirs.ExpSineSquared(0.8, 1.3)),
        (Linear(), theirs.DotProduct(0.0, sigma_0_bounds="fixed")),
        (RBF() + Periodic() * Linear(), theirs.RBF() + theirs.ExpSineSquared(1.0, 2.0) * theirs.DotProduct(0.0)),
    ]
    for ours, reference in pairs:
        assert_close(ours.covariance(X, X)[0], torch.as_tensor(reference(X[0].numpy())))
        assert_close(ours.variance(X)[0], torch.as_tensor(reference.diag(X[0].numpy())))


def test_length_scales_grow_with_the_root_of_the_columns(seeded):
    from sklearn.gaussian_process.kernels import RBF as Theirs

    X = torch.randn(1, 6, 3, generator=seeded(5), dtype=torch.double)
    expected = torch.as_tensor(Theirs(0.8 * math.sqrt(3))(X[0].numpy()))
    assert_close(GaussianProcessPrior(length_scale=0.8).covariance(X, X)[0], expected)


@pytest.mark.parametrize("expression", KERNEL_EXPRESSIONS)
def test_random_features_have_the_kernel_as_second_moment(expression, seeded):
    """What large tables are drawn from: mean 0 and exactly the kernel's covariance, within Monte-Carlo error."""
    kernel, n = parse_kernel(expression, 0.7), 100_000
    X = torch.randn(1, 4, 2, generator=seeded(6))
    Z = kernel.features(X, n, seeded(7))[0].double()
    products = Z[:, None] * Z
    error = products.mean(-1) - kernel.covariance(X, X)[0]
    assert (error.abs() < 5 * products.std(-1) / math.sqrt(n)).all()
    assert (Z.mean(-1).abs() < 5 * Z.std(-1) / math.sqrt(n)).all()


def test_large_gp_tables_follow_the_exact_posterior(seeded):
    """Random features stand in for the Cholesky factor beyond `exact_rows`; the exact posterior hardly notices."""
    prior = GaussianProcessPrior(kernel="matern32", exact_rows=8)
    u = oracle_cdf(prior, prior.sample(TaskShape(2_000, 13, 12, 2), seeded(0))).flatten()
    assert scipy.stats.kstest(u.numpy(), "uniform").pvalue > 1e-3


def test_unknown_kernels_are_refused():
    with pytest.raises(ValueError, match=r"names are rbf.*'rbf \+ cubic'"):
        GaussianProcessPrior(kernel="rbf + cubic")


def brute_force_changepoint(prior: ChangepointPrior, batch: TaskBatch, y_query: float) -> float:
    """log p(y_query | ...) of the first task, summed over every path of levels and every column."""
    levels = prior._levels(batch.X.double())
    L, R = len(levels), batch.X.shape[1]
    y = torch.cat([batch.y_context[0].double(), torch.tensor([y_query], dtype=torch.double)])
    with_query = without = 0.0
    for column in batch.X[0].double().T:
        order = column.argsort()
        gaps = column[order].diff()
        for path in itertools.product(range(L), repeat=R):
            weight = 1 / L
            for k, gap in enumerate(gaps):
                stay = math.exp(-prior.rate * gap)
                weight *= stay * (path[k] == path[k + 1]) + (1 - stay) / L
            for place, row in enumerate(order.tolist()):
                if row < R - 1:
                    weight *= density(prior, levels[path[place]], y[row])
            without += weight
            with_query += weight * density(prior, levels[path[order.tolist().index(R - 1)]], y[-1])
    return math.log(with_query / without)


def density(prior: ChangepointPrior, level: torch.Tensor, y: torch.Tensor) -> float:
    if prior.task == "classification":
        return float(level if y == 1 else 1 - level)
    return math.exp(torch.distributions.Normal(level, prior.noise_std).log_prob(y))


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_changepoint_messages_equal_the_sum_over_all_paths(task, seeded):
    prior = ChangepointPrior(task=task, n_levels=3, rate=2.0)
    for seed in range(4):
        batch = prior.sample(TaskShape(1, 5, 4, 2), seeded(seed))
        dist = prior.posterior_predictive(batch)
        assert_close(
            float(dist.log_prob(batch.y_query)[0, 0]),
            brute_force_changepoint(prior, batch, float(batch.y_query[0, 0])),
        )


def test_changepoint_class_chances_are_calibrated(seeded):
    """Although only contexts with both classes are kept: the answer conditions on the context anyway."""
    prior = ChangepointPrior(task="classification")
    batch = prior.sample(TaskShape(10_000, 7, 6, 1), seeded(1))
    p, y = prior.posterior_predictive(batch).probs[:, 0, 1], batch.y_query[:, 0]
    for low, high in [(0, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 1)]:
        inside = (p >= low) & (p < high)
        deviation = (y[inside] - p[inside]).sum() / (p[inside] * (1 - p[inside])).sum().sqrt()
        assert abs(deviation) < 4 and inside.sum() > 300
