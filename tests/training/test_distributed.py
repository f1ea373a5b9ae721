"""Two processes (Lightning's DDP over gloo): they equal one process, fail together, and resume."""

import signal
import time

import pytest
import torch
from helpers import Witness
from torch.testing import assert_close
from training_runs import SINGLE, assert_same_state, finish, fit, start, state_of

from icl.training.pretraining import PretrainingModule

pytestmark = [
    # lightning 2.6 calls functions that jsonargparse 4.49 and torch 2.13 have deprecated.
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"),
]
# Rates that move the weights within six steps.
SIX = ["--trainer.max_steps=6", "--model.optim.warmup_steps=20"]
PAIR = ["--trainer.devices=2", "--trainer.strategy=ddp", *SIX]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A run of six steps by two processes, each of which wrote down what it saw."""
    folder = tmp_path_factory.mktemp("pair")
    witness = ["--trainer.callbacks+=tests.helpers.Witness", f"--trainer.callbacks.folder={folder}"]
    finish(start(folder, *PAIR, *witness))
    return folder


@pytest.fixture(scope="module")
def ranks(pair):
    return [torch.load(pair / f"rank{rank}.pt") for rank in (0, 1)]


def test_two_processes_train_one_model_on_different_tasks(ranks):
    zero, one = ranks
    assert zero["shapes"] == one["shapes"] and len(zero["shapes"]) == 6
    for a, b in zip(zero["checksums"], one["checksums"], strict=True):
        assert a != b
    for name, value in zero["weights"].items():
        assert torch.equal(value, one["weights"][name])
    assert zero["tasks_seen"] == one["tasks_seen"] == 2 * sum(s[0] for step in zero["shapes"] for s in step)


def test_two_processes_equal_one_with_both_shares(pair, ranks, tmp_path):
    fit(tmp_path, *SIX, "--data.n_virtual_ranks=2", callbacks=[Witness(str(tmp_path))])
    alone = torch.load(tmp_path / "rank0.pt")
    together = [(a + b) / 2 for a, b in zip(*(rank["losses"] for rank in ranks), strict=True)]
    assert len(together) == 6 and len(set(together)) == 6
    assert_close(torch.tensor(alone["losses"]), torch.tensor(together), rtol=0, atol=1e-4)
    assert alone["tasks_seen"] == ranks[0]["tasks_seen"]
    initial = PretrainingModule({"d_embed": 16, "n_layers": 1, "n_heads": 2, "n_thinking_rows": 2, "n_bins": 16})
    ours, theirs = state_of(tmp_path)["current_model_state"], state_of(pair)["current_model_state"]
    moved = sum(float((ours[name] - value).abs().sum()) for name, value in initial.state_dict().items())
    apart = sum(float((ours[name] - theirs[name]).abs().sum()) for name in ours)
    assert moved > 1 and apart < 0.02 * moved


def test_when_one_process_gets_no_number_both_stop_and_the_checkpoint_resumes(pair, tmp_path):
    """...exactly as if nothing had happened: averages and optimiser to the last bit."""
    poison = ["--trainer.callbacks+=tests.helpers.PoisonAt", "--trainer.callbacks.step=3", "--trainer.callbacks.rank=1"]
    process = start(tmp_path, *PAIR, *poison)
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "gradient became nan at step 3" in output and "--ckpt_path last" in output
    state = state_of(tmp_path)
    assert state["global_step"] == 3
    assert all(value.isfinite().all() for value in state["current_model_state"].values())
    finish(start(tmp_path, *PAIR, "--ckpt_path=last"))
    assert_same_state(state_of(tmp_path), state_of(pair))


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")  # that of the killed run
def test_a_run_that_is_killed_resumes_from_a_whole_checkpoint(tmp_path):
    """SIGKILL while checkpoints are written after every step; the resumed run equals one that was left alone."""
    # A warm-up and no decay: the schedule does not depend on where the run is to end.
    endless = ["--model.optim.decay_share=0", "--trainer.val_check_interval=100000"]
    process = start(tmp_path, *SINGLE, *endless, "--trainer.max_steps=100000")
    path = tmp_path / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 240
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    reached = state_of(tmp_path)["global_step"]
    options = [*endless, f"--trainer.max_steps={reached + 2}"]
    fit(tmp_path, *options, "--ckpt_path=last")
    whole = tmp_path / "whole"
    whole.mkdir()
    fit(whole, *options)
    # Sums in another process may be rounded differently (MKL's depend on how memory is aligned).
    assert_same_state(state_of(tmp_path), state_of(whole), atol=1e-5)
