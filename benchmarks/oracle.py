"""How close a model trained on the `linear` prior alone comes to the exact posterior predictive.

    python benchmarks/oracle.py [--max_steps 4000]

Trains `configs/oracle.yaml` and measures, on the way, the gap in nats per query between the model's log density and
the exact one (mean over the same 2,000 held-out tasks) at 20 and 100 context rows. Writes benchmarks/oracle.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parents[1]))

import lightning as L
import torch

from benchmarks.machine import describe
from icl.model import TabularTransformer
from priors import LinearPrior, TaskShape
from priors.stream import seeded_generator
from train import main as train

N_CONTEXT = (20, 100)
N_TASKS, N_QUERY, N_FEATURES = 2_000, 20, 3


@torch.no_grad()
def gap_to_posterior(model: TabularTransformer, prior: LinearPrior, n_context: int) -> tuple[float, float]:
    """Mean of log p_exact - log p_model over held-out queries, and its standard error over tasks, in nats."""
    batch = prior.sample(
        TaskShape(N_TASKS, n_context + N_QUERY, n_context, N_FEATURES), seeded_generator(12345, n_context)
    )
    exact = prior.posterior_predictive(batch).log_prob(batch.y_query.double())
    parts = []
    for rows in torch.arange(N_TASKS).split(100):
        dist = model.predict_distribution(batch.X[rows], batch.y_context[rows], batch.is_categorical[rows])
        parts.append(dist.log_prob(batch.y_query[rows]))
    gap_B = (exact - torch.cat(parts)).mean(1)
    return float(gap_B.mean()), float(gap_B.std() / N_TASKS**0.5)


class MeasureGap(L.Callback):
    """The gap at each validation, when the averaged weights are in place."""

    def __init__(self, prior: LinearPrior):
        self.prior, self.rows = prior, []

    def on_validation_epoch_end(self, trainer, pl_module):
        gaps = [gap_to_posterior(pl_module.model, self.prior, n) for n in N_CONTEXT]
        self.rows.append((trainer.global_step, pl_module.tasks_seen, gaps))
        text = "; ".join(f"{n} rows {g:.4f} +- {s:.4f}" for n, (g, s) in zip(N_CONTEXT, gaps, strict=True))
        print(f"step {trainer.global_step}: gap {text} nats", flush=True)


def report(rows: list, prior: LinearPrior) -> str:
    header = " | ".join(f"gap at {n} context rows (nats/query)" for n in N_CONTEXT)
    lines = [
        "# Distance to the exact posterior predictive",
        "",
        f"`configs/oracle.yaml`: a small model trained on `{prior}` alone; mean over {N_TASKS:,} held-out tasks of "
        f"{N_FEATURES} features, {N_QUERY} queries each, the same at every row; +- one standard error over tasks.",
        "",
        describe("torch", "lightning"),
        "",
        f"| steps | tasks seen | {header} |",
        "|---|---|" + "---|" * len(N_CONTEXT),
    ]
    for step, tasks, gaps in rows:
        cells = " | ".join(f"{g:.4f} +- {s:.4f}" for g, s in gaps)
        lines.append(f"| {step:,} | {tasks:,} | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max_steps", type=int, default=4_000)
    options = parser.parse_args()
    prior = LinearPrior(coefficient_std=1.0)  # as in configs/oracle.yaml
    measure = MeasureGap(prior)
    train(
        ["fit", "--config", "configs/oracle.yaml", f"--trainer.max_steps={options.max_steps}",
         "--trainer.enable_progress_bar=false"],
        callbacks=[measure],
    )  # fmt: skip
    text = report(measure.rows, prior)
    Path(__file__).with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
