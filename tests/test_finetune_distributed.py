"""Fine-tuning by two processes (Lightning's DDP over gloo) is fine-tuning by one that takes the tasks of both."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from icl.checkpoint import load_release
from icl.data import TaskStream
from icl.finetuning import FinetuneConfig, data, finetune

ROOT = Path(__file__).parents[1]
# A rate that moves the weights within four steps; half of the loss is on tasks of the prior.
OPTIONS = {"target": "y", "steps": 4, "lr": 3e-3, "replay": 0.5, "max_rows": 48, "device": "cpu"}


class OfBothRanks(TaskStream):
    """The tasks of ranks 0 and 1 in one step: those from tables first, as `step_loss` expects them."""

    def at(self, step):
        return [batch for pair in zip(self.of_rank(step, 0), self.of_rank(step, 1), strict=True) for batch in pair]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    wards = tmp_path_factory.mktemp("wards")
    for k in range(4):
        a, b = np.random.default_rng(k).normal(size=(2, 60))
        pd.DataFrame({"a": a, "b": b, "y": np.where(a + b > 0, "yes", "no")}).to_csv(wards / f"w{k}.csv", index=False)
    return wards


@pytest.fixture(scope="module")
def pair(folder, tiny_release, tmp_path_factory):
    """Release of the command with two processes, and what it printed."""
    out = tmp_path_factory.mktemp("pair") / "pair"
    options = [f"--{name}={value}" for name, value in (OPTIONS | {"devices": 2, "held_out": "w0,w2"}).items()]
    command = [sys.executable, "-m", "icl.cli", "finetune", str(folder), f"--checkpoint={tiny_release}", f"--out={out}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return out, done.stdout


def test_two_processes_write_one_release(pair):
    out, said = pair
    assert said.count("Loss on the held-out tables") + said.count("No step of 4") == 1 and said.count("wrote") == 1
    assert not out.with_name("pair.run").exists()
    found = json.loads((out / "provenance.json").read_text())["finetuning"]
    assert found["config"]["n_devices"] == 2 and found["steps_run"] == 4 and found["held_out"] == ["w0.csv", "w2.csv"]


@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")
def test_two_processes_equal_one_with_both_shares(pair, folder, tiny_release, tmp_path, monkeypatch):
    """Same losses on every held-out table and on the prior, though each process validates on half of them."""

    def both(tables, config, model, start=0, rank=0):
        one = usual(tables, FinetuneConfig(**vars(config) | {"batch_tables": 2}), model, start)
        return OfBothRanks(one.priors, one.shapes, one.seed, start=start)

    usual = data.task_stream
    monkeypatch.setattr(data, "task_stream", both)
    config = FinetuneConfig(**OPTIONS, held_out=("w0", "w2"), batch_tables=4)
    alone = finetune(tiny_release, folder, config, out=tmp_path / "alone")
    ours, theirs = (pd.read_csv(out / "finetuning.csv") for out in (pair[0], alone))
    assert ours.columns.tolist() == theirs.columns.tolist() and ours.step.tolist() == theirs.step.tolist() == [0, 4]
    start, end = theirs.iloc[0], theirs.iloc[1]
    assert abs(end - start)[["loss", "prior"]].min() > 0.01  # the steps did something
    pd.testing.assert_frame_equal(ours, theirs, rtol=0, atol=1e-4)
    kept = [load_release(out).state_dict() for out in (pair[0], alone)]
    assert all(torch.allclose(kept[0][name], kept[1][name], rtol=1e-2, atol=1e-3) for name in kept[0])
