"""What a model is validated on: fixed, apart from training, the same for any number of processes."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from icl.training.stream import TaskDataModule, sample_step
from icl.training.totals import add, averages
from icl.training.validation import families, fits, held_out_tasks, real_metrics, real_tables
from priors import LinearPrior, MixturePrior, ShapeSampler
from priors.mixture import FAMILIES

PRIORS = [MixturePrior(task="classification"), MixturePrior(task="regression")]
SHAPES = ShapeSampler(n_cells=600, rows=(16, 64), features=(1, 6))


@pytest.fixture(scope="module")
def tables():
    return {item.name.removeprefix("val/real/"): item.batch for item in real_tables()}


def held_out(seed=5, n_mixture=2, n_family=1, priors=PRIORS, shapes=SHAPES):
    return list(held_out_tasks(priors, shapes, seed, n_mixture, n_family))


def same(a, b):
    return a.X.shape == b.X.shape and torch.equal(a.X.nan_to_num(), b.X.nan_to_num()) and torch.equal(a.y, b.y)


def test_every_family_is_named_once_for_each_kind_of_target():
    names = list(families([*PRIORS, *PRIORS, LinearPrior()]))
    assert len(names) == len(set(names)) == 2 * len(FAMILIES) + 1
    assert {"scm classification", "scm regression", "tree regression"} <= set(names)
    assert sum(name.startswith("linear") for name in names) == 1
    for label, prior in families(PRIORS).items():
        [component] = prior.components
        assert component.task == prior.task == label.split()[1]


def test_the_items_are_the_mixture_then_its_families():
    items = held_out()
    assert [item.name for item in items[:4]] == ["val"] * 4
    assert len(items) == 2 * 2 + 2 * len(FAMILIES) and {item.name for item in items[4:]} >= {"val/scm", "val/rules"}
    shapes = {item.batch.shape for item in items[4:]}
    assert len(shapes) == 1  # families are compared on tables of one shape


def test_the_items_repeat_and_depend_on_their_seed():
    one, again, other = held_out(), held_out(), held_out(seed=6)
    assert all(same(a.batch, b.batch) for a, b in zip(one, again, strict=True))
    assert not any(same(a.batch, b.batch) for a, b in zip(one, other, strict=True))


def test_no_item_is_a_training_task():
    data = TaskDataModule(PRIORS, SHAPES, seed=0, n_validation_steps=2, n_family_batches=1)
    data.trainer = _Trainer(0, 1)
    trained = [batch for step in range(6) for batch in sample_step(PRIORS, SHAPES, seed=0, step=step)]
    held = [item.batch for item in data.val_dataloader()]
    assert not any(same(a, b) for a in trained for b in held)


def test_a_curriculum_is_validated_where_it_ends():
    growing = ShapeSampler(n_cells=600, rows=(16, 64), features=(1, 6), first_cells=100, first_rows=16, ramp_steps=1000)
    assert all(same(a.batch, b.batch) for a, b in zip(held_out(shapes=growing), held_out(), strict=True))


def test_processes_share_the_items_out():
    parts = []
    for rank in range(3):
        data = TaskDataModule(PRIORS, SHAPES, seed=0, n_validation_steps=2, n_family_batches=1)
        data.trainer = _Trainer(rank, 3)
        parts.append(list(data.val_dataloader()))
    whole = TaskDataModule(PRIORS, SHAPES, seed=0, n_validation_steps=2, n_family_batches=1)
    whole.trainer = _Trainer(0, 1)
    dealt = sorted((item.name, float(item.batch.y.double().sum())) for part in parts for item in part)
    assert dealt == sorted((item.name, float(item.batch.y.double().sum())) for item in whole.val_dataloader())


class _Trainer:
    def __init__(self, rank, world_size):
        self.global_rank, self.world_size = rank, world_size


def test_real_tables_are_what_they_say(tables):
    assert tables["iris"].X.shape == (1, 150, 4) and tables["iris"].n_context == 100
    assert tables["digits"].shape.n_context == 300 and int(tables["digits"].n_classes) == 10
    for name, batch in tables.items():
        assert batch.X.isfinite().all() and batch.shape.n_rows <= 500
        assert (batch.n_classes is None) == (
            name in {"diabetes", "iris_petal_width", "wine_alcohol", "cancer_smoothness"}
        )


def test_metrics_of_real_tables_match_their_definitions(tables, tiny_model):
    batch = tables["wine"]
    scores = tiny_model(batch.X, batch.y_context, batch.is_categorical, batch.n_classes)[0, :, :3]
    probs, y = scores.softmax(-1).detach().numpy(), batch.y_query[0].numpy()
    metrics = real_metrics(tiny_model, batch)
    assert metrics["log_loss"] == pytest.approx(-np.log(probs[np.arange(len(y)), y]).mean(), rel=1e-4)
    pairs = [probs[y == c, c][:, None] > probs[y != c, c][None] for c in range(3)]  # AUC: how often a pair is in order
    assert metrics["auc"] == pytest.approx(np.mean([p.mean() for p in pairs]), abs=1e-3)

    batch = tables["wine_alcohol"]
    forecast = tiny_model.predict_distribution(batch.X, batch.y_context, batch.is_categorical)
    y, mean = batch.y_query[0], forecast.mean[0].detach()
    metrics = real_metrics(tiny_model, batch)
    assert metrics["r2"] == pytest.approx(
        float(1 - (y - mean).square().sum() / (y - y.mean()).square().sum()), abs=1e-4
    )
    density = forecast.log_prob(batch.y_query).mean().detach() + batch.y_context.std(correction=0).log()
    assert metrics["nll"] == pytest.approx(-float(density), abs=1e-4)


def test_metrics_ignore_the_units_of_the_target(tables, tiny_model):
    from dataclasses import replace

    batch = tables["diabetes"]
    moved = replace(batch, y=3 * batch.y + 100)
    assert_close(real_metrics(tiny_model, moved), real_metrics(tiny_model, batch), rtol=1e-3, atol=1e-4)


def test_tables_beyond_the_model_are_left_out(tables, tiny_model):
    assert not fits(tiny_model, tables["digits"])  # 64 columns, made for 20
    assert fits(tiny_model, tables["iris"])


def test_means_are_weighted_and_real_tables_averaged():
    totals = {}
    add(totals, "val/regression_loss", 1.0, 30)
    add(totals, "val/regression_loss", 2.0, 10)
    add(totals, "val/real/a/auc", 0.5, 1)
    add(totals, "val/real/b/auc", 0.7, 1)
    assert averages(totals) == pytest.approx(
        {"val/regression_loss": 1.25, "val/real/a/auc": 0.5, "val/real/b/auc": 0.7, "val/real/auc": 0.6}
    )
