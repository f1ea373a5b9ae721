"""A saved estimator answers bit for bit as the one that was saved; a folder from anybody is a message, not code."""

import copy
import datetime
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

import icl
from icl import ICLClassifier, ICLRegressor
from icl.releases.names import CheckpointError
from icl.releases.state import Packer, Unpacker


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    n = 60
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, n),
            "town": pd.Categorical(rng.choice(["Bern", "Lyon"], n)),
            "mixed": [1, "a", None, 2.5, True, Decimal("1.10")] * 10,
            "day": pd.date_range("2024-01-01", periods=n, freq="D"),
            "zone": pd.date_range("2024-01-01", periods=n, freq="h", tz="Europe/Berlin"),
            "count": pd.array([1, None, 3] * 20, dtype="Int64"),
            "text": pd.array(["x", "y", None] * 20, dtype="string"),
            "big": 2**60 + np.arange(n),
        },
        index=[f"r{i}" for i in range(n)],
    )
    frame.loc["r3", "age"] = 18
    return frame


@pytest.mark.parametrize("weights", ["reference", "inside"])
def test_answers_are_the_same_to_the_bit(table, tiny_release, tmp_path, weights):
    y = table["age"].to_numpy() * 1.5
    worth = np.random.default_rng(1).uniform(0.5, 2, len(y))
    model = ICLRegressor(checkpoint=tiny_release, n_estimators=5, random_state=None).fit(table, y, sample_weight=worth)
    again = icl.load(model.save(tmp_path / "m", weights))
    np.testing.assert_array_equal(again.predict(table), model.predict(table))
    np.testing.assert_array_equal(again.predict_quantiles(table[:5], 0.9), model.predict_quantiles(table[:5], 0.9))
    pd.testing.assert_frame_equal(again._labeled[0], table)
    one = ICLRegressor(checkpoint=tiny_release, n_estimators=2).fit(table, y)
    other = icl.load(one.save(tmp_path / "m", weights))  # in the place of the first
    np.testing.assert_array_equal(other.predict_interval(table[:4], folds=3), one.predict_interval(table[:4], folds=3))


@pytest.mark.parametrize("labels", [["no", "yes", "perhaps"], [0, 1, 2], [True, False, True]])
def test_labels_of_every_kind_come_back(table, tiny_release, tmp_path, labels):
    model = ICLClassifier(checkpoint=str(tiny_release), n_estimators=2, calibrate=True).fit(table, labels * 20)
    again = icl.load(model.save(tmp_path / "m"))
    assert again.classes_.dtype == model.classes_.dtype and again.temperature_ == model.temperature_
    np.testing.assert_array_equal(again.predict_proba(table), model.predict_proba(table))
    np.testing.assert_array_equal(again.predict(table), model.predict(table))
    assert again.get_params() == model.get_params()


def test_companions_and_a_model_in_memory(tiny_model, tmp_path):
    X = np.random.default_rng(0).normal(size=(80, 3))
    model = ICLRegressor(checkpoint=tiny_model, companions=("ridge", "trees"), n_estimators=2).fit(X, X @ [1, 2, 3])
    again = icl.load(model.save(tmp_path / "m"))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.companions_ == model.companions_ != []


WORDS = ["red", "green", "blue", "heavy", "light", "fast", "slow", "old", "new"]


class MyNeighbors(KNeighborsRegressor):
    """A companion of the user's own."""


@pytest.mark.parametrize(
    "companions",
    [[MyNeighbors(3)], ["ridge", MyNeighbors(3), SVR()], (make_pipeline(StandardScaler(), SVR(C=2)),)],
)
def test_companions_of_the_users_own_are_brought_along(tiny_release, tmp_path, companions):
    rng = np.random.default_rng(0)
    notes = [" ".join(rng.choice(WORDS, 8)) for _ in range(60)]
    X = pd.DataFrame({"note": notes, "size": rng.normal(size=60)})
    y = X["size"] + X["note"].str.count("red")
    model = ICLRegressor(checkpoint=str(tiny_release), companions=companions, n_estimators=1).fit(X, y)
    assert len(model._encoder.n_levels_) > 2 and model.companions_  # text became columns, a companion is shown
    path = model.save(tmp_path / "m")
    own = [clone(one) for one in companions if not isinstance(one, str)]
    again = icl.load(path, companions=own)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert repr(again.companions_) == repr(model.companions_)
    assert repr(again.get_params()) == repr(model.get_params())
    twice = icl.load(again.save(tmp_path / "twice"), companions=own)
    np.testing.assert_array_equal(twice.predict(X), model.predict(X))
    for brought in ([], [*own, SVR()], [MyNeighbors(4), *own[1:]]):
        with pytest.raises(CheckpointError, match=r"Bring them along: icl.load\(path, companions=\["):
            icl.load(path, companions=brought)


@pytest.mark.parametrize("weights", ["reference", "inside"])
def test_several_targets_come_back(table, tiny_release, tmp_path, weights):
    X, targets = table[["age", "town"]], pd.DataFrame({"a": np.arange(60.0), "b": np.arange(60.0) % 7})
    model = ICLRegressor(tiny_release, n_estimators=1, companions=["ridge", SVR()]).fit(X, targets)
    again = icl.load(model.save(tmp_path / "m", weights), companions=[SVR()])
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    labels = pd.DataFrame({"a": ["no", "yes"] * 30, "b": table["town"].to_numpy()})
    classes = ICLClassifier(tiny_release, n_estimators=1).fit(X[["age"]], labels)
    again = icl.load(classes.save(tmp_path / "m", weights))  # in the place of the first
    for found, wanted in zip(again.predict_proba(X[["age"]]), classes.predict_proba(X[["age"]]), strict=True):
        np.testing.assert_array_equal(found, wanted)
    one = ICLRegressor(tiny_release, n_estimators=1).fit(X, targets["a"]).save(tmp_path / "m", weights)
    assert not list(one.glob("target*")) and icl.load(one).predict(X).shape == (60,)
    with pytest.raises(ValueError, match="fit"):
        ICLRegressor(tiny_release).save(tmp_path / "n")


