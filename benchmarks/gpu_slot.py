"""Ten minutes of a GPU: check it, measure which batch pays, train on from a release, evaluate, and keep all of it.

    python benchmarks/gpu_slot.py --minutes 9.5 --out FOLDER [--tables FOLDER] [--start checkpoints/base]

How to use it, what comes back and what no GPU has run: benchmarks/gpu_slot.md. What is in FOLDER is whole at any
moment, and the weights there are those of the last minute: the machine may be taken away. `--small` rehearses on a CPU.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import pandas as pd
import torch

from benchmarks.slot_batch import Trial, choose, free_memory, sized, tried
from benchmarks.slot_folder import Kept, Slot
from benchmarks.slot_scores import means, scored
from icl.atomic import write_atomically
from icl.releases.provenance import git_commit, origin_of
from icl.training.callbacks import last_checkpoint
from icl.training.compiled import pays_on
from icl.training.configuration import Run, built, overlaid, read_configuration
from icl.training.deadline import Deadline
from icl.training.throughput import peak_flops

ROOT = Path(__file__).parents[1]
REFERENCE_TASKS, REFERENCE_RATE = 50, 1.5e-4  # of configs/base-companions.yaml, which went on from the same weights
MOST_RATE = 3e-3  # of configs/base.yaml, which began with none
SMALL = {"minutes": 3.0, "n_cells": [500, 1_000], "probe_seconds": 2.0, "score_seconds": 1.0, "margin": 20.0}
QUICK_TESTS = "stay_on_the_device or float32 or bf16 or attention or alone"


def check_device(slot: Slot) -> None:
    """A product of matrices in bf16, on the clock and against float32."""
    size, turns = (8192, 10) if slot.device.type == "cuda" else (512, 3)
    a, b = (torch.randn(size, size, device=slot.device, dtype=torch.bfloat16) for _ in range(2))
    product = a @ b
    wait(slot.device)
    start = time.perf_counter()
    for _ in range(turns):
        a @ b
    wait(slot.device)
    rate = 2 * size**3 * turns / (time.perf_counter() - start)
    exact = a[:64].float() @ b.float()
    error = float((product[:64].float() - exact).norm() / exact.norm())
    name = torch.cuda.get_device_name() if slot.device.type == "cuda" else "CPU"
    peak = peak_flops(slot.device, torch.bfloat16)
    slot.note(device=name, bf16_tflops=rate / 1e12, bf16_error=error, peak_tflops=peak and peak / 1e12)
    slot.say(
        f"{name}: bf16 products {rate / 1e12:.2f} TFLOP/s, error {error:.1e}; peak to reach: {peak and peak / 1e12}"
    )
    if not error < 0.02:
        sys.exit("bf16 products are wrong here; nothing was trained.")


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def run_tests(slot: Slot, options: argparse.Namespace) -> None:
    """The quickest of tests/gpu; what fails is told, and does not end the slot."""
    words = ["pytest", "-q", "-m", "gpu", "-W", "default", "-p", "no:cacheprovider", "tests/gpu", "-k", options.tests]
    command, environment = [sys.executable, "-m", *words], os.environ | {"ICL_TEST_DEVICE": slot.device.type}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=options.test_seconds
        )
        lines = done.stdout.strip().splitlines() or [done.stderr[-2_000:]]
        told = lines[-1]
        if done.returncode:
            slot.say("\n".join(lines[-60:]))
    except subprocess.TimeoutExpired:
        told = f"not done in {options.test_seconds:.0f} s"
    slot.note(tests=told)
    slot.say(f"tests of the device: {told}")


def configuration(options: argparse.Namespace) -> dict[str, Any]:
    """The YAML files, with the slot's device, folders and times in their place."""
    config = read_configuration(*options.config)
    text = json.dumps(config).replace(config["trainer"]["default_root_dir"], str(options.work))
    config = json.loads(text)
    for callback in config["trainer"]["callbacks"]:
        if callback["class_path"].endswith("ModelCheckpoint"):
            callback["init_args"]["train_time_interval"] = "0:0:10" if options.small else "0:1:0"
    log = {"save_dir": str(options.work), "name": "log", "flush_logs_every_n_steps": 10}
    slot: dict[str, Any] = {
        "model": {"init_from": str(options.start), "optim": {"warmup_steps": 20, "decay_share": 0.25}},
        "data": {"draws_together": 2 if options.small else 8, "num_workers": 0, "seed": options.seed},
        "trainer": {
            "accelerator": "cpu" if options.small else "auto",
            "devices": 1,
            "strategy": "auto",
            "precision": "32-true" if options.small else "bf16-mixed",
            "plugins": None,
            "max_steps": 1_000_000,  # the deadline sets it
            "limit_val_batches": 0,
            "log_every_n_steps": 2 if options.small else 10,
            "enable_progress_bar": False,
            "logger": [{"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": log}],
        },
    }
    if options.small:
        slot["data"]["shapes"] = {"rows": [32, 128], "features": [2, 16]}
    return overlaid(config, slot)


