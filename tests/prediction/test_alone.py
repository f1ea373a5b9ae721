"""The network by itself shows narrow tables in overlapping groups; beside companions it does not."""

import copy

import numpy as np
import pytest
import torch

from icl import ICLClassifier, ICLRegressor
from icl.network.model import TabularTransformer
from icl.prediction.alone import by_itself, config_by_itself


@pytest.fixture
def table():
    X = np.random.default_rng(0).normal(size=(120, 6))
    return X[:80], X[:80, 0] * X[:80, 1], X[80:]


@pytest.mark.parametrize("make", [ICLClassifier, ICLRegressor])
def test_only_without_columns_of_companions(make, table):
    X, y, new = table
    y = y > 0 if make is ICLClassifier else y
    options = {"n_estimators": 2, "random_state": 0}
    ask = (lambda m: m.predict_proba(new)) if make is ICLClassifier else (lambda m: m.predict(new))
    alone = make("nano", companions=(), **options).fit(X, y)
    beside = make("nano", companions=("ridge",), **options).fit(X, y)
    assert alone._model().config.least_groups == 9 and beside._model().config.least_groups == 0
    # As a network that says so itself would answer.
    own = copy.deepcopy(beside._model())
    own.config.least_groups = 9
    np.testing.assert_allclose(ask(make(own, companions=(), **options).fit(X, y)), ask(alone), atol=1e-6)
    assert alone._model() is make("nano", companions=(), **options).fit(X, y)._model()


def test_weights_are_shared_and_nothing_else_changes(tiny_model, seeded):
    model = copy.deepcopy(tiny_model)
    wide = by_itself(model)
    assert isinstance(wide, TabularTransformer) and wide is by_itself(model) and by_itself(wide) is wide
    assert model.config.least_groups == model.cells.config.least_groups == 0
    assert config_by_itself(model.config).least_groups == wide.config.least_groups == 9
    mine, theirs = dict(model.named_parameters()), dict(wide.named_parameters())
    assert mine.keys() == theirs.keys() and all(mine[name] is theirs[name] for name in mine)
    X, y = torch.randn(1, 30, 4, generator=seeded(0)), torch.randn(1, 20, generator=seeded(1))
    with torch.no_grad():
        before, narrow = wide(X, y), model(X, y)
        assert not torch.allclose(before, narrow, atol=1e-3)
        model.cells.project.weight.add_(0.5)  # training goes on
        assert not torch.allclose(wide(X, y), before, atol=1e-3)
        model.double()
        assert wide(X.double(), y.double()).dtype == torch.double


def test_a_reader_stays_as_it_is(tiny_reader):
    assert by_itself(tiny_reader) is tiny_reader


def test_the_estimate_of_seconds_knows():
    few, many = ICLRegressor("nano", companions=()), ICLRegressor("nano", companions=(), n_estimators=4)
    assert 0 < few.time_estimate(400, 9).network <= many.time_estimate(400, 9).network


def test_what_is_tuned_is_tuned_and_asked_as_it_reads_the_table(table, monkeypatch):
    """Tuned by nothing, the weights answer as before, in the same groups."""
    X, y, new = table
    given = []

    def untouched(model, *rest):
        given.append(model)
        return copy.deepcopy(model), {}

    monkeypatch.setattr("icl.finetuning.one_table.tune_on_table", untouched)
    for companions, groups in (((), 9), (("ridge",), 0)):
        options = {"n_estimators": 1, "companions": companions}
        tuned = ICLRegressor("nano", finetune=True, **options).fit(X, y)
        assert given[-1].config.least_groups == tuned._model().config.least_groups == groups
        plain = ICLRegressor("nano", **options).fit(X, y)
        np.testing.assert_allclose(tuned.predict(new), plain.predict(new), atol=1e-6)
