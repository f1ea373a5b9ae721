"""Loss curves of bf16 and float32 together: the same run of train.py twice, on the same tasks, from the same weights.

    python benchmarks/precision.py --steps 300 --out benchmarks/precision

Base's network from nothing on base's shapes for two cores, a process of one thread for each precision, side by side.
Writes OUT.csv (losses by step), OUT.md and OUT.png. Tasks of a step are the same in both, so that differences are
paired.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pandas as pd

from benchmarks.machine import describe

ROOT = Path(__file__).parents[1]
RUNS = {"float32": "32-true", "bf16": "bf16-mixed"}
KINDS = {"classification_loss": "classes", "regression_loss": "numbers"}
WINDOWS = 6


def started(precision: str, n_steps: int, seed: int, folder: Path) -> subprocess.Popen:
    """A run of `n_steps` whose log ends up under `folder`."""
    arguments = [
        *("fit", "--config", "configs/base.yaml", "--config", "configs/two-cores.yaml", "--model.init_from", "null"),
        *(f"--seed_everything={seed}", f"--model.init_seed={seed}", f"--data.seed={seed}", "--trainer.devices=1"),
        *("--trainer.strategy=auto", "--trainer.plugins=null", f"--trainer.precision={RUNS[precision]}"),
        *(f"--trainer.max_steps={n_steps}", "--trainer.limit_val_batches=0", "--trainer.log_every_n_steps=1"),
        *("--trainer.enable_progress_bar=false", "--trainer.callbacks=[]", "--model.optim.warmup_steps=50"),
        "--trainer.logger={class_path: lightning.pytorch.loggers.CSVLogger, "
        f"init_args: {{save_dir: {folder.as_posix()}, name: log}}}}",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / "output.txt").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "train.py", *arguments], cwd=ROOT, env=environment, stdout=output, stderr=output
        )


def losses(folder: Path, precision: str) -> pd.DataFrame:
    """Losses by kind of target, and seconds, at every step."""
    log = pd.read_csv(next(folder.glob("log/version_*/metrics.csv")))
    log = log.rename(columns={f"train/{name}": kind for name, kind in KINDS.items()})
    return log[["step", "wall_seconds", *KINDS.values()]].groupby("step").first().assign(precision=precision)


def windows(log: pd.DataFrame) -> list[str]:
    """Means of successive parts of the runs, and what bf16 adds, paired by step, with its standard error."""
    n_steps = int(log.index.max()) + 1
    lines = ["| steps | " + " | ".join(f"{k}: float32 | bf16 | difference" for k in KINDS.values()) + " |"]
    lines.append("|---|" + "---|" * 3 * len(KINDS))
    both = {precision: log[log.precision == precision] for precision in RUNS}
    for k in range(WINDOWS):
        first, last = k * n_steps // WINDOWS, (k + 1) * n_steps // WINDOWS - 1
        cells = [f"{first + 1} - {last + 1}"]
        for kind in KINDS.values():
            full, half = (both[p][kind].loc[first:last].dropna() for p in RUNS)
            gap = (half - full).dropna()
            cells += [f"{full.mean():.4f}", f"{half.mean():.4f}"]
            cells.append(f"{gap.mean():+.4f} ({gap.std() / math.sqrt(len(gap)):.4f})")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def draw(log: pd.DataFrame, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    for axis, kind in zip(figure.subplots(1, 2), KINDS.values(), strict=True):
        for precision, style in (("float32", {"color": "0.6", "lw": 4}), ("bf16", {"color": "C0", "lw": 1.4})):
            own = log[log.precision == precision][kind].rolling(20, min_periods=10).mean()
            axis.plot(own.index + 1, own, label=precision, **style)
        axis.set(xlabel="step", ylabel="loss (nats), mean of 20 steps", title=kind)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="path of what is written, without its ending")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        folders = {precision: Path(folder) / precision for precision in RUNS}
        for own in folders.values():
            own.mkdir()
        runs = {precision: started(precision, options.steps, options.seed, own) for precision, own in folders.items()}
        for precision, run in runs.items():
            if run.wait():
                sys.exit(f"the run in {precision} failed:\n{(folders[precision] / 'output.txt').read_text()[-3000:]}")
        log = pd.concat([losses(own, precision) for precision, own in folders.items()])
    pace = {p: log[log.precision == p].wall_seconds.max() / options.steps for p in RUNS}
    lines = [
        "# Loss curves of bf16 and float32 together",
        "",
        f"{describe('torch')}. Base's network from nothing, {options.steps} steps of base's shapes for two cores, seed "
        f"{options.seed}, the same tasks and first weights; one thread each, side by side "
        f"({pace['float32']:.2f} s a step in float32, {pace['bf16']:.2f} in bf16). Losses in nats a query, differences "
        f"paired by step with their standard errors ([{options.out.name}.csv]({options.out.name}.csv)).",
        "",
        *windows(log),
        "",
        f"![losses by step]({options.out.name}.png)",
        "",
    ]
    log.round(5).to_csv(options.out.with_suffix(".csv"))
    options.out.with_suffix(".md").write_text("\n".join(lines), encoding="utf-8")
    draw(log, options.out.with_suffix(".png"))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