def probe(slot: Slot, options: argparse.Namespace, config: dict[str, Any]) -> Trial:
    """The batch that pays, and whether compiling does; each way is trained for some seconds, and thrown away."""
    trials = []
    for n_cells in options.n_cells:
        trial = tried(config, n_cells, False, options.probe_seconds)
        slot.say(str(trial))
        trials.append(trial)
        slot.note(trials=[vars(t) for t in trials])
        # Larger ones need more memory still, and where the device is busy they only take fewer steps.
        if trial.error or (len(trials) > 1 and trial.tables_per_s < 1.05 * trials[-2].tables_per_s):
            break
    total = torch.cuda.get_device_properties(0).total_memory if slot.device.type == "cuda" else 0
    best = choose(trials, 0.8 * total if total else None)
    if options.compile == "on" or (options.compile == "auto" and pays_on(slot.device)):
        trial = tried(config, best.n_cells, True, options.probe_seconds, options.compile_seconds)
        slot.say(str(trial))
        slot.note(trials=[vars(t) for t in [*trials, trial]])
        with suppress(RuntimeError):
            if made := torch.compiler.save_cache_artifacts():
                slot.put("compiled.bin", made[0])
        best = max(best, trial, key=lambda t: t.tables_per_s)
    slot.note(chosen=vars(best))
    return best


def train(slot: Slot, options: argparse.Namespace, config: dict[str, Any], chosen: Trial) -> bool:
    """Whether it came to its end. Batches that do not fit after all are halved, and the run goes on."""
    resume, n_cells = options.resume, chosen.n_cells
    free_memory()
    while True:
        run = ready(slot, options, config, replace(chosen, n_cells=n_cells))
        try:
            run.trainer.fit(run.module, run.data, ckpt_path=resume, weights_only=True)
            break
        except torch.cuda.OutOfMemoryError:
            slot.say(f"{n_cells:,} cells a batch need more memory than there is; halved")
            n_cells //= 2
            resume = str(last) if (last := last_checkpoint(run.trainer)) and last.is_file() else resume
        except Exception as error:  # what was kept is evaluated all the same
            slot.note(failed=f"{type(error).__name__}: {error}")
            slot.say(f"training failed: {slot.facts['failed']}")
            break
        del run
        free_memory()
    slot.keep_curve()  # whose last lines are written when the run ends
    curve = pd.read_csv(slot.out / "curve.csv") if (slot.out / "curve.csv").is_file() else pd.DataFrame()
    speed = {n: float(curve[n].median()) for n in ("tables_per_s", "tflops", "flop_utilisation") if n in curve}
    slot.note(trained={"steps": run.trainer.global_step, "tasks": run.module.tasks_seen, "median": speed})
    slot.say(f"trained {run.trainer.global_step:,} steps, {run.module.tasks_seen:,} tasks; {speed}")
    return "failed" in slot.facts or run.trainer.global_step >= run.trainer.max_steps


