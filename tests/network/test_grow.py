"""Growing a trained model deeper keeps its function, and what is added can learn."""

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

SMALL = {"d_embed": 16, "n_heads": 2, "n_thinking_rows": 2, "n_bins": 32, "max_classes": 5}


@pytest.fixture(scope="module")
def small(tiny_model):
    """Two layers, every weight perturbed, in float64."""
    return copy.deepcopy(tiny_model).double()


@pytest.fixture(params=["classification", "regression"])
def batch(request, seeded):
    prior = FunctionPrior(task=request.param, missing=1.0, target=TargetConfig(max_classes=5))
    return prior.sample(TaskShape(3, 30, 20, 7), seeded(0))


def deeper(small, n_layers):
    with torch.random.fork_rng(devices=[]):
        return grow(small, TabularConfig(**SMALL, n_layers=n_layers)).double()


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
def test_the_trained_model_is_left_alone(small, batch):
    grown, before = deeper(small, 4), scores(small, batch)
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


def test_only_depth_may_grow(small):
    with pytest.raises(ValueError, match="d_embed is 16 in the trained model and 32"):
        grow(small, TabularConfig(**SMALL | {"d_embed": 32}, n_layers=4))
    with pytest.raises(ValueError, match="2 layers, the new one only 1"):
        grow(small, TabularConfig(**SMALL, n_layers=1))


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
