"""Every family is a pure function of (options, shape, seed, step, rank); tests/test_data.py has the stream's own laws.

On one thread, as in a worker: sums that several threads share differ in their last bit from sums on one (measured: 61
cells of one `scm` table in 40, by up to 4e-7).
"""

import pickle

import pytest
import torch

from icl.training.stream import TaskLoader, TaskStream, sample_step
from priors import LinearPrior, MixturePrior, ShapeSampler, TaskBatch, TaskShape, available_priors
from priors.cli import build_prior
from priors.stream import one_thread

FAMILIES = {
    f"{name}-{task}": prior
    for name in available_priors()
    for task in ("classification", "regression")
    if (prior := build_prior(name, task, strict=False))
    and (getattr(prior, "task", None) == task or task == "regression")
}
EVERY = list(FAMILIES.values())
SHAPES = ShapeSampler(n_cells=600, rows=(24, 64), features=(2, 8))


@pytest.fixture(autouse=True)
def as_in_a_worker():
    with one_thread():
        yield


@pytest.fixture(params=EVERY, ids=FAMILIES.keys())
def prior(request):
    return request.param


def assert_identical(a: TaskBatch, b: TaskBatch) -> None:
    """Bit for bit: the same numbers, and NaN in the same cells."""
    assert a.n_context == b.n_context
    assert torch.equal(a.X.view(torch.int32), b.X.view(torch.int32))
    assert torch.equal(a.y, b.y) and torch.equal(a.is_categorical, b.is_categorical)
    assert (a.n_classes is None and b.n_classes is None) or torch.equal(a.n_classes, b.n_classes)


def assert_identical_steps(left: list, right: list) -> None:
    assert len(left) == len(right)
    for batches, others in zip(left, right):
        for a, b in zip(batches, others, strict=True):
            assert_identical(a, b)


def read(n_steps: int, start: int = 0, num_workers: int = 0, rank: int = 0) -> list:
    stream = TaskStream(EVERY, SHAPES, seed=5, rank=rank, start=start, n_steps=n_steps)
    return list(TaskLoader(stream, batch_size=None, num_workers=num_workers))


# More workers than cores is the point here: the stream must not depend on them.
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_every_family_is_the_same_for_any_workers_and_after_resuming():
    alone = read(3)
    assert_identical_steps(read(3, num_workers=3), alone)
    assert_identical_steps(read(1, num_workers=1) + alone[1:2] + read(1, start=2, num_workers=1), alone)


def test_nothing_is_remembered_between_batches():
    """Steps out of order, twice, and by copies that never sampled: a hidden state or a cache would show."""
    expected = read(3)
    copies = pickle.loads(pickle.dumps(EVERY))
    for step in (2, 0, 2, 1):
        assert_identical_steps([sample_step(copies, SHAPES, seed=5, step=step)], [expected[step]])


def test_ranks_and_steps_of_every_family_differ(prior):
    def table(**at) -> torch.Tensor:
        return sample_step([prior], ShapeSampler(rows=(64, 64), features=(4, 4)), **at)[0].X.nan_to_num()

    first = table(seed=0, step=1, rank=0)
    for other in (
        {"seed": 1, "step": 1, "rank": 0},
        {"seed": 0, "step": 2, "rank": 0},
        {"seed": 0, "step": 1, "rank": 1},
    ):
        x = table(**other)
        n = min(len(x), len(first)), min(x.shape[1], first.shape[1])
        assert not torch.equal(x[: n[0], : n[1]], first[: n[0], : n[1]])


def test_the_context_share_moves_no_regression_row(prior, seeded):
    """Where rows are not dealt by class, a task's cells and targets do not depend on how many of them carry labels."""
    if prior.sample(TaskShape(1, 20, 10, 2), seeded(0)).n_classes is not None or hasattr(prior, "components"):
        pytest.skip("classes are put into the context; a mixture may shift context and query apart")
    few, many = (prior.sample(TaskShape(4, 60, n, 3), seeded(12)) for n in (10, 50))
    assert torch.equal(few.X.nan_to_num(), many.X.nan_to_num()) and torch.equal(few.y, many.y)


@pytest.mark.parametrize(
    "name", [name for name, p in FAMILIES.items() if hasattr(p, "missing") and "mixture" not in name]
)
def test_missing_cells_are_all_that_the_option_missing_changes(name, seeded):
    family, task = name.rsplit("-", 1)
    whole, holed = (
        build_prior(family, task, {"missing": share}).sample(TaskShape(6, 80, 50, 5), seeded(13))
        for share in (0.0, 1.0)
    )
    there = ~holed.X.isnan()
    assert 0 < there.sum() < there.numel() and not whole.X.isnan().any()
    assert torch.equal(holed.X[there], whole.X[there])
    assert torch.equal(holed.y, whole.y) and torch.equal(holed.is_categorical, whole.is_categorical)


def test_weights_of_a_mixture_change_who_samples_and_not_what(seeded):
    components = [LinearPrior(), LinearPrior(noise_scale=50.0)]
    shape = TaskShape(2, 20, 10, 2)
    kept = changed = 0
    for seed in range(60):
        plain, skewed = (
            MixturePrior(components, weights, transforms=[], learnable=False).sample(shape, seeded(seed))
            for weights in ([1, 1], [1, 9])
        )
        assert torch.equal(plain.X, skewed.X)  # both components draw their columns alike
        kept += torch.equal(plain.y, skewed.y)
        changed += not torch.equal(plain.y, skewed.y)
    # The same component in both with probability 1/2 * 1/10 + 1/2 * 9/10 at least; 60 draws cannot miss either case.
    assert kept > 20 and changed > 5
