"""Laws of the network, in float64 to 1e-10."""

import copy
import importlib

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from icl.network.blocks import Attention
from icl.network.config import TabularConfig
from icl.network.model import TabularTransformer
from priors import FunctionPrior, TargetConfig, TaskShape

TASKS = ("classification", "regression")
TIGHT = {"rtol": 1e-10, "atol": 1e-10}


def with_groups(model, least_groups):
    """A copy whose narrow tables have so many tokens at least."""
    model = copy.deepcopy(model)
    model.config.least_groups = least_groups
    return model


@pytest.fixture(scope="module", params=[0, 5], ids=["apart", "overlapping"])
def model(request, tiny_model):
    """Of seven features three groups, or five that overlap."""
    return with_groups(tiny_model, request.param).double()


@pytest.fixture(params=TASKS)
def table(request, seeded):
    """X (3, 30, 7) with missing cells and categories, y (3, 20), flags, n_classes."""
    prior = FunctionPrior(task=request.param, missing=1.0, target=TargetConfig(max_classes=5))
    batch = prior.sample(TaskShape(3, 30, 20, 7), seeded(0))
    y = batch.y_context if batch.n_classes is not None else batch.y_context.double()
    return batch.X.double(), y, batch.is_categorical, batch.n_classes


@torch.no_grad()
def test_scores_have_the_documented_shape(model, table):
    X, y, flags, n_classes = table
    scores = model(X, y, flags, n_classes)
    assert scores.shape == (3, 10, model.config.n_bins if n_classes is None else model.config.max_classes)
    if n_classes is not None:
        assert torch.equal(scores.isinf().sum(-1), (5 - n_classes)[:, None].expand(3, 10))


@torch.no_grad()
def test_context_order_is_irrelevant(model, table, seeded):
    X, y, flags, n_classes = table
    order = torch.randperm(20, generator=seeded(1))
    shuffled = torch.cat([X[:, order], X[:, 20:]], 1)
    assert_close(model(shuffled, y[:, order], flags, n_classes), model(X, y, flags, n_classes), **TIGHT)


@torch.no_grad()
def test_a_query_does_not_see_other_queries(model, table):
    X, y, flags, n_classes = table
    together = model(X, y, flags, n_classes)
    for m in range(10):
        alone = model(torch.cat([X[:, :20], X[:, 20 + m : 21 + m]], 1), y, flags, n_classes)
        assert_close(alone[:, 0], together[:, m], **TIGHT)


@torch.no_grad()
def test_a_task_does_not_see_other_tasks(model, table):
    X, y, flags, n_classes = table
    together = model(X, y, flags, n_classes)
    for b in range(3):
        one = slice(b, b + 1)
        alone = model(X[one], y[one], flags[one], None if n_classes is None else n_classes[one])
        assert_close(alone, together[one], **TIGHT)


@torch.no_grad()
def test_affine_change_of_y_carries_over(model, seeded):
    X = torch.randn(2, 25, 4, dtype=torch.double, generator=seeded(2))
    y = torch.randn(2, 15, dtype=torch.double, generator=seeded(3))
    a, b = 7.0, -300.0
    assert_close(model(X, a * y + b), model(X, y), **TIGHT)
    plain, moved = model.predict_distribution(X, y), model.predict_distribution(X, a * y + b)
    for q in (0.05, 0.5, 0.95):
        assert_close(moved.icdf(q), a * plain.icdf(q) + b, **TIGHT)
    assert_close(moved.mean, a * plain.mean + b, **TIGHT)
    assert_close(moved.stddev, a * plain.stddev, **TIGHT)


@torch.no_grad()
def test_rescaling_features_carries_over(model, table):
    X, y, flags, n_classes = table
    scale = torch.tensor([2.0, 0.5, 10.0, 1.0, 3.0, 0.1, 4.0], dtype=torch.double)
    shift = torch.tensor([1.0, -5.0, 0.0, 2.0, 10.0, 0.0, -1.0], dtype=torch.double)
    assert_close(model(X * scale + shift, y, flags, n_classes), model(X, y, flags, n_classes), **TIGHT)


