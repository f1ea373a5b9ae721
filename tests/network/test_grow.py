"""Growing a trained model, deeper or wider, keeps its function, and what is added can learn."""

import copy

import pytest
import torch
from torch.testing import assert_close

from icl.network.config import TabularConfig
from icl.network.grow import grow
from icl.network.model import TabularTransformer
from icl.training.optim import MuonAdamW, OptimConfig
from icl.training.pretraining import PretrainingModule, task_loss
from priors import FunctionPrior, TargetConfig, TaskShape

KINDS = ("classification", "regression")
SMALL = {"d_embed": 16, "n_heads": 2, "n_thinking_rows": 2, "n_bins": 32, "max_classes": 5}


@pytest.fixture(scope="module")
def small(tiny_model):
    """Two layers, every weight perturbed, in float64."""
    return copy.deepcopy(tiny_model).double()


@pytest.fixture(params=KINDS)
def batch(request, seeded):
    prior = FunctionPrior(task=request.param, missing=1.0, target=TargetConfig(max_classes=5))
    return prior.sample(TaskShape(3, 30, 20, 7), seeded(0))


def larger(small, **sizes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return grow(small, TabularConfig(**SMALL | sizes)).double()


def deeper(small, n_layers):
    return larger(small, n_layers=n_layers)


WIDER = [
    {"d_embed": 32},  # heads twice as wide
    {"d_embed": 24, "n_heads": 3},  # one head more
    {"d_embed": 40, "n_heads": 4},  # heads both wider and more
    {"d_embed": 18},  # neither a multiple
    {"mlp_ratio": 3},
    {"d_embed": 32, "mlp_ratio": 1},  # as many units in the MLP as before
    {"d_embed": 20, "n_layers": 5, "mlp_ratio": 4},
    {"n_rank_waves": 5},
    {"d_embed": 24, "n_heads": 3, "n_rank_waves": 4},
]


def scores(model, batch):
    y = batch.y_context if batch.n_classes is not None else batch.y_context.double()
    return model(batch.X.double(), y, batch.is_categorical, batch.n_classes)


@torch.no_grad()
@pytest.mark.parametrize("n_layers", [2, 3, 4, 5, 7])
def test_the_function_is_kept(small, batch, n_layers):
    grown = deeper(small, n_layers)
    assert len(grown.blocks) == n_layers
    assert_close(scores(grown, batch), scores(small, batch), rtol=1e-10, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("sizes", WIDER, ids=str)
def test_a_wider_model_has_the_same_function(small, batch, sizes):
    """Up to the 1e-6 by which a normalisation shields itself from zeros, which counts for more in more components."""
    grown = larger(small, **{"n_layers": 2} | sizes)
    assert_close(scores(grown, batch), scores(small, batch), rtol=1e-4, atol=1e-4)
    for block in [grown, *(part for b in grown.blocks for part in (b, b.over_rows, b.over_features))]:
        block.norm.eps = 0.0
    exact = copy.deepcopy(small)
    for block in [exact, *(part for b in exact.blocks for part in (b, b.over_rows, b.over_features))]:
        block.norm.eps = 0.0
    assert_close(scores(grown, batch), scores(exact, batch), rtol=1e-9, atol=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("grown_to", [{"n_layers": 4}, {"n_layers": 3, "d_embed": 32}])
def test_the_trained_model_is_left_alone(small, batch, grown_to):
    grown, before = larger(small, **grown_to), scores(small, batch)
    for parameter in grown.parameters():
        parameter.add_(1.0)
    assert torch.equal(scores(small, batch), before)


def test_the_added_blocks_learn(small, batch):
    """Their outputs are zero, so at first only the output weights have a gradient; a step later everything has."""
    grown = deeper(small, 4).float()
    optimizer = MuonAdamW(grown, OptimConfig())
    added = [k for k, block in enumerate(grown.blocks) if not block.down.weight.any()]
    assert len(added) == 2 and 0 not in added
    losses = []
    for step in range(8):
        optimizer.zero_grad()
        loss = task_loss(grown, batch)
        losses.append(float(loss.detach()))
        loss.backward()
        for k in added:
            outputs = (grown.blocks[k].over_features.out, grown.blocks[k].over_rows.out, grown.blocks[k].down)
            assert all(layer.weight.grad.abs().max() > 0 for layer in outputs)
            inner = grown.blocks[k].up.weight.grad.abs().max()
            assert inner == 0 if step == 0 else inner > 0
        optimizer.step()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("sizes", WIDER, ids=str)
def test_every_weight_of_a_wider_model_learns(small, sizes, seeded):
    """Within four steps each weight that a task reads has moved; the loss falls."""
    grown = larger(small, **{"n_layers": 2} | sizes).float()
    start = {name: p.detach().clone() for name, p in grown.named_parameters()}
    optimizer = MuonAdamW(grown, OptimConfig(weight_decay=0.0))
    priors = [FunctionPrior(task=task, missing=1.0, target=TargetConfig(max_classes=5)) for task in KINDS]
    batches = [prior.sample(TaskShape(6, 30, 20, 7), seeded(0)) for prior in priors]
    batches[0] = next(  # where every class is asked for
        batch
        for seed in range(99)
        if int((batch := priors[0].sample(TaskShape(6, 30, 20, 7), seeded(seed))).n_classes.max()) == 5
    )
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = sum(task_loss(grown, batch) for batch in batches)
        losses.append(float(loss.detach()))
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    for name, p in grown.named_parameters():
        assert (p.detach() != start[name]).float().mean() > 0.99 or name.startswith("target.classes"), name


@pytest.mark.parametrize(
    ("option", "value"), [("group_size", 5), ("n_thinking_rows", 3), ("max_classes", 6), ("n_bins", 33)]
)
def test_what_a_task_looks_like_may_not_grow(small, option, value):
    old = getattr(small.config, option)
    with pytest.raises(ValueError, match=f"may grow: {option} is {old} in the trained model and {value}"):
        grow(small, TabularConfig(**{"n_layers": 2} | SMALL | {option: value}))


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"n_layers": 1}, "n_layers is 2 in the trained one and 1"),
        ({"d_embed": 12}, "d_embed is 16 in the trained one and 12"),
        ({"n_heads": 1}, "n_heads is 2 in the trained one and 1"),
        ({"n_heads": 4}, "d_embed / n_heads is 8 in the trained one and 4"),
        ({"n_rank_waves": 2}, "n_rank_waves is 3 in the trained one and 2"),
        ({"mlp_ratio": 1}, "mlp_ratio x d_embed is 32 in the trained one and 16"),
    ],
)
def test_no_size_may_shrink(small, sizes, said):
    with pytest.raises(ValueError, match=said):
        grow(small, TabularConfig(**{"n_layers": 2} | SMALL | sizes))


def test_training_starts_from_a_release(tiny_release, tiny_model):
    module = PretrainingModule({**SMALL, "n_layers": 3}, init_from=str(tiny_release))
    assert module.ancestor["release"] == tiny_release.name and module.ancestor["seed"] == 0
    for name, value in tiny_model.state_dict().items():
        if not name.startswith("blocks."):
            assert_close(module.model.state_dict()[name], value)


def test_a_start_that_does_not_fit_says_why(tiny_release):
    module = PretrainingModule({**SMALL, "n_layers": 1}, init_from=str(tiny_release))
    with pytest.raises(ValueError, match="grow, not shrink"):
        module.on_fit_start()


def test_a_new_model_has_the_weights_of_its_seed():
    one, same, other = (PretrainingModule(SMALL, init_seed=seed).model for seed in (1, 1, 2))
    assert isinstance(one, TabularTransformer)
    assert torch.equal(one.thinking, same.thinking) and not torch.equal(one.thinking, other.thinking)
