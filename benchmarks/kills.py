"""kill -9 at random moments: nothing half written lies under a real name, and the next run cleans up and finishes.

    python -m benchmarks.kills --kills 20 --out benchmarks/kills.md

Each command runs in a process of its own (forked when everything is imported, so that kills fall into the work) and is
killed at a moment drawn from the time that it takes, until `--kills` of them were really killed at work: a kill that
comes after the end is an attempt and no more. Then: is what lies under the name of its output whole, or absent? Does
the same command, left alone, end with the answer of an undisturbed run, and with no file that is not its output?
Commands that kills.csv, beside the report, has counted before are not killed again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

_MOST_ATTEMPTS = 6  # of the kills that are wanted


@dataclass(frozen=True)
class Command:
    """What is run in a folder, the name of its output, and a digest of an output that is whole; others raise."""

    run: Callable[[Path], None]
    output: str
    digest: Callable[[Path], bytes]


def commands(release: Path) -> dict[str, Command]:
    from icl.commands.main import main

    def icl(*words: str) -> Callable[[Path], None]:
        def run(folder: Path) -> None:
            os.chdir(folder)
            if code := main([*words]):
                raise RuntimeError(f"icl {words[0]} ended with {code}")

        return run

    def save(folder: Path) -> None:
        from icl.releases.folder import load_release, save_release

        save_release(load_release("base"), folder / "saved", {"seed": 1}, files={"large.bin": bytes(20_000_000)})

    def export(folder: Path) -> None:
        from icl.training.export import export_checkpoint

        export_checkpoint(str(folder / "last.ckpt"), str(folder / "exported"))

    model = ["--checkpoint", str(release)]
    two = ["--members", "2", *model]
    tune = ["finetune", "wards", "--target", "y", "--steps", "6", "--lr", "0.01", "--replay", "0", "--max_rows", "48"]
    shrink_validation()
    return {
        "save_release": Command(save, "saved", _weights),
        "train.py export": Command(export, "exported", _weights),
        "icl finetune": Command(icl(*tune, "--out", "tuned", *model), "tuned", _weights),
        "icl predict": Command(
            icl("predict", "train.csv", "test.csv", "--target", "y", "--output", "answers.csv", *two),
            "answers.csv",
            Path.read_bytes,
        ),
        "icl estimate": Command(
            icl("estimate", "train.csv", "--estimand", "mean: z", "--predictor", "none", "--output", "estimate.csv"),
            "estimate.csv",
            Path.read_bytes,
        ),
    }


def shrink_validation() -> None:
    """Few and small tasks of the prior: most of a short fine-tuning run would be their validation, and no writing."""
    from icl.finetuning import held_out, stream
    from priors import ShapeSampler

    held_out._PRIOR_STEPS = 1
    shapes = ShapeSampler(n_cells=300, rows=(16, 32), features=(1, 4), mean_features=2.0)
    held_out.REPLAY_SHAPES = stream.REPLAY_SHAPES = shapes


def _weights(folder: Path) -> bytes:
    from icl.releases.folder import load_release
    from icl.releases.seen import read_seen

    read_seen(folder)
    if folder.name == "saved" and (folder / "large.bin").stat().st_size != 20_000_000:
        raise ValueError("a file of the release is cut off")
    return b"".join(p.detach().numpy().tobytes() for p in load_release(folder).parameters())


def inputs(folder: Path) -> Path:
    """A folder with all that the commands read."""
    import torch

    from icl.training.pretraining import PretrainingModule

    def table(seed: int, n: int) -> pd.DataFrame:
        a, b = np.random.default_rng(seed).normal(size=(2, n))
        return pd.DataFrame({"a": a, "b": b, "z": a - b, "y": np.where(a + b > 0, "yes", "no")})

    (folder / "wards").mkdir(parents=True)
    for k in range(4):
        table(k, 60).to_csv(folder / "wards" / f"ward{k}.csv", index=False)
    table(9, 200).to_csv(folder / "train.csv", index=False)
    table(10, 400).drop(columns="y").to_csv(folder / "test.csv", index=False)
    module = PretrainingModule({"d_embed": 96, "n_layers": 6, "n_heads": 3})
    saved: dict = {"global_step": 1, "state_dict": module.state_dict(), "filler": torch.zeros(5_000_000)}
    module.on_save_checkpoint(saved)
    torch.save(saved, folder / "last.ckpt")
    return folder


def start(command: Command, folder: Path) -> int:
    """The id of a process that runs the command."""
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
            warnings.simplefilter("ignore")
            try:
                command.run(folder)
                code = 0
            except BaseException as error:
                said.write(repr(error))
        if code:
            os.write(2, said.getvalue()[-2000:].encode())
        os._exit(code)
    return child


def finish(command: Command, folder: Path) -> None:
    _, status = os.waitpid(start(command, folder), 0)
    if status:
        sys.exit(f"a run that nobody disturbed failed in {folder}")


def disturb(command: Command, whole: Path, work: Path, n_kills: int, draw: random.Random) -> dict[str, float]:
    """Kill the command at work `n_kills` times and count what was found."""
    reference = Path(shutil.copytree(whole, work / "reference"))
    times = []
    for _ in range(2):  # the first run finds cold files
        begin = time.perf_counter()
        finish(command, reference)
        times.append(time.perf_counter() - begin)
    seconds = min(times)
    expected, names = command.digest(reference / command.output), set(os.listdir(reference))
    found = dict.fromkeys(("attempts", "killed", "absent", "whole", "half", "left over", "cleaned"), 0)
    found = {"seconds": round(seconds, 2)} | found
    while found["killed"] < n_kills and found["attempts"] < _MOST_ATTEMPTS * n_kills:
        number = found["attempts"]
        found["attempts"] += 1
        folder = Path(shutil.copytree(whole, work / str(number)))
        if number % 2:
            shutil.copytree(reference, folder, dirs_exist_ok=True)  # there is an earlier output
        child = start(command, folder)
        time.sleep(draw.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):  # it had ended
            shutil.rmtree(folder)
            continue
        found["killed"] += 1
        output = folder / command.output
        try:
            state = "absent" if not output.exists() else "whole" if command.digest(output) == expected else "half"
        except (OSError, ValueError):
            state = "half"
        found[state] += 1
        found["left over"] += bool(set(os.listdir(folder)) - names)
        finish(command, folder)
        odd, same = set(os.listdir(folder)) ^ names, command.digest(output) == expected
        found["cleaned"] += not odd and same
        if odd or not same:
            said = "its answer" if same else f"another answer ({_apart(command.digest(output), expected)})"
            print(f"kill {number}, {state}: the run after it left {said} and {sorted(odd)} in {folder}", flush=True)
        shutil.rmtree(folder)
    shutil.rmtree(reference)
    return found


def _apart(found: bytes, expected: bytes) -> str:
    if len(found) != len(expected):
        return f"{len(found)} bytes for {len(expected)}"
    where = np.flatnonzero(np.frombuffer(found, np.uint8) != np.frombuffer(expected, np.uint8))
    weights = [np.frombuffer(b, "<f4") for b in (found, expected)] if len(found) % 4 == 0 else []
    most = f", {np.abs(weights[0] - weights[1]).max():.2g} at most as float32" if weights else ""
    return f"{len(where)} of {len(found)} bytes differ{most}"


def report(rows: pd.DataFrame, kills: int, seed: int, where: str) -> str:
    names = list(rows)
    lines = [" | ".join(f"{row[c]:g}" if c != "command" else str(row[c]) for c in names) for _, row in rows.iterrows()]
    return "\n".join(
        [
            "# kill -9 at random moments",
            "",
            f"`python -m benchmarks.kills --kills {kills} --seed {seed}` on {where}.",
            "",
            "Of each command: how long it takes undisturbed, how many attempts were made, how many of them killed it "
            "at work; of these, what lies under the name of its output (every second time an earlier one was there), "
            "whether files were left over, and whether the same command, given again, ended with the answer of an "
            "undisturbed run and no other file.",
            "",
            "| | seconds | attempts | killed | absent | whole | half written | left over | finished and clean |",
            "|---|---|---|---|---|---|---|---|---|",
            *(f"| {line} |" for line in lines),
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="of each command, at work")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="a part of the names of the commands to kill")
    parser.add_argument("--out", type=Path, required=True, help="the report; the rows go beside it, as .csv")
    options = parser.parse_args()
    import torch

    from benchmarks.fuzz_releases import whole_release
    from benchmarks.machine import describe
    from icl.atomic import write_atomically

    torch.set_num_threads(1)
    out = options.out.absolute()
    table = out.with_suffix(".csv")
    counted = lambda: pd.read_csv(table).to_dict("records") if table.is_file() else []
    with tempfile.TemporaryDirectory() as name:
        whole = inputs(Path(name) / "whole")
        for label, command in commands(whole_release(Path(name) / "release")).items():
            if options.only not in label or any(row["command"] == label for row in counted()):
                continue
            work = Path(name) / "work"
            work.mkdir()
            found = disturb(command, whole, work, options.kills, random.Random(options.seed))
            write_atomically(table, pd.DataFrame([*counted(), {"command": label} | found]).to_csv(index=False))
            shutil.rmtree(work)
    write_atomically(out, report(pd.DataFrame(counted()), options.kills, options.seed, describe("torch")))


if __name__ == "__main__":
    main()
