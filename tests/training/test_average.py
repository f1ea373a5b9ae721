"""The mean of releases: of weights, of what is told of them, and of nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import train
from icl.network.config import TabularConfig, own_fields
from icl.network.model import TabularTransformer
from icl.releases.folder import load_release, save_release
from icl.releases.names import CheckpointError, resolve_checkpoint
from icl.releases.provenance import read_provenance
from icl.training.average import average_releases

START = {"git_commit": "a", "seed": 0, "steps": 5, "tasks_seen": 100, "data": "synthetic tasks only"}


def release(folder, model, seed, facts, **changes):
    """Of `model` with weights moved a little, in float32."""
    config = TabularConfig(**own_fields(model.config) | changes)
    moved = TabularTransformer(config)
    generator = torch.Generator().manual_seed(seed)
    moved.load_state_dict(
        {k: v + 0.01 * torch.randn(v.shape, generator=generator) for k, v in model.state_dict().items()}
    )
    return str(save_release(moved, folder, facts, dtype=torch.float32))


@pytest.fixture
def branches(tmp_path, tiny_model):
    """A release, and two runs that went on from it; one of them in groups that overlap."""
    began = {"release": "base", **{k: START[k] for k in ("git_commit", "seed", "steps", "tasks_seen")}}
    facts = [START, *({**START, "seed": k, "tasks_seen": 7 * k, "init_from": began} for k in (1, 2))]
    return [release(tmp_path / f"r{k}", tiny_model, k, told, least_groups=4 * (k == 2)) for k, told in enumerate(facts)]


def test_weights_are_the_mean_and_shared_runs_count_once(branches, tmp_path, capsys):
    out = tmp_path / "mean"
    train.main(["average", "--releases", f"[{', '.join(branches)}]", "--out", str(out)])
    assert str(out) in capsys.readouterr().out
    mean, parts = load_release(out), [load_release(folder).state_dict() for folder in branches]
    for name, weight in mean.state_dict().items():
        exact = torch.stack([part[name].double() for part in parts]).mean(0)
        assert_close(weight.double(), exact, rtol=1e-3, atol=1e-4)  # halves on disk
    assert mean.config.least_groups == 4
    told = read_provenance(out)
    assert told["tasks_seen_in_all"] == 100 + 7 + 14 and told["data"] == START["data"]
    assert [part["seed"] for part in told["average_of"]] == [0, 1, 2]
    # A mean may go on, or be a part of another.
    again = average_releases([str(out), branches[0]], str(tmp_path / "again"))
    assert read_provenance(again)["tasks_seen_in_all"] == 121


def test_the_mean_of_what_is_alike_is_the_same(tmp_path, tiny_model):
    alike = [str(save_release(tiny_model, tmp_path / name, {}, dtype=torch.float32)) for name in "ab"]
    mean = load_release(average_releases(alike, str(tmp_path / "c")))
    for name, weight in mean.state_dict().items():
        assert_close(weight, tiny_model.state_dict()[name].half().float(), rtol=0, atol=0)
    assert "tasks_seen_in_all" not in read_provenance(tmp_path / "c")


def test_what_has_no_mean_is_refused(branches, tmp_path, tiny_model):
    for given in ([], branches[:1], [branches[0], branches[0]]):
        with pytest.raises(ValueError, match="two releases or more, each named once"):
            average_releases(given, str(tmp_path / "none"))
    shipped = str(resolve_checkpoint("nano"))
    with pytest.raises(ValueError, match="each named once"):  # a name, and the folder that it stands for
        average_releases(["nano", shipped], str(tmp_path / "none"))
    for wrong in ({"average_of": "text"}, {"init_from": "text"}, {"average_of": None}, {"seed": [1], "tasks_seen": 1}):
        foreign = str(save_release(tiny_model, tmp_path / "foreign", wrong, dtype=torch.float32))
        with pytest.raises(CheckpointError, match=r"is not as train\.py writes it"):
            average_releases([branches[0], foreign], str(tmp_path / "none"))
    other = TabularTransformer(TabularConfig(**own_fields(tiny_model.config) | {"n_layers": 3, "n_rank_waves": 5}))
    deeper = str(save_release(other, tmp_path / "deeper", {}))
    with pytest.raises(ValueError, match=r"not of one size: n_layers 2 and 3; n_rank_waves 3 and 5"):
        average_releases([branches[0], deeper], str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_what_is_wrong_is_a_sentence_on_the_command_line(tmp_path):
    command = [sys.executable, "train.py", "average", "--releases", "[nano, nano]", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=Path(train.__file__).parent, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "train.py average: the mean is of two releases or more, each named once" in done.stderr