def test_parts_of_parts_are_refused(table, tiny_release, tmp_path):
    targets = pd.DataFrame({"a": np.arange(60.0), "b": np.arange(60.0) % 7})
    path = ICLRegressor(tiny_release, n_estimators=1).fit(table[["age"]], targets).save(tmp_path / "m")
    inner = path / "target0" / "estimator.json"
    inner.write_text((path / "estimator.json").read_text())
    with pytest.raises(CheckpointError, match="damaged"):
        icl.load(path)


@pytest.mark.parametrize("brought", [SVR(), 5, None, {"a": SVR()}], ids=str)
def test_companions_are_brought_in_a_list(tmp_path, brought):
    with pytest.raises(TypeError, match="pass a list of estimators"):
        icl.load(tmp_path, companions=brought)


def test_companions_that_a_file_does_not_name_are_refused(table, tiny_release, tmp_path):
    path = ICLRegressor(checkpoint=tiny_release).fit(table[["age"]], table["age"]).save(tmp_path / "m")
    with pytest.raises(CheckpointError, match=r"cannot hold, \[\]; got \[SVR\(\)\]"):
        icl.load(path, companions=[SVR()])


def test_weights_must_be_those_of_the_save(tiny_model, tmp_path, table):
    release = icl.save_release(tiny_model, tmp_path / "release", {}, dtype=torch.float32)
    model = ICLRegressor(checkpoint=str(release), n_estimators=1).fit(table[["age"]], table["age"])
    saved = model.save(tmp_path / "m")
    changed = copy.deepcopy(tiny_model)
    with torch.no_grad():
        next(changed.parameters()).mul_(1.01)
    icl.save_release(changed, release, {}, dtype=torch.float32)
    with pytest.raises(CheckpointError, match="not here any more"):
        icl.load(saved)


def test_what_cannot_be_saved_is_named(table, tiny_release, tmp_path):
    odd = table[["age"]].assign(odd=[range(i % 3) for i in range(len(table))])
    model = ICLRegressor(checkpoint=tiny_release).fit(odd, table["age"])
    with pytest.raises(ValueError, match=r"column 'odd' is a range, which has no plain form"):
        model.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    plain = ICLRegressor(checkpoint=tiny_release).fit(table[["age"]], table["age"])
    with pytest.raises(ValueError, match="will not be overwritten"):
        plain.save(tmp_path / "full")
    with pytest.raises(ValueError, match="'reference' or 'inside'"):
        plain.save(tmp_path / "m", "both")


def smuggle(content, module, name):
    content["state"]["v"].append(["x", {"#": "object", "class": [module, name], "v": []}])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(format=2), "does not read"),
        (lambda c: c.update({"class": "os.system"}), "does not read"),
        (lambda c: smuggle(c, "subprocess", "Popen"), "asks for the class"),
        (lambda c: smuggle(c, "icl.tables.files", "Path"), "asks for the class"),
        (lambda c: smuggle(c, "icl.tables.files", "os"), "asks for the class"),
        (lambda c: c["state"]["v"].append(["x", {"#": "array", "at": "a9999", "dtype": "O", "shape": [1]}]), "damaged"),
        (lambda c: c["state"]["v"].append(["x", {"#": "eval", "v": "1"}]), "does not know"),
        (lambda c: c["params"]["v"].append(["surprise", 1]), "parameters that"),
        (lambda c: c.update(state={"#": "dict", "v": []}), "does not fit|not fitted"),
    ],
)
def test_a_strange_file_is_refused(table, tiny_release, tmp_path, change, said):
    saved = ICLRegressor(checkpoint=tiny_release, n_estimators=1).fit(table[["age"]], table["age"]).save(tmp_path / "m")
    content = json.loads((saved / "estimator.json").read_text())
    change(content)
    (saved / "estimator.json").write_text(json.dumps(content))
    with pytest.raises((CheckpointError, ValueError), match=said):
        icl.load(saved)


def test_damaged_arrays_and_other_folders_are_refused(table, tiny_release, tmp_path):
    saved = ICLRegressor(checkpoint=tiny_release, n_estimators=1).fit(table[["age"]], table["age"]).save(tmp_path / "m")
    (saved / "state.safetensors").write_bytes((saved / "state.safetensors").read_bytes()[:-8])
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        icl.load(saved)
    with pytest.raises(CheckpointError, match="no saved estimator"):
        icl.load(tmp_path)


def test_values_survive_the_way_there_and_back():
    values = [
        1.5, float("inf"), (1, "a"), {2: [None, True]}, np.float32(0.1), np.arange(6.0).reshape(2, 3), Decimal("0.10"),
        np.array(["a", "bc"]), datetime.date(2024, 2, 29), pd.Timestamp("2024-01-01", tz="UTC"), pd.NA,
        np.array(["2024-01-01"], dtype="M8[s]"), pd.Timedelta("1h"),
    ]  # fmt: skip
    packer = Packer()
    text = json.loads(json.dumps(packer.pack(values)))
    back = Unpacker(packer.arrays, "x").unpack(text)
    for one, other in zip(values, back):
        assert type(one) is type(other)
        assert one is other if one is pd.NA else np.all(one == other)
