"""Models that answer differently have different identities, and the same model has the same one in every process."""

import copy
import json
import pickle
from datetime import date

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.tree import DecisionTreeClassifier

from icl import ICLClassifier, ICLRegressor, load, load_release
from icl.estimators import identity
from icl.estimators.identity import identity_of


@pytest.fixture(scope="module")
def labelled() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.normal(size=(40, 3)), columns=list("abc"))
    return table.assign(y=table.a - table.b, k=np.where(table.a > 0, "up", "down"), g=rng.choice(list("uvw"), 40))


OF_ANOTHER_KIND = {
    "spelling of classes": {"k": lambda t: t.k.str.upper()},
    "kind of classes": {"k": lambda t: t.k == "up"},
    "numbers for classes": {"k": lambda t: (t.k == "up").astype(int)},
    "types of such": {"k": lambda t: (t.k == "up").astype(float)},
    "swapped names": {"X": lambda t: t.rename(columns={"a": "b", "b": "a"})},
    "one name": {"X": lambda t: t.rename(columns={"c": "d"})},
    "no names": {"X": lambda t: t.drop(columns="g").to_numpy()},
    "spelling of levels": {"X": lambda t: t.assign(g=t.g.str.upper())},
    "swapped levels": {"X": lambda t: t.assign(g=t.g.map({"u": "v", "v": "u", "w": "w"}))},
    "scale of a column": {"X": lambda t: t.assign(a=t.a * 1000 + 5)},
    "scale of all columns": {"X": lambda t: t.assign(**(2 * t[list("abc")]))},
    "a cell": {"X": lambda t: t.assign(a=t.a.where(t.index != 3, 9.0))},
    "a dropped column": {"X": lambda t: t.assign(always=1)},
    "a row less": {"rows": slice(39)},
    "order of rows": {"rows": slice(None, None, -1)},
    "weights": {"weight": np.linspace(1, 2, 40)},
    "whole weights": {"weight": np.arange(40) % 2 + 1},
    "seed": {"random_state": 1},
    "members": {"n_estimators": 3},
    "companions": {"companions": ("ridge",)},
    "temperature": {"softmax_temperature": 2.0},
    "chosen temperature": {"calibrate": True},
    "weights of the network": {"checkpoint": lambda: other_network(scale=1.01)},
    "settings of the network": {"checkpoint": lambda: other_network(n_thinking_rows=8)},
    "scikit-learn companions": {"companions": (DecisionTreeClassifier(max_depth=2),)},
}


def other_network(scale=1.0, **settings):
    network = copy.deepcopy(load_release("nano"))
    with torch.no_grad():
        next(network.parameters()).mul_(scale)
    vars(network.config).update(settings)
    return network


def fitted(table, **change):
    """A classifier of a table, of which something may be other."""
    change = {k: v() if k == "checkpoint" else v for k, v in change.items()}
    rows = table.iloc[change.pop("rows", slice(None))]
    X = change.pop("X", lambda t: t)(rows[list("abcg")])
    y, weight = change.pop("k", lambda t: t.k)(rows), change.pop("weight", None)
    params = {"checkpoint": "nano", "n_estimators": 1, "companions": ()} | change
    return ICLClassifier(**params).fit(X, y, sample_weight=weight)


@pytest.fixture(scope="module")
def base(labelled):
    return identity_of(fitted(labelled))


@pytest.mark.parametrize("what", OF_ANOTHER_KIND)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_changes_answers_changes_the_identity(what, labelled, base):
    model = fitted(labelled, **OF_ANOTHER_KIND[what])
    assert identity_of(model) != base
    assert identity_of(fitted(labelled, **OF_ANOTHER_KIND[what])) == identity_of(model)  # by nothing of chance


def test_all_that_is_kept_and_every_parameter_count(labelled, base):
    for name in set(ICLClassifier().get_params()) - identity._ONLY_HOW - {"fast_queries"}:
        assert identity_of(fitted(labelled).set_params(**{name: "another"})) != base, name
    model = fitted(labelled)
    for name in set(model.__getstate__()) - set(model.get_params()) - identity._NOT_LEARNT - {"_plan", "chain_"}:
        kept = getattr(model, name)
        vars(model)[name] = kept + 1 if isinstance(kept, float) else "another"
        assert identity_of(model) != base, name
        vars(model)[name] = kept
    assert identity_of(model) == base


@pytest.mark.parametrize("dtype", ["str", "category", "Int64", "datetime64[ns, UTC]", "mixed", "list of dates"])
def test_the_same_model_has_the_same_identity(dtype, labelled, tmp_path):
    cells = {"str": labelled.g, "category": labelled.g.astype("category"), "mixed": [1, "a", None, 2.5] * 10}
    cells["Int64"] = pd.array([1, None, 2**60, 4] * 10, dtype="Int64")
    cells["datetime64[ns, UTC]"] = pd.date_range("2020-01-01", periods=40, freq="37h", tz="UTC")
    cells["list of dates"] = [date(2020, 1 + i % 12, 1 + i % 7) for i in range(40)]
    X = labelled[["a"]].assign(more=cells[dtype])
    model = ICLRegressor("nano", n_estimators=2, companions=("ridge",)).fit(X, labelled.y)
    found = identity_of(model)
    json.dumps(found)
    assert identity_of(pickle.loads(pickle.dumps(model))) == found
    assert identity_of(model.set_params(memory_gb=1.0, fit_mode="low_memory", device="cpu")) == found
    model.predict_interval(X.head(3))
    assert identity_of(model) == found
    assert identity_of(ICLRegressor("nano", n_estimators=2, companions=("ridge",)).fit(X, labelled.y)) == found
    assert identity_of(load(model.save(tmp_path / "saved"))) == found


def test_a_folder_does_not_mix_two_models(labelled, tmp_path):
    (tmp_path / "in").mkdir()
    labelled[list("abcg")].to_parquet(tmp_path / "in" / "a.parquet")
    fitted(labelled).predict_dataset(tmp_path / "in", tmp_path / "out")
    assert fitted(labelled).predict_dataset(tmp_path / "in", tmp_path / "out").n_before == 1
    for what, part in (
        ("spelling of classes", "model.classes"),
        ("swapped names", "model.columns"),
        ("swapped levels", "model.columns"),
    ):
        with pytest.raises(ValueError, match=f"answers of another kind .*{part}"):
            fitted(labelled, **OF_ANOTHER_KIND[what]).predict_dataset(tmp_path / "in", tmp_path / "out")
