"""A training checkpoint becomes a release."""

import json
import os
from pathlib import Path

import pytest
import torch

from icl.releases.folder import load_release
from icl.releases.names import CheckpointError
from icl.releases.training_yaml import without_places
from icl.training.export import RUN, export_checkpoint
from icl.training.pretraining import PretrainingModule

SIZE = {"d_embed": 16, "n_layers": 2, "n_heads": 2, "n_bins": 16}


@pytest.fixture
def checkpoint():
    """As Lightning and our callbacks write it: averages under `state_dict`, the weights of training elsewhere."""
    module = PretrainingModule(SIZE)
    module.tasks_seen, module.wall_seconds = 1234, 56.7
    module.ancestor = {"release": "checkpoints/small", "tasks_seen": 1000}
    saved = {"global_step": 42, "state_dict": module.state_dict(), "averaging_state": {}}
    saved["current_model_state"] = {name: torch.zeros_like(value) for name, value in saved["state_dict"].items()}
    saved[RUN] = {"seed": 7, "device": "cuda", "training_yaml": "model: {model: {d_embed: 16}}\n"}
    module.on_save_checkpoint(saved)
    return saved


def test_the_averaged_weights_and_the_facts_of_the_run_are_released(checkpoint, tmp_path):
    torch.save(checkpoint, tmp_path / "last.ckpt")
    folder = export_checkpoint(str(tmp_path / "last.ckpt"), str(tmp_path / "release"))
    model = load_release(folder)
    for name, value in model.state_dict().items():
        assert torch.equal(value, checkpoint["state_dict"][f"model.{name}"].half().float())
    facts = json.loads((folder / "provenance.json").read_text())
    assert (facts["steps"], facts["tasks_seen"], facts["tasks_seen_in_all"]) == (42, 1234, 2234)
    assert facts["wall_seconds"] == 57 and facts["seed"] == 7 and facts["averaged_weights"] is True
    assert facts["init_from"] == {"release": "checkpoints/small", "tasks_seen": 1000}
    assert (folder / "training.yaml").read_text() == checkpoint[RUN]["training_yaml"]
    assert "training_yaml" not in facts


def test_an_older_checkpoint_needs_its_configuration(checkpoint, tiny_release, tmp_path):
    for key in ("model_config", "ancestor", RUN):
        del checkpoint[key]
    torch.save(checkpoint, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match="--training_yaml"):
        export_checkpoint(str(tmp_path / "last.ckpt"), str(tmp_path / "release"))
    (tmp_path / "run.yaml").write_text(f"model: {{model: {json.dumps(SIZE)}, init_from: {tiny_release}}}\n")
    folder = export_checkpoint(str(tmp_path / "last.ckpt"), str(tmp_path / "release"), str(tmp_path / "run.yaml"))
    assert load_release(folder).config.n_layers == 2
    assert (
        json.loads((folder / "provenance.json").read_text())["init_from"]["release"] == "tiny"
    )  # no path of this machine


def test_places_of_the_machine_stay_out_of_the_release(checkpoint, tiny_release, tmp_path, monkeypatch):
    """Relative where they are below the working directory, else the last name alone; the rest stays to the letter."""
    monkeypatch.chdir(tmp_path)
    text = (
        "# a run\nmodel: {model: {d_embed: 16}}\n"
        f"trainer: {{default_root_dir: {tmp_path}/runs/base, every: 0:03:00}}\n"
        "data:\n  folders: [/home/somebody/secret/tables, '/home/somebody/secret', 'C:\\Users\\me\\t.csv', runs/a/b]\n"
    )
    checkpoint[RUN]["training_yaml"] = text
    torch.save(checkpoint, "last.ckpt")
    folder = export_checkpoint("last.ckpt", "release")
    expected = (
        "# a run\nmodel: {model: {d_embed: 16}}\ntrainer: {default_root_dir: runs/base, every: 0:03:00}\n"
        "data:\n  folders: [tables, 'secret', 't.csv', runs/a/b]\n"
    )
    assert (folder / "training.yaml").read_text() == expected
    for text in ("a: &x [1]\nb: *x\nc: /home/somebody", "a: [", 'a: "/home/some\\x62ody"'):
        assert without_places(text) == ""
    shipped = (Path(__file__).parents[2] / "checkpoints" / "base" / "training.yaml").read_text()
    assert without_places(shipped) == shipped


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_nothing_in_a_checkpoint_runs(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(checkpoint | {"callbacks": Hostile()}, "last.ckpt")
    with pytest.raises(CheckpointError, match="cannot be read as a training checkpoint"):
        export_checkpoint("last.ckpt", "release")
    assert os.listdir(tmp_path) == ["last.ckpt"]


@pytest.mark.parametrize(
    "content", [None, b"not a checkpoint", {"state_dict": {}}, {"progress": {}}, [1], {"progress": 3}]
)
def test_what_is_no_checkpoint_is_refused(content, tmp_path):
    path = tmp_path / "last.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"last\.ckpt"):
        export_checkpoint(str(path), str(tmp_path / "release"))


def test_the_command_exports(checkpoint, tmp_path, capsys):
    from train import main

    torch.save(checkpoint, tmp_path / "last.ckpt")
    main(["export", "--ckpt_path", str(tmp_path / "last.ckpt"), "--out", str(tmp_path / "release")])
    assert str(tmp_path / "release") in capsys.readouterr().out
    assert load_release(tmp_path / "release").config.d_embed == 16