def ready(slot: Slot, options: argparse.Namespace, config: dict[str, Any], chosen: Trial) -> Run:
    """The run of the chosen batch: its rate, its averages, its deadline."""
    left = slot.end - time.monotonic() - options.score_seconds - options.margin
    rate = options.rate or min(MOST_RATE, REFERENCE_RATE * (chosen.tables_per_step / REFERENCE_TASKS) ** 0.5)
    optim = {"lr_muon": rate, "lr_adamw": rate * 2 / 3}
    # The averages' memory is a twentieth of the run, which may be short: what they begin with must be forgotten.
    n_steps = max(
        1.0, left / (chosen.seconds_per_step + chosen.seconds_per_draw / config["data"]["draws_together"] ** 2)
    )
    decay = round(min(0.998, max(0.5, 1 - 20 / n_steps)), 4)
    for callback in config["trainer"]["callbacks"]:
        if callback["class_path"].endswith("MovingAverage"):
            callback["init_args"]["decay"] = decay
    slot.note(rate=rate, decay=decay, seconds_of_training=left, start=origin_of(options.start))
    slot.say(
        f"training for {left:.0f} s, {chosen.n_cells:,} cells a batch, some {n_steps:,.0f} steps, rate {rate:.1e}, "
        f"averages {decay}, compiled: {chosen.compiled}"
    )
    change = {"model": {"compile": chosen.compiled, "optim": optim}, "data": {"shapes": sized(config, chosen.n_cells)}}
    # Before the callback that saves the last step, which the deadline declares.
    return built(overlaid(config, change), [Deadline(max(left, 1) / 60)], [Kept(slot)])


def score(slot: Slot, options: argparse.Namespace, rows: pd.DataFrame, which: str, release: Path) -> pd.DataFrame:
    """`rows` and those of the release, which are written too."""
    new = scored(release, options.tables, slot.device, options.score_seconds).assign(weights=which)
    rows = pd.concat([rows, new], ignore_index=True)
    write_atomically(slot.out / "scores.csv", rows.to_csv(index=False, float_format="%.6g"))
    slot.note(scores=means(rows))
    slot.say(f"{which}: {len(new)} tables; {means(rows).get(which)}")
    return rows


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9.5, help="for all of it, the imports included")
    parser.add_argument("--out", type=Path, required=True, help="folder that comes back")
    parser.add_argument("--work", type=Path, default=Path("runs/gpu_slot"), help="folder that does not")
    parser.add_argument("--tables", type=Path, help="folder of the benchmark tables; default: the bundled ones")
    parser.add_argument("--config", type=Path, nargs="+", default=[ROOT / "configs/base.yaml"])
    parser.add_argument("--start", type=Path, default=ROOT / "checkpoints/base", help="release to go on from")
    parser.add_argument("--resume", help="state.ckpt of a slot that was cut")
    parser.add_argument("--n_cells", type=int, nargs="+", default=[32_000, 64_000, 128_000, 256_000, 512_000])
    parser.add_argument("--compile", choices=["auto", "on", "off"], default="auto", help="auto: where it can and pays")
    parser.add_argument("--cache", type=Path, help="compiled.bin of an earlier slot, for the same kind of machine")
    parser.add_argument("--rate", type=float, help="peak rate of Muon; default: by the tasks of a step")
    parser.add_argument("--seed", type=int, default=18, help="of the tasks; another one for each slot")
    parser.add_argument("--commit", default=git_commit(), help="of the code, where the folder is no checkout")
    parser.add_argument("--tests", default=QUICK_TESTS, help="which of tests/gpu, as pytest's -k has it; '' for none")
    for name, seconds in {"test": 60, "probe": 8, "compile": 150, "score": 40}.items():
        parser.add_argument(f"--{name}_seconds", type=float, default=seconds)
    parser.add_argument("--margin", type=float, default=20.0, help="seconds left over at the end")
    parser.add_argument("--small", action="store_true", help="rehearse on the CPU")
    if parser.parse_known_args(arguments)[0].small:
        parser.set_defaults(**SMALL)
    options = parser.parse_args(arguments)
    device = torch.device("cpu" if options.small or not torch.cuda.is_available() else "cuda")
    slot = Slot(options.out, options.work, options.minutes, device, options.commit)
    logging.getLogger("lightning.pytorch").addHandler(logging.FileHandler(slot.out / "log.txt"))
    slot.say(slot.facts["machine"])
    check_device(slot)
    if options.cache and options.cache.is_file():
        torch.compiler.load_cache_artifacts(options.cache.read_bytes())
    if options.tests:
        run_tests(slot, options)
    rows = score(slot, options, pd.DataFrame(), "before", options.start)
    config = configuration(options)
    finished = train(slot, options, config, probe(slot, options, config))
    if finished and "kept" in slot.facts:
        score(slot, options, rows, "after", options.work / "kept")
    slot.note(seconds=round(slot.seconds, 1))
    slot.say("done")


if __name__ == "__main__":
    main()
