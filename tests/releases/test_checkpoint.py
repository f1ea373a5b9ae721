"""Release folders: what is saved comes back, what is damaged is refused with a reason, nothing is lost on failure."""

import errno
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
import torch
from lean import BEGIN
from torch.testing import assert_close

from icl import atomic
from icl.network.config import TabularConfig, own_fields
from icl.network.model import TabularTransformer
from icl.releases import folder as checkpoint
from icl.releases import names
from icl.releases.folder import load_release, save_release
from icl.releases.names import CheckpointError, CheckpointNotFoundError, available_checkpoints, resolve_checkpoint


@pytest.fixture
def release(tiny_model, tmp_path):
    """A release folder of the test's own, to damage."""
    return save_release(tiny_model, tmp_path / "own", {"seed": 3}, dtype=torch.float32)


def scores(model, seeded):
    generator = seeded(5)
    X_BRF = torch.randn(2, 12, 4, generator=generator)
    return model(X_BRF, torch.randn(2, 8, generator=generator))


def test_what_was_saved_comes_back(tiny_model, release, seeded):
    loaded = load_release(release)
    assert not loaded.training
    assert_close(scores(loaded, seeded), scores(tiny_model, seeded), rtol=0, atol=0)


def test_half_precision_on_disk_is_float32_in_memory(tiny_model, tmp_path):
    small = save_release(tiny_model, tmp_path / "half", {})
    full = save_release(tiny_model, tmp_path / "full", {}, dtype=torch.float32)
    assert (small / "model.safetensors").stat().st_size < 0.7 * (full / "model.safetensors").stat().st_size
    loaded = load_release(small)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    for (name, kept), original in zip(loaded.named_parameters(), tiny_model.parameters()):
        assert_close(kept, original, rtol=1e-3, atol=1e-3, msg=name)


@pytest.mark.parametrize(("option", "value", "before"), [("n_rank_waves", 5, 3), ("least_groups", 4, 0)])
def test_options_come_back_and_older_releases_have_what_was_before_them(
    option, value, before, tiny_model, tmp_path, seeded
):
    fields = own_fields(tiny_model.config)
    assert fields[option] == before
    other = TabularTransformer(TabularConfig(**fields | {option: value})).eval()
    loaded = load_release(save_release(other, tmp_path / "other", {}, dtype=torch.float32))
    assert getattr(loaded.config, option) == value
    assert_close(scores(loaded, seeded), scores(other, seeded), rtol=0, atol=0)
    old = save_release(tiny_model, tmp_path / "old", {}, dtype=torch.float32)
    config = json.loads((old / "config.json").read_text())
    config.pop(option, None)
    (old / "config.json").write_text(json.dumps(config))
    assert_close(scores(load_release(old), seeded), scores(tiny_model, seeded), rtol=0, atol=0)