@torch.no_grad()
def test_labels_and_cells_and_flags_matter(model, table):
    """The laws would hold for a constant too: every input must reach the output."""
    X, y, flags, n_classes = table
    reference = model(X, y, flags, n_classes).nan_to_num(neginf=0)

    def changed(*inputs):
        return (model(*inputs, n_classes).nan_to_num(neginf=0) - reference).abs().amax((1, 2))

    assert (changed(X, y.roll(1, 1), flags) > 1e-6).all()
    assert (changed(X.roll(1, 1), y, flags) > 1e-6).all()
    assert (changed(X, y, ~flags) > 1e-6).all()


@torch.no_grad()
def test_constant_and_all_missing_columns_give_finite_scores(model):
    X = torch.full((1, 12, 3), 5.0, dtype=torch.double)
    X[..., 1] = torch.nan
    y = torch.arange(8, dtype=torch.double)[None]
    assert model(X, y).isfinite().all()
    assert model(X, torch.full((1, 8), 3.0, dtype=torch.double)).isfinite().all()  # constant target


def test_gradients_reach_every_parameter(tiny_model, seeded):
    model = copy.deepcopy(tiny_model)
    X, y = torch.randn(2, 20, 4, generator=seeded(4)), torch.randn(2, 12, generator=seeded(5))
    X[0, 3, 1] = torch.nan
    loss = model(X, y).square().mean()
    labels = torch.randint(0, 5, (2, 12), generator=seeded(6))
    loss = loss + model(X, labels, None, 5).square().mean()
    loss.backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().any()]
    assert silent == []


@pytest.mark.parametrize("module", ["icl.network.model", "icl.network.pretrained"])
def test_every_block_of_a_new_network_is_the_identity(module, seeded):
    """Whoever draws the weights: transformers once skipped the zeros of modules without parameters of their own."""
    new = importlib.import_module(module).TabularTransformer(TabularConfig(d_embed=12, n_layers=2, n_heads=2))
    x_BSTE = torch.randn(2, 9, 3, 12, generator=seeded(0))
    for block in new.blocks:
        assert_close(block(x_BSTE, 6), x_BSTE, rtol=0, atol=0)
        nn.init.normal_(block.down.weight)
        assert not torch.equal(block(x_BSTE, 6), x_BSTE)


def test_automodel_loads_a_release(tiny_release, tiny_model, seeded):
    from transformers import AutoModel  # takes longer to import than torch

    loaded = AutoModel.from_pretrained(tiny_release)
    assert isinstance(loaded, TabularTransformer)
    X, y = torch.randn(1, 9, 3, generator=seeded(7)), torch.randn(1, 6, generator=seeded(8))
    with torch.no_grad():
        assert_close(loaded.eval()(X, y), tiny_model(X, y))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d_embed": 96, "n_heads": 5}, "divide"),
        ({"max_classes": 1}, "max_classes"),
        ({"n_layers": 0}, "n_layers"),
        ({"least_groups": -1}, "least_groups must not be negative"),
        ({"n_rank_waves": 21}, "n_rank_waves must be 0 to 20"),
        ({"n_rank_waves": 2.5}, "n_rank_waves must be a whole number, got 2.5"),
        ({"n_bins": True}, "whole number, got True"),
        ({"n_layers": "3"}, "n_layers must be a whole number, got '3'"),
        ({"n_heads": 0}, "n_heads"),
    ],
)
def test_impossible_sizes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TabularConfig(**options)


def test_unknown_options_are_refused():
    with pytest.raises(ValueError, match=r"d_embde.*d_embed"):
        TabularConfig(d_embde=64)


def test_cached_and_plain_and_training_passes_agree(model, table):
    X, y, flags, n_classes = table
    training = model(X, y, flags, n_classes)  # keeps gradients: all rows in one pass
    with torch.no_grad():
        plain = model(X, y, flags, n_classes)
        context = model.read_context(X[:, :20], y, flags, n_classes)
        cached = torch.cat([model.answer(X[:, a:b], context) for a, b in ((20, 27), (27, 27), (27, 30))], 1)
    assert training.requires_grad and not plain.requires_grad
    assert_close(plain, training.detach(), **TIGHT)
    assert_close(cached, plain, **TIGHT)


