"""One contract, inherited by every prior that the registry names, in both kinds of target where it has them."""

import functools
import inspect

import pytest
import torch
from torch.testing import assert_close

import priors
from priors import GaussianProcessPrior, Prior, TaskBatch, TaskShape, available_priors, make_prior


def variants(name: str) -> dict[str, Prior]:
    """The priors of one name: both kinds of target, no blanked cells, so that what is drawn can be seen."""
    options = inspect.signature(type(make_prior(name))).parameters
    unblanked = {"missing": 0.0} if "missing" in options else {}
    if "task" not in options:
        return {name: make_prior(name, **unblanked)}
    tasks = ("classification", "regression")
    return {f"{name}-{task}": make_prior(name, task=task, **unblanked) for task in tasks}


PRIORS = {key: prior for name in available_priors() for key, prior in variants(name).items()}
CLASSIFYING = {key: prior for key, prior in PRIORS.items() if key.endswith("-classification")}
PRIORS["gp-matern12"] = GaussianProcessPrior(kernel="matern12")
PRIORS["gp-composed"] = GaussianProcessPrior(kernel="rbf + periodic * linear")
SHAPES = [TaskShape(5, 40, 25, 1), TaskShape(3, 9, 4, 7), TaskShape(4, 24, 12, 2), TaskShape(1, 130, 100, 33)]
LARGE = TaskShape(1, 2_048, 1_500, 100)


@functools.cache
def drawn(key: str, shape: TaskShape, seed: int) -> TaskBatch:
    """A batch that several laws look at. Do not change it."""
    return PRIORS[key].sample(shape, torch.Generator().manual_seed(seed))


@pytest.fixture(params=PRIORS)
def key(request) -> str:
    return request.param


@pytest.fixture
def prior(key) -> Prior:
    return PRIORS[key]


def assert_usable(batch: TaskBatch):
    """Finite, codes are codes, every column and every target varies."""
    assert not batch.X.isinf().any()
    assert batch.y.isfinite().all()
    codes = batch.X[batch.is_categorical[:, None].expand_as(batch.X)]
    codes = codes[~codes.isnan()]
    assert torch.equal(codes, codes.round())
    assert (codes >= 0).all()
    assert batch.y.ne(batch.y[:, :1]).any(1).all()
    if not batch.X.isnan().any():
        assert batch.X.ne(batch.X[:, :1]).any(1).all()


@pytest.fixture(params=SHAPES, ids=str)
def shape(request) -> TaskShape:
    return request.param


def test_batch_has_the_shape_asked_for(key, shape):
    batch = drawn(key, shape, 0)
    assert batch.shape == shape
    assert batch.X.dtype == torch.float32 and batch.is_categorical.dtype == torch.bool
    assert batch.y.shape == (shape.n_tasks, shape.n_rows)
    assert batch.is_categorical.shape == (shape.n_tasks, shape.n_features)
    assert batch.y.dtype == (torch.float32 if batch.n_classes is None else torch.int64)


def test_values_are_usable(key, shape):
    for seed in range(5):
        assert_usable(drawn(key, shape, seed))


def test_large_tables_are_usable(prior, seeded):
    assert_usable(prior.sample(LARGE, seeded(0)))


@pytest.mark.parametrize("classifying", CLASSIFYING)
def test_every_class_is_among_the_context_labels(classifying, shape):
    for seed in range(5):
        batch = drawn(classifying, shape, seed)
        assert (batch.n_classes >= 2).all()
        for y_context, y, n_classes in zip(batch.y_context, batch.y, batch.n_classes, strict=True):
            assert y_context.unique().tolist() == list(range(n_classes))
            assert y.max() < n_classes


def test_a_batch_is_a_function_of_the_generator(key, prior, shape, seeded):
    first, other = drawn(key, shape, 1), drawn(key, shape, 2)
    torch.manual_seed(20_261)  # the ambient state plays no part
    again = prior.sample(shape, seeded(1))
    assert_close(first.X, again.X, rtol=0, atol=0, equal_nan=True)
    assert_close(first.y, again.y, rtol=0, atol=0)
    assert not torch.equal(first.X.nan_to_num(), other.X.nan_to_num())


def test_sampling_leaves_the_ambient_generator_alone(prior, seeded):
    before = torch.random.get_rng_state()
    prior.sample(SHAPES[0], seeded(0))
    assert torch.equal(before, torch.random.get_rng_state())


def test_tasks_of_a_batch_differ(prior, seeded):
    batch = prior.sample(TaskShape(8, 40, 25, 3), seeded(3))
    columns = batch.X.nan_to_num().sum(1)
    assert len(columns.unique(dim=0)) == 8


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(ValueError, match=r"no prior 'lineer'.*linear"):
        make_prior("lineer")


def test_every_public_prior_is_in_the_registry():
    abstract = {"Prior", "TablePrior"}
    public = {name for name in priors.__all__ if name.endswith("Prior")} - abstract
    assert public == {type(make_prior(name)).__name__ for name in available_priors()}


@pytest.mark.parametrize("bad", [(0, 10, 5, 3), (1, 10, 10, 3), (1, 10, 1, 3), (1, 10, 5, 0)])
def test_impossible_shapes_are_refused(bad):
    with pytest.raises(ValueError, match="got"):
        TaskShape(*bad)