def test_what_save_pretrained_writes_is_a_release_and_the_other_way_round(tiny_model, release, tmp_path, seeded):
    from icl.network.pretrained import TabularTransformer

    expected = scores(tiny_model, seeded)
    model = TabularTransformer.from_pretrained(release)
    assert_close(scores(model, seeded), expected, rtol=0, atol=0)
    model.save_pretrained(tmp_path / "theirs")
    assert_close(scores(load_release(tmp_path / "theirs"), seeded), expected, rtol=0, atol=0)
    ours, theirs = (json.loads((p / "config.json").read_text()) for p in (release, tmp_path / "theirs"))
    assert {key: theirs[key] for key in ours} == ours  # the rest is bookkeeping


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_auto_model_reads_a_release_once_icl_is_imported(tiny_model, tmp_path):
    """In either order, in float32 though the file is in float16; prediction does without transformers' models.

    Both begin from one process that has imported what neither order is about.
    """
    folder = save_release(tiny_model, tmp_path / "half", {})
    code = f"""
import os, sys
import pandas, scipy.stats, sklearn.ensemble, torch._dynamo, transformers
for first in ("icl", "transformers.models.auto.modeling_auto"):
    sys.stdout.flush()
    child = os.fork()
    if child:
        assert os.waitpid(child, 0)[1] == 0
        continue
    assert "transformers.models.auto.modeling_auto" not in sys.modules
    __import__(first)
    import icl
    if first == "icl":
        from icl import ICLRegressor
        # Which takes longer to import than torch.
        assert "transformers.modeling_utils" not in sys.modules
    from transformers import AutoConfig, AutoModel
    assert type(AutoConfig.from_pretrained({str(folder)!r})).__name__ == "TabularConfig"
    model = AutoModel.from_pretrained({str(folder)!r})
    print(type(model).__name__, {{p.dtype for p in model.parameters()}})
    break
"""
    done = subprocess.run([sys.executable, "-c", BEGIN + code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.splitlines() == ["TabularTransformer {torch.float32}"] * 2, done.stderr


def test_loading_leaves_the_random_state_alone(release):
    before = torch.random.get_rng_state()
    load_release(release)
    assert torch.equal(before, torch.random.get_rng_state())


def test_one_copy_per_process_until_the_files_change(tiny_model, release):
    first = load_release(release)
    assert load_release(str(release)) is first
    weights = release / "model.safetensors"
    os.utime(weights, ns=(0, weights.stat().st_mtime_ns + 10**9))
    assert load_release(release) is not first


@pytest.mark.parametrize("name", ["base", "nano"])
def test_one_damaged_bit_in_shipped_weights_is_found(name, tmp_path):
    """They are older than the checksum that `save_release` writes; theirs was added."""
    folder = shutil.copytree(resolve_checkpoint(name), tmp_path / name)
    load_release(folder)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(CheckpointError, match="damaged"):
        load_release(folder)


def test_provenance_and_card(release):
    facts = json.loads((release / "provenance.json").read_text())
    assert facts["seed"] == 3
    assert {"git_commit", "date", "n_parameters", "versions"} <= facts.keys()
    assert "Pretrained on synthetic tables only" in (release / "README.md").read_text()


def test_saving_again_replaces_the_release_and_keeps_other_files(tiny_model, release):
    (release / "curve.png").write_bytes(b"curve")
    save_release(tiny_model, release, {"seed": 4})
    assert json.loads((release / "provenance.json").read_text())["seed"] == 4
    assert (release / "curve.png").read_bytes() == b"curve"
    assert [p.name for p in release.parent.iterdir()] == [release.name]


@pytest.mark.parametrize("step", ["card", "write", "swap"])
def test_a_failed_save_leaves_the_old_release(tiny_model, release, monkeypatch, step):
    before = {p.name: p.read_bytes() for p in release.iterdir()}

    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "disk full")

    owner, name = {
        "card": (checkpoint, "model_card"),
        "write": (pathlib.Path, "write_bytes"),
        "swap": (atomic, "_swap"),
    }[step]
    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(OSError, match="disk full" if step == "card" else f"cannot write {release}: disk full"):
        save_release(tiny_model, release, {"seed": 4})
    assert {p.name: p.read_bytes() for p in release.iterdir()} == before
    assert [p.name for p in release.parent.iterdir()] == [release.name]


def test_a_folder_of_something_else_is_not_overwritten(tiny_model, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="not a release folder; choose another"):
        save_release(tiny_model, tmp_path, {})
    assert (tmp_path / "thesis.tex").exists()


def test_diverged_weights_are_refused(tiny_model, tmp_path):
    import copy

    bad = copy.deepcopy(tiny_model)
    next(bad.parameters()).data[0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        save_release(bad, tmp_path / "bad", {})
    assert not list(tmp_path.iterdir())


def test_names_of_shipped_checkpoints(release, monkeypatch):
    monkeypatch.setattr(names, "shipped_folder", lambda: release.parent)
    assert available_checkpoints() == ["own"]
    assert resolve_checkpoint("own") == resolve_checkpoint(None) == release
    release.rename(release.parent / "nano")
    (release.parent / "base").symlink_to(release.parent / "nano")
    assert available_checkpoints() == ["base", "nano"]
    assert resolve_checkpoint(None).name == "base"


def test_unknown_name_lists_those_that_exist(release, monkeypatch):
    monkeypatch.setattr(names, "shipped_folder", lambda: release.parent)
    with pytest.raises(CheckpointNotFoundError, match=r"no checkpoint 'huge'.*shipped names \(own\)"):
        load_release("huge")
    with pytest.raises(FileNotFoundError):
        load_release("huge")


def test_no_weights_shipped(tmp_path, monkeypatch):
    monkeypatch.setattr(names, "shipped_folder", lambda: tmp_path / "nothing")
    with pytest.raises(CheckpointNotFoundError, match=r"carries no weights.*pass checkpoint="):
        load_release()


def test_training_checkpoint_is_refused_unread(tmp_path):
    path = tmp_path / "last.ckpt"
    path.write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(CheckpointError, match=r"serves resuming only; expected a release folder"):
        load_release(path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_incomplete_folder(release, name):
    (release / name).unlink()
    with pytest.raises(CheckpointError, match=rf"not a release folder: {name} missing"):
        load_release(release)


def test_truncated_weights(release):
    path = release / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"\(1000 bytes\) cannot be read.*truncated"):
        load_release(release)


def test_pickled_weights_are_not_loaded(release, tiny_model):
    torch.save(tiny_model.state_dict(), release / "model.safetensors")
    with pytest.raises(CheckpointError, match="pickled checkpoints are never loaded"):
        load_release(release)


def edit_config(release, **changes):
    path = release / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_foreign_model_type(release):
    edit_config(release, model_type="bert")
    with pytest.raises(CheckpointError, match="type 'bert', expected 'icl_tabular'"):
        load_release(release)


def test_unknown_config_key(release):
    edit_config(release, n_wings=2)
    with pytest.raises(CheckpointError, match="unknown keys: n_wings"):
        load_release(release)


def test_impossible_config_value(release):
    edit_config(release, n_heads=3)
    with pytest.raises(CheckpointError, match=r"holds a value that no model can have.*n_heads"):
        load_release(release)


def test_config_that_is_no_json(release):
    (release / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not valid JSON"):
        load_release(release)


def test_weights_of_another_size(release):
    edit_config(release, n_bins=64)
    with pytest.raises(CheckpointError, match=r"bin_head.*has shape \(32.*expected \(64"):
        load_release(release)


def test_weights_of_another_depth(release):
    edit_config(release, n_layers=3)
    with pytest.raises(CheckpointError, match=r"blocks\.2.* is missing"):
        load_release(release)
    edit_config(release, n_layers=1)
    with pytest.raises(CheckpointError, match=r"blocks\.1.* is unexpected"):
        load_release(release)