@torch.no_grad()
def test_passes_agree_in_float32(tiny_model, seeded):
    """With rows enough for the kernels that predictions use."""
    X, y = torch.randn(2, 700, 5, generator=seeded(9)), torch.randint(0, 5, (2, 400), generator=seeded(10))
    exact = copy.deepcopy(tiny_model).double()(X.double(), y, None, 5).softmax(-1)
    plain = tiny_model(X, y, None, 5).softmax(-1)
    cached = tiny_model.answer(X[:, 400:], tiny_model.read_context(X[:, :400], y, None, 5)).softmax(-1)
    assert_close(plain.double(), exact, rtol=0, atol=1e-5)
    assert_close(cached, plain, rtol=0, atol=1e-6)
    with torch.enable_grad():
        assert_close(tiny_model(X, y, None, 5).softmax(-1).detach(), plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize("n_features", [1, 3, 8, 9])
@torch.no_grad()
def test_a_group_at_every_feature_makes_turned_columns_the_same_table(tiny_model, n_features, seeded):
    """Each feature then stands in the same company wherever the table begins; with groups apart it does not."""
    X, y = torch.randn(2, 40, n_features, generator=seeded(14)), torch.randn(2, 25, generator=seeded(15))
    turned = X.roll(1, -1)
    for least_groups, same in ((9, True), (0, n_features == 1)):
        model = with_groups(tiny_model, least_groups).double()
        change = (model(turned.double(), y.double()) - model(X.double(), y.double())).abs().max()
        assert change < 1e-10 if same else change > 1e-6


@torch.no_grad()
def test_a_wide_table_is_answered_as_without_least_groups(tiny_model, seeded):
    X, y = torch.randn(2, 40, 13, generator=seeded(16)), torch.randint(0, 3, (2, 25), generator=seeded(17))
    assert torch.equal(with_groups(tiny_model, 5)(X, y, None, 3), tiny_model(X, y, None, 3))
    assert not torch.equal(with_groups(tiny_model, 6)(X, y, None, 3), tiny_model(X, y, None, 3))


@torch.no_grad()
def test_slices_of_rows_do_not_matter(model, table, monkeypatch):
    X, y, flags, n_classes = table
    whole = model(X, y, flags, n_classes)
    monkeypatch.setattr("icl.network.blocks.SLICE_TOKENS", {"cpu": 1})
    monkeypatch.setattr("icl.network.blocks.MIN_SLICE_ROWS", 3)
    assert_close(model(X, y, flags, n_classes), whole, **TIGHT)


@torch.no_grad()
def test_a_cache_takes_what_is_documented(tiny_model, seeded):
    X, y = torch.randn(2, 50, 5, generator=seeded(11)), torch.randn(2, 50, generator=seeded(12))
    cache = tiny_model.read_context(X, y)
    n_tokens = 2 * (50 + 2) * 3  # tasks x (context and thinking rows) x (two groups and the target)
    assert sum(kv.nbytes for kv in cache.keys_values) == 8 * 2 * 16 * n_tokens
    assert cache.n_bytes < 1.5 * 8 * 2 * 16 * n_tokens


def test_every_length_of_context_is_compiled_into_one_graph(seeded):
    """A logarithm by Python would make each length a graph of its own, of which torch.compile takes eight at most."""
    attention = Attention(TabularConfig(d_embed=16, n_heads=2), over_rows=True)
    attention.log_scale.data.fill_(0.5)
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    compiled = torch.compile(lambda x: x * attention._sharpness(x.shape[0]).sum(), dynamic=True, backend=backend)
    for n in (40, 57, 128, 300):
        x = torch.randn(n, generator=seeded(n))
        assert_close(compiled(x), x * attention._sharpness(n).sum())
    torch.compiler.reset()
    assert len(graphs) == 1
