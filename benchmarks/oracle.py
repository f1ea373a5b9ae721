"""How close a model comes to the exact posterior predictive, in nats per query.

    python benchmarks/oracle.py [--max_steps 4000]
    python benchmarks/oracle.py --checkpoint nano [--out checkpoints/nano]

The first trains `configs/oracle.yaml`, a small model for the `linear` prior alone, and measures on the way the gap
between the model's log density and the exact one (mean over the same 2,000 held-out tasks) at 20 and 100 context
rows; it writes benchmarks/oracle.md. The second measures a release on every prior whose exact answer is known, by
context rows and columns, and writes OUT/results-oracle.md.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parents[1]))

import lightning as L
import pandas as pd
import torch
from torch import Tensor

from benchmarks.compare import markdown
from benchmarks.machine import describe
from benchmarks.options import complete, shared_parser
from icl.network.model import TabularTransformer
from icl.releases.folder import load_release
from priors import ChangepointPrior, GaussianProcessPrior, LinearPrior, Prior, TaskShape
from priors.stream import seeded_generator
from train import main as train

N_CONTEXT = (20, 100)
N_TASKS, N_QUERY, N_FEATURES = 2_000, 20, 3

ORACLES: dict[str, Prior] = {
    "linear": LinearPrior(),
    "gp": GaussianProcessPrior(),
    "changepoint, regression": ChangepointPrior(),
    "changepoint, classification": ChangepointPrior(task="classification"),
}
RELEASE_CONTEXT, RELEASE_FEATURES = (10, 30, 100, 300), (1, 4, 16)
RELEASE_TASKS = 128
_CELLS_AT_ONCE = 40_000


@torch.no_grad()
def gap_to_posterior(
    model: TabularTransformer, prior: Prior, n_context: int, n_features: int = N_FEATURES, n_tasks: int = N_TASKS
) -> tuple[float, float, float]:
    """Mean of log p_exact - log p_model over held-out queries, its standard error over tasks, and mean -log p_exact.

    In nats. The model answers as one member, from the columns as they are.
    """
    n_rows = n_context + N_QUERY
    batch = prior.sample(TaskShape(n_tasks, n_rows, n_context, n_features), seeded_generator(12345, n_context))
    is_class = batch.n_classes is not None
    exact_BM = prior.posterior_predictive(batch).log_prob(batch.y_query if is_class else batch.y_query.double())
    parts: list[Tensor] = []
    for rows in torch.arange(n_tasks).split(max(1, _CELLS_AT_ONCE // (n_rows * n_features))):
        n_classes = batch.n_classes[rows] if is_class else None
        dist = model.predict_distribution(batch.X[rows], batch.y_context[rows], batch.is_categorical[rows], n_classes)
        parts.append(dist.log_prob(batch.y_query[rows]))
    gap_B = (exact_BM - torch.cat(parts)).mean(1)
    return float(gap_B.mean()), float(gap_B.std() / n_tasks**0.5), -float(exact_BM.mean())


class MeasureGap(L.Callback):
    """The gap at each validation, when the averaged weights are in place."""

    def __init__(self, prior: LinearPrior):
        self.prior, self.rows = prior, []

    def on_validation_epoch_end(self, trainer, pl_module):
        gaps = [gap_to_posterior(pl_module.model, self.prior, n) for n in N_CONTEXT]
        self.rows.append((trainer.global_step, pl_module.tasks_seen, gaps))
        text = "; ".join(f"{n} rows {g:.4f} +- {s:.4f}" for n, (g, s, _) in zip(N_CONTEXT, gaps, strict=True))
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
        cells = " | ".join(f"{g:.4f} +- {s:.4f}" for g, s, _ in gaps)
        lines.append(f"| {step:,} | {tasks:,} | {cells} |")
    return "\n".join(lines) + "\n"


def report_release(model: TabularTransformer, name: str) -> str:
    lines = [
        f"# {name}: distance to the exact posterior predictive",
        "",
        f"Mean of log p(exact) - log p(model) over {RELEASE_TASKS} tasks of {N_QUERY} queries, in nats per query, ± "
        "one standard error over tasks; in brackets the loss of the exact answer itself. One member. The exact answer "
        "knows the prior and its parameters; the model, trained on many families at once, has to find out from the "
        "context which one it faces, so that no model of its kind could reach 0 with few rows.",
        "",
        describe("torch"),
        "",
    ]
    for prior_name, prior in ORACLES.items():
        rows = []
        for n_features in RELEASE_FEATURES:
            row = {"columns": n_features}
            for n_context in RELEASE_CONTEXT:
                gap, error, exact = gap_to_posterior(model, prior, n_context, n_features, RELEASE_TASKS)
                row[f"{n_context} rows"] = f"{gap:.3f} ± {error:.3f} ({exact:.3f})"
            rows.append(row)
            print(f"{prior_name}: {row}", flush=True)
        lines += [f"## {prior_name}", "", f"`{prior}`", "", markdown(pd.DataFrame(rows)), ""]
    return "\n".join(lines)


def train_and_measure(max_steps: int) -> str:
    prior = LinearPrior(coefficient_std=1.0)  # as in configs/oracle.yaml
    measure = MeasureGap(prior)
    train(
        ["fit", "--config", "configs/oracle.yaml", f"--trainer.max_steps={max_steps}",
         "--trainer.enable_progress_bar=false"],
        callbacks=[measure],
    )  # fmt: skip
    return report(measure.rows, prior)


def main(arguments: list[str] | None = None) -> None:
    parser = shared_parser(__doc__, "checkpoint", "out", checkpoint=None)
    parser.add_argument("--max_steps", type=int, default=4_000, help="of training, where no checkpoint is given")
    options = parser.parse_args(arguments)
    if options.checkpoint:
        out = complete(options).out
        out.mkdir(parents=True, exist_ok=True)
        text = report_release(load_release(options.checkpoint), Path(options.checkpoint).name)
        (out / "results-oracle.md").write_text(text, encoding="utf-8")
    else:
        text = train_and_measure(options.max_steps)
        Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
