"""Fine-tuning by two processes (Lightning's DDP over gloo) is fine-tuning by one that takes the tasks of both."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from training_runs import fork_ranks, join

from icl.finetuning import FinetuneConfig, finetune
from icl.finetuning import held_out as holdout
from icl.finetuning import stream as data
from icl.releases.folder import load_release
from icl.training.stream import TaskStream
from priors import ShapeSampler

# A rate that moves the weights within two steps; half of the loss is on tasks of the prior.
CONFIG = FinetuneConfig(
    target="y", held_out=("w0", "w2"), steps=2, lr=1e-2, replay=0.5, max_rows=48, n_cells=200, device="cpu"
)
SHAPES = ShapeSampler(n_cells=300, rows=(16, 32), features=(1, 4), mean_features=2.0)


def shrink(set_attribute) -> None:
    """Few and small tasks of the prior."""
    set_attribute(holdout, "_PRIOR_STEPS", 1)
    for module in (data, holdout):
        set_attribute(module, "REPLAY_SHAPES", SHAPES)


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
    """Release of a run by two processes, what they said, and whether each found the release when it went on."""
    out = tmp_path_factory.mktemp("pair") / "pair"
    codes, said = join(out.parent, fork_ranks(out.parent, tune, [str(tiny_release), str(folder), str(out)], 2))
    assert codes == [0, 0], said[-3000:]
    return out, said


def tune(args: list[str]) -> None:
    start, tables, out = args
    shrink(setattr)
    finetune(start, tables, replace(CONFIG, n_devices=2), out=out, report=lambda line: print(line, flush=True))
    Path(out).with_name(f"rank{os.environ['LOCAL_RANK']}").write_text(str((Path(out) / "provenance.json").is_file()))


def test_two_processes_write_one_release(pair):
    """One of them speaks; both find the release when they go on."""
    out, said = pair
    assert said.count("4 table(s), held out") == 1 and said.count("Loss on the held-out tables") == 1
    assert [out.with_name(f"rank{k}").read_text() for k in (0, 1)] == ["True", "True"]
    assert not out.with_name("pair.run").exists()
    found = json.loads((out / "provenance.json").read_text())["finetuning"]
    assert found["config"]["n_devices"] == 2 and found["steps_run"] == 2 and found["held_out"] == ["w0.csv", "w2.csv"]


@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")
def test_two_processes_equal_one_with_both_shares(pair, folder, tiny_release, tmp_path, monkeypatch):
    """Same losses on every held-out table and on the prior, though each process validates on half of them."""

    def both(tables, config, model, start=0, rank=0):
        one = usual(tables, replace(config, batch_tables=2), model, start)
        return OfBothRanks(one.priors, one.shapes, one.seed, start=start)

    usual = data.task_stream
    monkeypatch.setattr(data, "task_stream", both)
    shrink(monkeypatch.setattr)
    alone = finetune(tiny_release, folder, replace(CONFIG, batch_tables=4), out=tmp_path / "alone")
    ours, theirs = (pd.read_csv(out / "finetuning.csv") for out in (pair[0], alone))
    assert ours.columns.tolist() == theirs.columns.tolist() and ours.step.tolist() == theirs.step.tolist() == [0, 2]
    start, end = theirs.iloc[0], theirs.iloc[1]
    assert abs(end - start)[["loss", "prior"]].min() > 0.1  # the steps did something
    pd.testing.assert_frame_equal(ours, theirs, rtol=0, atol=1e-3)
    initial, one, two = (load_release(folder).state_dict() for folder in (tiny_release, alone, pair[0]))
    moved = sum(float((one[name] - value).abs().sum()) for name, value in initial.items())
    apart = sum(float((one[name] - two[name]).abs().sum()) for name in initial)
    assert moved > 1 and apart < 0.02 * moved
