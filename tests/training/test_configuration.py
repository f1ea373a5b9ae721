"""A run that is built from YAML without jsonargparse is the one that `train.py` builds."""

import sys
from typing import Any
from unittest import mock

import pytest
import torch
import yaml
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from training_runs import ROOT, state_of, tiny_configuration

import priors
from icl.training.configuration import arguments, built, made, overlaid, read_configuration
from icl.training.pretraining import PretrainingModule
from icl.training.stream import TaskDataModule
from priors import ShapeSampler, TargetConfig
from priors.table import TablePrior

pytestmark = [
    # As in test_training.py.
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"),
]
PATHS = [ROOT / "configs" / f"{name}.yaml" for name in ("base", "two-cores", "base-companions")]
ON_ONE = {"trainer": {"devices": 1, "strategy": "auto", "precision": "32-true", "plugins": None}}


def test_both_ways_build_the_same_run(monkeypatch, tmp_path):
    from train import TrainCLI

    monkeypatch.chdir(ROOT)  # the network starts from checkpoints/base
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(ON_ONE))
    files = [word for path in (*PATHS, tmp_path / "one.yaml") for word in ("--config", str(path))]
    with mock.patch.object(sys, "argv", ["train.py"]), torch.random.fork_rng(devices=[]):
        theirs = TrainCLI(PretrainingModule, TaskDataModule, args=files, run=False, save_config_callback=None)
        ours = built(overlaid(read_configuration(*PATHS), ON_ONE))
    for name in ("priors", "shapes", "companions", "seed", "n_validation_steps", "draws_together", "num_workers"):
        assert getattr(ours.data, name) == getattr(theirs.datamodule, name), name
    assert ours.module.optim == theirs.model.optim and ours.module.ancestor == theirs.model.ancestor
    weights = zip(ours.module.model.parameters(), theirs.model.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)
    for name in ("max_steps", "gradient_clip_val", "val_check_interval", "precision", "log_every_n_steps"):
        assert getattr(ours.trainer, name) == getattr(theirs.trainer, name), name
    kinds = [[type(c).__name__ for c in trainer.callbacks] for trainer in (ours.trainer, theirs.trainer)]
    assert [kind for kind in kinds[0] if kind != "WriteConfiguration"] == kinds[1]
    one, other = (trainer.checkpoint_callback for trainer in (ours.trainer, theirs.trainer))
    assert one._train_time_interval == other._train_time_interval and one.dirpath == other.dirpath
    writers = {type(trainer.strategy.checkpoint_io) for trainer in (ours.trainer, theirs.trainer)}
    assert {writer.__name__ for writer in writers} == {"WholeCheckpointIO"}


def test_what_is_unknown_is_named():
    with pytest.raises(ValueError, match=r"TaskDataModule has no option seeds; it has .*seed"):
        arguments(TaskDataModule, {"seeds": 1})
    with pytest.raises(ValueError, match="got modle too"):
        built({"modle": {}})


def test_values_become_what_annotations_want():
    shapes = made({"rows": [32, 64], "mean_features": 9}, ShapeSampler | None)
    assert shapes == ShapeSampler(rows=(32, 64), mean_features=9.0) and isinstance(shapes.mean_features, float)
    assert made("1e-3", float) == 1e-3 and made("last", str | None) == "last" and made(2, int | float) == 2


def test_a_built_run_trains_and_leaves_its_configuration(tmp_path):
    config = tiny_configuration(tmp_path, 2)
    with torch.random.fork_rng(devices=[]):
        run = built(config)
        run.trainer.fit(run.module, run.data)
    assert rank_zero_only.rank == 0 and state_of(tmp_path)["global_step"] == 2
    [file] = tmp_path.glob("log/version_*/config.yaml")
    assert yaml.safe_load(file.read_text()) == config
    assert "MixturePrior" in (tmp_path / "release" / "training.yaml").read_text()


def test_every_prior_can_be_named():
    """What a family inherits from another module is known as well."""
    for name in priors.__all__:
        kind = getattr(priors, name)
        if isinstance(kind, type) and issubclass(kind, TablePrior) and kind is not TablePrior:
            given = {
                "class_path": f"priors.{name}",
                "init_args": {"task": "regression", "target": {"noise": [0.1, 0.2]}},
            }
            assert made(given, Any) == kind(task="regression", target=TargetConfig(noise=(0.1, 0.2)))
            with pytest.raises(ValueError, match=f"{name} has no option max_everything"):
                made({"class_path": f"priors.{name}", "init_args": {"max_everything": 1}}, Any)
