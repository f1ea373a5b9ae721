"""The reader: what it may skip and what it may not, its cache, and how it is driven."""

import copy

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from weights import SHORT, perturbed_reader, reader_tasks

from icl.network.model import ContextCache
from icl.network.reader import Reader, ReaderConfig
from icl.prediction.forward import Context, answer
from icl.prediction.memory import Footprint

WHOLE = ReaderConfig(depths=(0, 1), stride=1, rows=10_000)


@pytest.fixture(scope="module", params=[0, 5], ids=["apart", "overlapping"])
def reader(request, tiny_reader):
    """Of seven features three groups, or five that overlap."""
    reader = copy.deepcopy(tiny_reader)
    reader.trunk.config.least_groups = request.param
    return reader


@pytest.mark.parametrize("n_classes", [3, None], ids=["classification", "regression"])
def test_a_reader_that_skips_nothing_but_the_last_feature_update_agrees_until_there(tiny_model, n_classes):
    """With the last block's row attention and MLP set to zero, nothing is left that a whole reader leaves out."""
    trunk = copy.deepcopy(tiny_model)
    last = trunk.blocks[-1]
    with torch.no_grad():
        for layer in (last.over_features.out, last.over_rows.out, last.down):
            layer.weight.zero_()
        given = reader_tasks(0, n_classes)
        assert_close(Reader(trunk, WHOLE)(*given), trunk(*given), rtol=0, atol=2e-6)


def test_the_last_target_token_is_updated(tiny_model):
    given = reader_tasks(0)
    trunk = copy.deepcopy(tiny_model)
    reader = Reader(trunk, WHOLE)
    with torch.no_grad():
        before = reader(*given)
        reader.blocks[-1].down.weight.zero_()
        assert (before - reader(*given)).abs()[..., :3].max() > 1e-3


@pytest.mark.parametrize("n_classes", [3, None], ids=["classification", "regression"])
def test_with_and_without_gradients_the_answers_are_the_same(reader, n_classes):
    given = reader_tasks(1, n_classes, n_context=700, n_query=600)
    with_gradient = reader(*given)
    assert with_gradient.requires_grad
    with torch.no_grad():
        without = reader(*given)
    assert_close(with_gradient.detach().softmax(-1), without.softmax(-1), rtol=0, atol=5e-5)


def test_a_reader_of_one_block_reads_with_its_target_token_alone(tiny_model, seeded):
    reader = perturbed_reader(tiny_model, ReaderConfig(depths=(1,)), seeded(4))
    X, y, flags, n_classes = reader_tasks(8)
    with torch.no_grad():
        context = reader.read_context(X[:, :40], y, flags, n_classes)
        assert context.features == [] and len(context.target) == 1
        scores = reader.answer(X[:, 40:], context)
    assert scores[..., :3].isfinite().all() and scores[..., :3].std() > 0
    assert_close(reader(X, y, flags, n_classes).detach().softmax(-1), scores.softmax(-1), rtol=0, atol=1e-5)


def test_every_feature_is_shown(reader):
    """With every second token too: a change in any column of a query changes its answer, and of no other query."""
    X, y, flags, n_classes = reader_tasks(2, n_features=8)
    with torch.no_grad():
        before = reader(X, y, flags, n_classes)
        for column in range(8):
            moved = X.clone()
            moved[:, 45, column] = -moved[:, 45, column] + 0.5
            change = (reader(moved, y, flags, n_classes) - before).abs()[..., :3].amax(-1)
            assert (change[:, 5] > 1e-6).all() and (change[:, :5] == 0).all() and (change[:, 6:] == 0).all()


def test_every_context_row_counts(reader):
    """Feature tokens read 10 of the 40 rows, the target token all of them."""
    X, y, flags, n_classes = reader_tasks(3)
    with torch.no_grad():
        before = reader(X, y, flags, n_classes)
        for row in range(40):
            other = y.clone()
            other[:, row] = (other[:, row] + 1) % 3
            assert ((reader(X, other, flags, n_classes) - before).abs()[..., :3].amax((1, 2)) > 1e-6).all()


@pytest.mark.parametrize("regression", [False, True])
def test_the_sample_is_one_of_rows_not_of_places(reader, regression):
    """All thinking rows, no row twice, the same rows in whatever order they come; others in another guise."""
    X, y, _, _ = reader_tasks(9, n_context=300, n_query=0)
    picked = reader._sample(X, y, regression)
    assert picked.shape == (2, 12) and picked[:, :2].tolist() == [[0, 1]] * 2 and picked.max() < 302
    assert all(len(row.unique()) == 12 for row in picked) and not picked[0].equal(picked[1])
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    moved = reader._sample(X[:, order], y[:, order], regression)
    assert [set((order[row - 2]).tolist()) for row in moved[:, 2:]] == [
        set((row - 2).tolist()) for row in picked[:, 2:]
    ]
    assert not reader._sample(X.flip(-1), y, regression).equal(picked)
    assert reader._sample(X[:, :9], y[:, :9], regression).tolist() == [list(range(11))] * 2  # room for all
    alone = torch.cat([reader._sample(X[:1], y[:1], regression), reader._sample(X[1:], y[1:], regression)])
    assert alone.equal(picked)


@pytest.mark.parametrize("regression", [False, True])
def test_sampled_rows_are_like_the_others(reader, regression):
    """A column of two values, sorted, and a target that goes with it: the sample has about as many of each."""
    X = torch.stack([torch.arange(2_000) % 7, torch.arange(2_000) >= 1_000], -1)[None].float()
    wide = Reader(reader.trunk, ReaderConfig(depths=(0, 1), rows=402))
    rows = wide._sample(X, X[..., 1].long(), regression)[0, 2:] - 2
    assert abs(X[0, rows, 1].mean() - 0.5) < 4 * 0.5 / 20
    assert abs(X[0, rows, 0].mean() - 3) < 4 * 2 / 20


