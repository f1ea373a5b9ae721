"""How much of a class label is left open once the columns are known: in real tables, and in the tasks of a prior.

    python benchmarks/difficulty.py --tables FOLDER [--config configs/base-companions.yaml] [--weights FOLDER]

One network answers both, alone and as one member; its log loss on the query rows, divided by the entropy of their
labels, is the share left open. A prior whose tasks leave more open than tables do teaches hesitation: the softmax
temperature under which the tables score best is then below 1. The prior was changed with the quantiles of all tables in
sight; temperatures are told by half, by the checksum of the name. Writes benchmarks/difficulty.md.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import jsonargparse
import numpy as np
import pandas as pd
import torch
import yaml

from benchmarks.machine import describe
from benchmarks.tables import ours, read_index, score_cell
from icl.network.model import TabularTransformer
from icl.releases.folder import load_release
from priors import MixturePrior, Prior, TaskShape

SHAPES = [TaskShape(8, 700, 512, 16), TaskShape(8, 200, 150, 8)]
TEMPERATURES = np.round(np.arange(0.6, 1.3, 0.05), 2)
QUANTILES = [0.1, 0.25, 0.5, 0.75, 0.9]


def share_left_open(log_probs_MC: np.ndarray, y_M: np.ndarray) -> float:
    """Mean log loss over the entropy of the labels."""
    share_C = np.bincount(y_M) / len(y_M)
    entropy = -(share_C[share_C > 0] * np.log(share_C[share_C > 0])).sum()
    return float(-log_probs_MC[np.arange(len(y_M)), y_M].mean() / entropy) if entropy else float("nan")


def of_tables(folder: Path, weights: str) -> Iterator[dict]:
    """A row for each table with classes: share left open, and the log loss at each temperature."""
    index = read_index(folder)
    factory = ours(weights, 1, companions=())
    for record in index[(index.task == "clf") & (index.p <= 60)].to_dict("records"):
        row, estimator, y = score_cell(folder, record, factory, "raw", 0)
        if row["error"]:
            print(record["name"], row["error"], flush=True)
            continue
        proba = np.zeros((len(y), row["k"]))
        proba[:, np.asarray(estimator.classes_).astype(int)] = estimator.proba
        log_probs = np.log(np.maximum(proba, 1e-9))
        found = {"half": zlib.crc32(record["name"].encode()) % 2, "classes": row["k"]}
        for temperature in TEMPERATURES:
            cooled = log_probs / temperature
            cooled = cooled - np.log(np.exp(cooled).sum(1, keepdims=True))
            found[temperature] = float(-cooled[np.arange(len(y)), y].mean())
        yield found | {"share": share_left_open(log_probs, y)}


def of_prior(model: TabularTransformer, prior: Prior, n_batches: int) -> Iterator[dict]:
    """A row for each task."""
    for step in range(n_batches):
        batch = prior.sample(SHAPES[step % len(SHAPES)], torch.Generator().manual_seed(step))
        assert batch.n_classes is not None
        with torch.no_grad():
            scores = model(batch.X, batch.y_context, batch.is_categorical, batch.n_classes).log_softmax(-1)
        for k, log_probs, y in zip(batch.n_classes.tolist(), scores.numpy(), batch.y_query.numpy(), strict=True):
            yield {"classes": k, "share": share_left_open(log_probs, y)}


def prior_of(config: Path) -> Prior:
    """The first prior of a training configuration whose tasks have classes."""
    parser = jsonargparse.ArgumentParser()
    parser.add_argument("--prior", type=Prior)
    for asked in yaml.safe_load(config.read_text()).get("data", {}).get("priors", []):
        prior = parser.instantiate(parser.parse_object({"prior": asked})).prior
        if prior.sample(TaskShape(1, 32, 24, 2), torch.Generator().manual_seed(0)).n_classes is not None:
            return prior
    raise SystemExit(f"{config} names no prior whose tasks have classes under data.priors; pass another --config.")


def line(label: str, rows: pd.DataFrame) -> str:
    low = " | ".join(f"{q:.2f}" for q in rows.share.quantile(QUANTILES))
    return f"| {label} | {len(rows)} | {low} | {rows.share.mean():.3f} |"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, required=True, help="folder of the benchmark tables")
    parser.add_argument("--config", type=Path, default=Path("configs/base-companions.yaml"))
    parser.add_argument("--weights", default="base", help="name of a release, or its folder")
    parser.add_argument("--batches", type=int, default=60, help="of eight tasks, from each prior")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/difficulty.md"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = load_release(options.weights, torch.device("cpu")).eval()
    tables = pd.DataFrame(of_tables(options.tables, options.weights))
    sources = {"real tables": tables}
    for label, prior in {"default mixture": MixturePrior(), options.config.stem: prior_of(options.config)}.items():
        sources[label] = pd.DataFrame(of_prior(model, prior, options.batches)).dropna()
    lines = ["# How hard tasks are", "", f"{describe('torch')}; weights {Path(options.weights).name}."]
    lines += [
        f"Reproduce: `python benchmarks/difficulty.py --tables FOLDER --config {options.config} "
        f"--weights {options.weights} --batches {options.batches}`.",
        "",
    ]
    lines += [
        "Share of the entropy of the labels that the network, alone and as one member, leaves open: quantiles.",
        "",
    ]
    for title, two in (("Two classes", True), ("Three to ten classes", False)):
        lines += [f"## {title}", "", f"| tasks | number | {' | '.join(f'{q:.0%}' for q in QUANTILES)} | mean |"]
        lines += ["|---|" + "---|" * (len(QUANTILES) + 2)]
        lines += [line(label, rows[(rows.classes == 2) == two]) for label, rows in sources.items()] + [""]
    lines += ["## Temperature", "", "Mean log loss of the real tables by softmax temperature.", ""]
    lines += [f"| tables | {' | '.join(map(str, TEMPERATURES))} |", "|---|" + "---|" * len(TEMPERATURES)]
    for title, two in (("two classes", True), ("three to ten classes", False)):
        for half in (0, 1):
            mean = tables[((tables.classes == 2) == two) & (tables.half == half)][list(TEMPERATURES)].mean()
            lines.append(f"| {title}, half {half + 1} | {' | '.join(f'{m:.4f}' for m in mean)} |")
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
