"""Two processes (Lightning's DDP over gloo): they equal one process, fail together, and resume.

One run is started as users start it, and starts its second process itself; the others begin as two processes, as
torchrun makes them, which is faster here.
"""

import signal
import time

import pytest
import torch
from helpers import Witness
from torch.testing import assert_close
from training_runs import SINGLE, assert_same_state, finish, fit, fork, join, start, state_of

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
    codes, said = join(tmp_path, fork(tmp_path, *PAIR, *poison, n_ranks=2))
    assert codes == [1, 1]
    assert "gradient became nan at step 3" in said and "--ckpt_path last" in said
    state = state_of(tmp_path)
    assert state["global_step"] == 3
    assert all(value.isfinite().all() for value in state["current_model_state"].values())
    codes, said = join(tmp_path, fork(tmp_path, *PAIR, "--ckpt_path=last", n_ranks=2))
    assert codes == [0, 0], said
    assert_same_state(state_of(tmp_path), state_of(pair))


def test_four_processes_in_two_groups_go_on_when_one_is_killed(tmp_path):
    """As on two nodes: one set of weights, tasks of their own; SIGKILL for one ends the others, and the same command
    goes on from the last checkpoint, to where a run ends that was left alone."""
    four = ["--trainer.num_nodes=2", "--trainer.devices=2", "--trainer.strategy=ddp", "--data.n_virtual_ranks=4"]
    steps = ["--trainer.max_steps=4", "--model.optim.warmup_steps=20"]
    same = [*four, *steps, "--trainer.val_check_interval=1000", "--ckpt_path=last_or_new"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    witness = ["--trainer.callbacks+=tests.helpers.Witness", f"--trainer.callbacks.folder={whole}"]
    codes, said = join(whole, fork(whole, *same, *witness, n_ranks=4, n_groups=2))
    assert codes == [0] * 4, said
    ranks = [torch.load(whole / f"rank{rank}.pt") for rank in range(4)]
    for name, value in ranks[0]["weights"].items():
        assert all(torch.equal(value, rank["weights"][name]) for rank in ranks)
    checksums = [checksum for rank in ranks for checksum in rank["checksums"]]
    assert len(checksums) == len(set(checksums)) == 4 * 4

    die = ["--trainer.callbacks+=tests.helpers.KilledAt", "--trainer.callbacks.step=2", "--trainer.callbacks.rank=3"]
    codes, said = join(cut, fork(cut, *same, *die, n_ranks=4, n_groups=2))
    assert codes[3] == -signal.SIGKILL and all(codes), said  # the others end too, none waits for it
    reached = state_of(cut)["global_step"]
    assert 0 < reached < 4
    codes, said = join(cut, fork(cut, *same, n_ranks=4, n_groups=2))
    assert codes == [0] * 4, said
    assert_same_state(state_of(cut), state_of(whole), atol=1e-6)


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")  # that of the killed run
def test_a_run_that_is_killed_resumes_from_a_whole_checkpoint(tmp_path):
    """SIGKILL while checkpoints are written after every step; the resumed run equals one that was left alone."""
    # A warm-up and no decay: the schedule does not depend on where the run is to end.
    endless = ["--model.optim.decay_share=0", "--trainer.val_check_interval=100000"]
    [process] = fork(tmp_path, *SINGLE, *endless, "--trainer.max_steps=100000")
    path = tmp_path / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 240
    while not path.exists() and process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    process.kill()
    codes, said = join(tmp_path, [process])
    assert codes == [-signal.SIGKILL], said
    reached = state_of(tmp_path)["global_step"]
    options = [*endless, f"--trainer.max_steps={reached + 2}"]
    fit(tmp_path, *options, "--ckpt_path=last")
    whole = tmp_path / "whole"
    whole.mkdir()
    fit(whole, *options)
    # Sums in another process may be rounded differently (MKL's depend on how memory is aligned).
    assert_same_state(state_of(tmp_path), state_of(whole), atol=1e-5)


def test_one_kind_of_target_and_one_validation_batch_suffice(tmp_path):
    """No process waits for gradients of the other kind's head, which stays as it was, or for another's validation."""
    one = "--data.priors=[{class_path: priors.LinearPrior}]"
    ends = ["--trainer.max_steps=2", "--trainer.val_check_interval=2"]
    codes, said = join(tmp_path, fork(tmp_path, *PAIR, *ends, one, n_ranks=2))
    assert codes == [0, 0], said
    state = state_of(tmp_path)
    module = PretrainingModule({"d_embed": 16, "n_layers": 1, "n_heads": 2, "n_thinking_rows": 2, "n_bins": 16})
    moved = {
        name: not torch.equal(value, state["current_model_state"][name]) for name, value in module.state_dict().items()
    }
    assert state["global_step"] == 2 and moved["model.bin_head.2.weight"]
    assert not moved["model.class_head.2.weight"] and not moved["model.target.classes.weight"]
