"""The race: the second network keeps the laws of the first, changes are what they say, budgets are kept."""

import copy
import functools
import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from test_model import (  # noqa: F401 - collected here with this file's `model` and `tiny_model`
    table,
    test_a_query_does_not_see_other_queries,
    test_a_task_does_not_see_other_tasks,
    test_affine_change_of_y_carries_over,
    test_constant_and_all_missing_columns_give_finite_scores,
    test_context_order_is_irrelevant,
    test_gradients_reach_every_parameter,
    test_labels_and_cells_and_flags_matter,
    test_rescaling_features_carries_over,
    test_scores_have_the_documented_shape,
)
from torch.testing import assert_close
from weights import perturbed

from benchmarks.race import scoring, training
from benchmarks.race.candidates import CANDIDATES
from benchmarks.race.column_row import ColumnRowConfig, ColumnRowTransformer
from benchmarks.race.training import Recipe, Run, rate_at, train, validate
from icl import ICLClassifier, ICLRegressor
from icl.network.cells import ColumnStatistics
from icl.training.optim import OptimConfig
from priors import FunctionPrior, ShapeSampler

SMALL = {"d_embed": 16, "n_layers": 2, "n_heads": 2, "n_thinking_rows": 2, "n_bins": 16}


@pytest.fixture(scope="module")
def tiny_model(seeded):
    config = ColumnRowConfig(
        d_cell=16, d_head=8, n_inducing=4, n_row_layers=2, n_thinking_rows=2, n_bins=32, max_features=20, max_classes=5
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return perturbed(ColumnRowTransformer(config), seeded(1))


@pytest.fixture(scope="module")
def model(tiny_model):
    return copy.deepcopy(tiny_model).double()


@pytest.fixture
def recipe():
    shapes = ShapeSampler(n_cells=200, rows=(16, 32), features=(1, 4), mean_features=2.0)
    return Recipe(
        SMALL, OptimConfig(), [FunctionPrior(task="classification"), FunctionPrior(task="regression")], shapes
    )


@pytest.fixture
def clock(monkeypatch):
    """A processor that each look at the clock keeps busy for a second."""
    ticks = iter(range(10**6))
    monkeypatch.setattr(training.time, "process_time", lambda: float(next(ticks)))


def test_the_estimators_take_it_as_checkpoint(tiny_model, seeded):
    X = torch.randn(40, 3, generator=seeded(2)).numpy()
    proba = ICLClassifier(checkpoint=tiny_model, n_estimators=2).fit(X[:30], X[:30, 0] > 0).predict_proba(X[30:])
    assert proba.shape == (10, 2) and abs(proba.sum(1) - 1).max() < 1e-6
    assert ICLRegressor(checkpoint=tiny_model).fit(X[:30], X[:30, 0]).predict(X[30:]).shape == (10,)


def test_a_query_reads_every_context_row_and_itself(model, seeded):
    """Inducing points could ignore rows, and every symmetry would hold."""
    cells = torch.randn(1, 12, 3, 16, dtype=torch.double, generator=seeded(4), requires_grad=True)
    keys_values = model.column_blocks[0].summarise(cells[:, :10])
    model.collect_rows(model.column_blocks[0].spread(cells, keys_values))[0, 11].square().sum().backward()
    assert (cells.grad.abs().amax((0, 2, 3)) > 0).tolist() == [True] * 10 + [False, True]


@torch.no_grad()
def test_context_read_once_answers_alike(model, table):  # noqa: F811 - the fixture
    X, y, flags, n_classes = table
    context = model.read_context(X[:, :20], y, flags, n_classes)
    parts = [model.answer(rows, context) for rows in X[:, 20:].split(3, 1)]
    assert_close(torch.cat(parts, 1), model(X, y, flags, n_classes), rtol=1e-10, atol=1e-10)
    assert 0 < context.n_bytes < 1e6


def scores(name: str, X, y, seed: int = 5):
    model = CANDIDATES[name].build(SMALL)
    generator = torch.Generator().manual_seed(seed)
    return perturbed(model, generator).double()(X, y)


@pytest.fixture
def numbers(seeded):
    X = torch.randn(2, 20, 9, dtype=torch.double, generator=seeded(6))
    return X, torch.randn(2, 14, dtype=torch.double, generator=seeded(7))


@torch.no_grad()
def test_without_rank_channels_the_others_are_left(numbers):
    X, _ = numbers
    columns = ColumnStatistics.of(X[:, :14], torch.zeros(2, 9, dtype=torch.bool))
    plain = CANDIDATES["no-rank-channels"].build(SMALL).cells.describe(X, columns, 3)
    full = CANDIDATES["alternating"].build(SMALL).cells.describe(X, columns, 3)
    ranks = [1, *range(4, full.shape[-1])]
    assert_close(plain[..., [0, 2, 3]], full[..., [0, 2, 3]])
    assert full[..., ranks].any(-1).all() and not plain[..., ranks].any()


@torch.no_grad()
@pytest.mark.parametrize(("name", "seen"), [("alternating", True), ("no-feature-offsets", False)])
def test_offsets_show_a_feature_to_other_tokens(name, seen, numbers):
    X, _ = numbers
    cells = CANDIDATES[name].build(SMALL).double().cells
    columns = ColumnStatistics.of(X[:, :14], torch.zeros(2, 9, dtype=torch.bool))
    moved = X.clone()
    moved[:, :, 0] += 1
    changed = (cells(moved, columns) - cells(X, columns)).abs().amax((0, 1, 3)) > 1e-9
    assert changed[0] and changed[1:].any() == seen


@torch.no_grad()
def test_every_change_changes_the_network(numbers):
    """But one: AdamW is another way of training the same network."""
    same = [
        n for n in CANDIDATES if n != "alternating" and _equal(scores(n, *numbers), scores("alternating", *numbers))
    ]
    assert same == ["adamw", "no-log-n-scale"]
    frozen = CANDIDATES["no-log-n-scale"].build(SMALL)
    assert [n for n, p in frozen.named_parameters() if not p.requires_grad] == [
        f"blocks.{i}.over_rows.log_scale" for i in range(2)
    ]
    optimizer = CANDIDATES["adamw"].optimizer(frozen, OptimConfig())
    assert all("betas" in group for group in optimizer.param_groups)
    assert sum(len(g["params"]) for g in optimizer.param_groups) == sum(p.requires_grad for p in frozen.parameters())


def _equal(a, b) -> bool:
    return a.shape == b.shape and torch.equal(a, b)


def test_a_decayed_run_serves_its_own_budget_only(recipe, tmp_path):
    run = Run("alternating", CANDIDATES["alternating"], recipe, 0)
    run.cpu_s, run.losses = 7.0, [1.0]
    run.save(tmp_path, budget=10.0)
    run.cpu_s, run.losses = 8.0, [1.0, 2.0]
    run.save(tmp_path, budget=10.0)

    def resumed(budget: float) -> int:
        again = Run("alternating", CANDIDATES["alternating"], recipe, 0)
        again.resume(tmp_path, budget)
        return len(again.losses)

    assert [resumed(budget) for budget in (9.0, 10.0, 20.0)] == [0, 2, 1]


def test_rates_warm_up_and_fall_to_zero():
    rates = [rate_at(6.0 * k, budget=600.0) for k in range(101)]
    assert 0 < rates[0] < 0.02 and rates[100] == 0
    assert rates[4:70] == [1.0] * 66
    assert math.isclose(rates[85], 0.5)


def test_all_get_the_budget_and_the_same_tasks(recipe, clock):
    runs = [Run(name, CANDIDATES[name], recipe, 0) for name in ("alternating", "adamw", "no-thinking-rows")]
    train(runs, budget=5, log=lambda line: None)
    # A step looks at the clock twice.
    assert [(len(run.losses), run.cpu_s) for run in runs] == [(5, 5.0)] * 3
    assert all(run.n_tasks == runs[0].n_tasks > 10 for run in runs)
    again = Run("alternating", CANDIDATES["alternating"], recipe, 0)
    train([again], budget=5, log=lambda line: None)
    assert again.losses == runs[0].losses  # company changes nothing
    assert validate(again.model, recipe, 2) == validate(runs[0].model, recipe, 2)


@pytest.mark.parametrize("name", ["alternating", "adamw"])
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(name, recipe, tmp_path):
    whole, first, second = (Run(name, CANDIDATES[name], recipe, 0) for _ in range(3))
    for _ in range(4):
        whole.step(1.0)
    for _ in range(2):
        first.step(1.0)
    first.cpu_s = 7.0
    first.save(tmp_path, budget=10.0)
    second.resume(tmp_path, budget=11.0)  # the decay of neither has begun
    for _ in range(2):
        second.step(1.0)
    assert second.cpu_s > 7 and second.losses == whole.losses and second.n_tasks == whole.n_tasks
    assert_close(second.model.state_dict(), whole.model.state_dict(), rtol=0, atol=0)


def test_the_column_row_design_costs_little_per_row(monkeypatch, recipe):
    """Attention between rows happens once per row there, and once per row and column in the alternating design."""
    sizes = [(40, 20, 4), (400, 20, 4)]
    monkeypatch.setattr(scoring, "SIZES", sizes)
    models = {name: CANDIDATES[name].build(SMALL).eval() for name in ("alternating", "no-thinking-rows")}
    costs = scoring.prediction_costs(models, n_repeats=1, n_threads=1).set_index(["candidate", "size"])
    assert len(costs) == 4 and (costs[["gflop", "wall_s", "cpu_s"]] > 0).all(axis=None)
    assert (costs.gflop["no-thinking-rows"] < costs.gflop["alternating"]).all()

    def growth(name: str) -> float:
        # The sizes of the race itself: a tiny network is all overhead.
        sizes = Recipe.read(Path(__file__).parents[2] / "configs" / "nano.yaml").sizes
        model = CANDIDATES[name].build(sizes)
        return scoring.prediction_gflop(model, 800, 100, 30) / scoring.prediction_gflop(model, 100, 100, 30)

    assert growth("column-row") < growth("alternating")


def test_recipe_is_that_of_nano():
    recipe = Recipe.read(Path(__file__).parents[2] / "configs" / "nano.yaml", 1_500)
    assert recipe.sizes["d_embed"] == 96 and recipe.shapes.n_cells == 1_500 and recipe.shapes.rows[0] == 32
    assert [p.task for p in recipe.priors].count("regression") >= 1


def test_report_compares_with_the_reference(tmp_path):
    from benchmarks.race.report import report

    runs = [
        {"candidate": n, "seed": 0, "budget_s": 1.0, "batch_cells": 9, "parameters": 1e6} for n in ("alternating", "x")
    ]
    runs = pd.DataFrame(runs).assign(steps=1, tasks=1_000, cpu_s=1.0, val_clf=0.5, val_reg=3.0)
    cell = functools.partial(dict, seed=0, budget_s=1.0, batch_cells=9, logloss=0.1)
    tables = [
        cell(candidate=n, dataset=d, task="clf", auc=a) for n, a in (("alternating", 0.8), ("x", 0.75)) for d in "ab"
    ]
    tables += [cell(candidate=n, dataset="c", task="reg", r2=r) for n, r in (("alternating", 0.5), ("x", -7.0))]
    runs.to_csv(tmp_path / "runs.csv", index=False)
    pd.DataFrame(tables).to_csv(tmp_path / "tables.csv", index=False)
    text = report(tmp_path / "runs.csv", tmp_path / "tables.csv", tmp_path / "none.csv", None)
    [line] = [line for line in text.splitlines() if line.startswith("| x ")]
    assert "-0.0500 ± 0.0000" in line and "-0.5000" in line and "-7.0000" in line
