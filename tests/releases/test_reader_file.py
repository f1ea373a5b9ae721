"""The reader's file in a release, and the estimators that ask it."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close
from weights import SHORT, perturbed

from icl import ICLClassifier, ICLRegressor
from icl.network.config import TabularConfig
from icl.network.model import TabularTransformer
from icl.network.reader import Reader
from icl.releases.folder import save_release
from icl.releases.names import READER, CheckpointError
from icl.releases.reader_file import has_reader, load_reader, reader_provenance, save_reader


@pytest.fixture(scope="module")
def release(tiny_release, tiny_reader, tmp_path_factory):
    """`tiny_release` with a reader."""
    folder = tmp_path_factory.mktemp("reader") / "tiny"
    shutil.copytree(tiny_release, folder)
    save_reader(tiny_reader, folder, {"steps": 7})
    return folder


def test_what_is_saved_is_loaded(release, tiny_reader):
    loaded = load_reader(release)
    assert loaded is load_reader(release) and not loaded.training and loaded.shape == tiny_reader.shape
    for name, weight in tiny_reader.own_state().items():
        assert_close(loaded.state_dict()[name], weight.half().float(), rtol=0, atol=0)
    assert reader_provenance(release) == {"steps": 7} and has_reader(release)
    assert [p.name for p in release.iterdir() if p.name.startswith(".")] == []


def test_a_release_without_a_reader_says_so(tiny_release):
    assert not has_reader(tiny_release)
    with pytest.raises(CheckpointError, match=r"tiny has no reader .* fast_queries=False"):
        load_reader(tiny_release)


def test_a_reader_of_other_weights_is_refused(release, tmp_path, seeded):
    folder = tmp_path / "other"
    shutil.copytree(release, folder)
    config = TabularConfig(**{k: v for k, v in json.loads((folder / "config.json").read_text()).items() if k[0] != "a"})
    save_release(perturbed(TabularTransformer(config), seeded(9)), folder, {}, dtype=torch.float32)
    assert has_reader(folder)
    with pytest.raises(CheckpointError, match="distilled from other weights"):
        load_reader(folder)


@pytest.mark.parametrize("harm", ["truncated", "foreign", "lacking", "other version"])
def test_a_damaged_file_is_named(release, tmp_path, harm):
    from safetensors import safe_open

    folder = tmp_path / "harmed"
    shutil.copytree(release, folder)
    file = folder / READER
    with safe_open(release / READER, "pt") as f:
        meta, weights = f.metadata(), {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118 - not a dict
    if harm == "truncated":
        file.write_bytes(file.read_bytes()[:100])
    elif harm == "foreign":
        save_file({"a": torch.zeros(2)}, file)
    elif harm == "lacking":
        save_file(dict(sorted(weights.items())[1:]), file, metadata=meta)
    else:
        shape = json.loads(meta["shape"]) | {"updates": 3}
        save_file(weights, file, metadata=meta | {"shape": json.dumps(shape)})
    with pytest.raises(CheckpointError, match="another version" if harm == "other version" else READER):
        load_reader(folder)


def test_weights_that_are_not_finite_are_not_written(tiny_release, tiny_model, tmp_path):
    folder = tmp_path / "r"
    shutil.copytree(tiny_release, folder)
    bad = Reader(tiny_model, SHORT)
    with torch.no_grad():
        bad.unknown.weight[0, 0] = torch.inf
    with pytest.raises(ValueError, match=r"unknown\.weight are not finite"):
        save_reader(bad, folder, {})
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in tiny_release.iterdir())


# The estimators


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.normal(size=(150, 4)), columns=list("abcd"))
    return X, (X.a + X.b > 0).map({True: "yes", False: "no"}), X.a * 2 + X.b


def test_fast_queries_ask_the_reader(release, table):
    X, labels, amounts = table
    fast = ICLClassifier(release, fast_queries=True, device="cpu").fit(X[:100], labels[:100])
    whole = ICLClassifier(release, device="cpu").fit(X[:100], labels[:100])
    probabilities = fast.predict_proba(X[100:])
    assert probabilities.shape == (50, 2) and np.abs(probabilities - whole.predict_proba(X[100:])).max() > 1e-4
    assert_close(probabilities, fast.predict_proba(X[100:]), rtol=0, atol=1e-6)
    assert_close(probabilities[:1], fast.predict_proba(X[100:101]), rtol=0, atol=1e-6)
    model = ICLRegressor(release, fast_queries=True, device="cpu").fit(X[:100], amounts[:100])
    assert model.predict_interval(X[100:], 0.8).shape == (50, 2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fast_queries": 1}, "fast_queries must be True or False"),
        ({"finetune": True}, "exclude each other"),
    ],
)
def test_options_that_do_not_go_together(release, table, options, said):
    with pytest.raises(ValueError, match=said):
        ICLClassifier(release, **{"fast_queries": True, **options}).fit(table[0], table[1])


def test_a_model_in_memory_has_no_reader(tiny_model, table):
    with pytest.raises(ValueError, match="needs a release"):
        ICLClassifier(tiny_model, fast_queries=True).fit(table[0], table[1])


def test_a_release_without_a_reader_is_refused_by_fit(tiny_release, table):
    with pytest.raises(ValueError, match="has no reader"):
        ICLClassifier(tiny_release, fast_queries=True).fit(table[0], table[1])