def test_a_rare_class_has_more_than_its_share_in_the_sample(reader):
    """Three classes of 1,880, 100 and 20 rows and 400 places: all of the rarest, and those of a class are any of it."""
    g = torch.Generator().manual_seed(2)
    y = torch.cat([torch.zeros(1_880), torch.ones(100), torch.full((20,), 2.0)])[torch.randperm(2_000, generator=g)]
    X = torch.randn(1, 2_000, 3, generator=g)
    wide = Reader(reader.trunk, ReaderConfig(depths=(0, 1), rows=402))
    rows = wide._sample(X, y.long()[None], regression=False)[0, 2:] - 2
    n_0, n_1, n_2 = y[rows].long().bincount().tolist()
    assert n_2 == 20 and 90 <= n_1 <= 100 and n_0 + n_1 + n_2 == 400
    assert abs(X[0, rows[y[rows] == 0]].mean(0)).max() < 4 / n_0**0.5
    as_numbers = wide._sample(X, y[None], regression=True)[0, 2:] - 2
    assert 5 <= (y[as_numbers] == 1).sum() <= 40  # their share of 20, give or take four standard errors


def test_no_gradient_reaches_the_network(tiny_model):
    trunk = copy.deepcopy(tiny_model)
    reader = Reader(trunk, SHORT)
    X, y, flags, n_classes = reader_tasks(4)
    reader(X, y, flags, n_classes)[..., :3].sum().backward()
    assert all(p.grad is None for p in trunk.parameters())
    reached = {name for name, p in reader.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    idle = {name for name, _ in reader.named_parameters() if not name.startswith("trunk.")} - reached
    assert all(name.startswith("bin_head") for name in idle), idle


def test_keys_for_the_network_are_those_it_makes_itself(reader):
    network = reader.trunk
    X, y, flags, n_classes = reader_tasks(5)
    keys = []
    context = reader.read_context(X[:, :40], y, flags, n_classes, keys)
    theirs = network.read_context(X[:, :40], y, flags, n_classes)
    assert len(keys) == len(theirs.keys_values)
    for a, b in zip(keys, theirs.keys_values):
        assert_close(a, b, rtol=0, atol=1e-6)
    scores = network.answer(X[:, 40:], ContextCache(context.columns, keys, n_classes))
    with torch.no_grad():
        assert_close(scores, network(X, y, flags, n_classes), rtol=0, atol=1e-6)


@pytest.mark.parametrize("n_rows", [6, 300])
def test_the_cache_has_the_size_it_says(reader, n_rows):
    X, y, flags, n_classes = reader_tasks(6, n_context=n_rows)
    with torch.no_grad():
        cache = reader.read_context(X[:, :n_rows], y, flags, n_classes)
    keys = sum(t.nbytes for t in [*cache.features, *cache.target])
    assert keys == 2 * reader.cache_bytes(n_rows + 2, 7) and keys <= cache.n_bytes < keys + 50_000


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"depths": ()}, "ascending"),
        ({"depths": (1, 0)}, "ascending"),
        ({"stride": 3}, "stride must be 1 or 2"),
        ({"rows": 0}, "rows must be at least 1"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        ReaderConfig(**fields)


def test_depths_beyond_the_network_are_refused(tiny_model):
    with pytest.raises(ValueError, match=r"2 blocks, depths \(0, 5\)"):
        Reader(tiny_model, ReaderConfig(depths=(0, 5)))


# The driver of forward passes


def contexts_and_rows(n: int = 3):
    rng = np.random.default_rng(0)
    made = [Context(rng.normal(size=(300, 5)).astype("f4"), np.arange(300) % 3, np.arange(5) == 0, 3) for _ in range(n)]
    return made, [rng.normal(size=(200, 5)).astype("f4") for _ in range(n)]


@pytest.mark.parametrize("memory_gb", [2.0, 1e-3], ids=["roomy", "tight"])
@pytest.mark.parametrize("fit_mode", ["auto", "cache", "low_memory"])
@pytest.mark.filterwarnings("ignore:fit_mode=:UserWarning")
def test_answers_do_not_depend_on_how_they_are_made(reader, fit_mode, memory_gb):
    contexts, rows = contexts_and_rows()
    flags, reference = torch.from_numpy(contexts[0].is_categorical_F)[None], []
    for c, r in zip(contexts, rows):
        X = torch.from_numpy(np.concatenate([c.X_NF, r]))[None]
        with torch.no_grad():
            reference.append(reader(X, torch.from_numpy(c.y_N)[None], flags, 3)[0].double().softmax(-1))
    for _ in range(2):  # the second time from the cache, if there is one
        got = [s.softmax(-1) for s in answer(reader, contexts, rows, memory_gb, fit_mode)]
        assert_close(got, reference, rtol=0, atol=1e-6)
    few = answer(reader, contexts, [r[:1] for r in rows], memory_gb, fit_mode)
    assert_close([s.softmax(-1) for s in few], [p[:1] for p in reference], rtol=0, atol=1e-6)


def test_network_and_reader_do_not_share_a_cache(tiny_model, reader):
    contexts, rows = contexts_and_rows(1)
    whole = answer(tiny_model, contexts, rows)[0]
    assert not torch.equal(whole, answer(reader, contexts, rows)[0])
    assert torch.equal(whole, answer(tiny_model, contexts, rows)[0])


def test_a_reader_needs_room_to_read_but_keeps_less(tiny_model, reader):
    whole, short = (Footprint.of(m, 500, 5, 2) for m in (tiny_model, reader))
    assert short.cache < whole.cache / 2 and short.one_pass(0, True) > whole.one_pass(0, True)
