"""Four processes in two groups train one model, and go on when one of them is killed.

    python -m benchmarks.scale.training --folder FOLDER [--steps 30]

Two torchruns, as on two nodes, each with two processes over gloo, meet at an address of this machine. First a run that
is left alone: every process writes down a checksum of the tasks of each step and the weights that it ended with. Then
the same command, and one process of the second group is killed (SIGKILL) when five steps are saved: torchrun ends the
others and starts all anew, and `--ckpt_path last_or_new` makes them go on. It must end with the weights, averages and
optimiser of the run that was left alone. Writes benchmarks/scale/torchrun.md.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from training_runs import TINY, assert_same_state, state_of, write_config

from benchmarks.machine import describe
from benchmarks.scale.measured import family_of

ROOT = Path(__file__).parents[2]
OUT = Path(__file__).with_name("torchrun.md")
N_GROUPS, N_EACH = 2, 2
# Lines of torchrun's log that tell what it did.
_TOLD = ("failed", "Restart", "restart", "Signal", "exitcode")


def start(folder: Path, n_steps: int) -> list[subprocess.Popen]:
    """The two torchruns of a run in `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        sys.executable, "-m", "torch.distributed.run", f"--nnodes={N_GROUPS}", f"--nproc-per-node={N_EACH}",
        "--max-restarts=3", "--rdzv-backend=c10d", "--rdzv-id=two-groups", f"--rdzv-endpoint={address}",
        "--monitor-interval=0.5", str(ROOT / "train.py"), "fit", "--config", str(write_config(folder)), *TINY,
        f"--trainer.num_nodes={N_GROUPS}", f"--trainer.devices={N_EACH}", "--trainer.strategy=ddp",
        "--data.n_virtual_ranks=4", f"--trainer.max_steps={n_steps}", "--model.optim.warmup_steps=20",
        "--trainer.val_check_interval=1000", "--trainer.callbacks+=tests.helpers.Witness",
        f"--trainer.callbacks.folder={folder}", "--ckpt_path=last_or_new",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    # torchrun shares one store between its restarts, where processes find the addresses of those that are gone
    # (github.com/pytorch/pytorch/issues/135712): without this what is started anew never meets.
    environment |= {"GLOO_SOCKET_IFNAME": "lo", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    groups = []
    for group in range(N_GROUPS):
        with open(folder / f"group{group}.log", "w") as log:
            groups.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log))
        time.sleep(1)  # the first one holds the address
    return groups


def finish(groups: list[subprocess.Popen], folder: Path) -> None:
    codes = [process.wait() for process in groups]
    if any(codes):
        raise SystemExit(f"torchrun ended with {codes}:\n" + (folder / "group0.log").read_text()[-4000:])


def steps_saved(folder: Path) -> int:
    path = folder / "checkpoints" / "last.ckpt"
    try:
        return state_of(folder)["global_step"] if path.is_file() else 0
    except (OSError, RuntimeError, EOFError):
        return 0


def kill_one(group: subprocess.Popen) -> int:
    """SIGKILL for the last process that the torchrun of a group started."""
    workers = [pid for pid in family_of(group.pid) if pid != group.pid]
    os.kill(workers[-1], signal.SIGKILL)
    return workers[-1]


def end_family() -> None:
    for pid in family_of(os.getpid())[1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    # What is started must not outlive this process, whatever ends it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    atexit.register(end_family)
    whole, cut = options.folder / "whole", options.folder / "cut"
    if not all((whole / f"rank{rank}.pt").is_file() for rank in range(N_GROUPS * N_EACH)):  # of an earlier call
        shutil.rmtree(whole, ignore_errors=True)
        whole.mkdir(parents=True)
        finish(start(whole, options.steps), whole)
    shutil.rmtree(cut, ignore_errors=True)
    cut.mkdir(parents=True)
    ranks = [torch.load(whole / f"rank{rank}.pt") for rank in range(N_GROUPS * N_EACH)]
    for name, value in ranks[0]["weights"].items():
        assert all(torch.equal(value, other["weights"][name]) for other in ranks), name
    checksums = [sum for rank in ranks for sum in rank["checksums"]]
    assert len(checksums) == 4 * options.steps == len(set(checksums))
    n_weights = sum(value.numel() for value in ranks[0]["weights"].values())

    groups = start(cut, options.steps)
    while steps_saved(cut) < 5 and all(group.poll() is None for group in groups):
        time.sleep(0.05)
    kill_one(groups[1])
    at = steps_saved(cut)
    finish(groups, cut)
    # Sums over processes are not taken in one order, and the optimiser turns rounding into steps.
    assert_same_state(state_of(cut), state_of(whole), atol=1e-3)
    again = [torch.load(cut / f"rank{rank}.pt") for rank in range(N_GROUPS * N_EACH)]
    resumed_at = options.steps - len(again[0]["losses"])
    assert 0 < at <= resumed_at + 1 and 0 < resumed_at < options.steps
    apart = max(float((a - b).abs().max()) for a, b in zip(again[0]["weights"].values(), ranks[0]["weights"].values()))
    for one, other in zip(again, ranks):
        assert one["checksums"] == other["checksums"][resumed_at:]
    losses = torch.tensor([rank["losses"] for rank in again]), torch.tensor([r["losses"][resumed_at:] for r in ranks])
    differs = float((losses[0] / losses[1] - 1).abs().max())
    assert differs < 1e-3
    lines = [
        "# Four processes in two groups",
        "",
        f"`python -m benchmarks.scale.training --folder FOLDER --steps {options.steps}`: two torchruns of two "
        "processes each on this machine, Lightning's DDP over gloo, a tiny network on `configs/nano.yaml`'s priors, a "
        "checkpoint after every step.",
        "",
        describe("torch", "lightning"),
        "",
        "| | |",
        "|---|---|",
        f"| weights of the four processes ({n_weights:,} numbers) | equal to the last bit |",
        f"| tasks: checksums of {options.steps} steps x 4 processes | {len(set(checksums))} different ones |",
        f"| a process of the second group killed (SIGKILL) | after step {at} was saved |",
        f"| torchrun started all four anew; they went on | from step {resumed_at} |",
        "| tasks of each process in each step that followed | those of the run left alone |",
        f"| losses of these steps, from those of the run left alone | at most {differs:.0e} of them apart |",
        f"| weights at the end | at most {apart:.0e} apart |",
        "| averages, optimiser; tasks seen | within 1e-3; the same |",
        "",
    ]
    OUT.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))
    for group in range(N_GROUPS):
        told = [line for line in (cut / f"group{group}.log").read_text().splitlines() if any(t in line for t in _TOLD)]
        print(f"group {group}:", *told[-6:], sep="\n  ")


if __name__ == "__main__":
    main()
