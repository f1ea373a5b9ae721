"""Head to head with TabPFN v2: the same context rows, the same query rows, the peer's own answers.

    python benchmarks/peer.py --peer tabpfn_v2_outputs.npz [--checkpoint nano] [--out checkpoints/nano]

The file holds, for each task NAME ("clf_..." or "reg_..."), NAME_Xtrain, NAME_ytrain, NAME_Xtest, NAME_ytest and
NAME_tabpfn2: the peer's class probabilities (m, C), classes in sorted order, or its predicted numbers (m,), from one
estimator. Ours answers with one member and with four. Writes OUT/results-peer.md.

Source of the peer:
    Hollmann et al. (2025), Accurate predictions on small data with a tabular foundation model.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pandas as pd

from benchmarks.compare import markdown
from benchmarks.machine import describe
from benchmarks.options import complete, shared_parser

MEMBERS = (1, 4)
PARTS = ("Xtrain", "ytrain", "Xtest", "ytest", "tabpfn2")
_FLOOR = 1e-7  # of a probability in a log loss, as in the benchmark protocol


def read_tasks(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Arrays of each task by the names of PARTS.

    Raises:
        SystemExit: if the file is no such archive, or a task lacks a part.
    """
    if not path.is_file():
        sys.exit(f"there is no file {path}; pass --peer with the archive of the peer's outputs.")
    with np.load(path, allow_pickle=False) as archive:
        names = sorted({name.rsplit("_", 1)[0] for name in archive.files})
        absent = [f"{name}_{part}" for name in names for part in PARTS if f"{name}_{part}" not in archive.files]
        if absent or not names:
            sys.exit(f"{path} lacks {', '.join(absent) or 'everything'}; expected NAME_{{{','.join(PARTS)}}}.")
        return {name: {part: archive[f"{name}_{part}"] for part in PARTS} for name in names}


def row_losses(y: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """(m,) log loss of class probabilities (m, C), or squared error of numbers (m,)."""
    if answer.ndim == 1:
        return (y - answer) ** 2
    proba = np.clip(answer, _FLOOR, 1)
    return -np.log(proba[np.arange(len(y)), y] / proba.sum(1))


def scores(y: np.ndarray, answer: np.ndarray, context_std: float) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    loss = row_losses(y, answer).mean()
    if answer.ndim == 1:
        return {"R2": 1 - loss / y.var(), "RMSE": np.sqrt(loss) / context_std}
    # Rows that add up to 1 in float32 do not in float64.
    proba = answer / answer.sum(1, keepdims=True)
    auc = roc_auc_score(y, proba[:, 1] if proba.shape[1] == 2 else proba, multi_class="ovo", average="macro")
    return {"log loss": loss, "accuracy": (answer.argmax(1) == y).mean(), "AUC": auc}


def our_answer(task: dict[str, np.ndarray], is_class: bool, checkpoint: str, n_estimators: int) -> np.ndarray:
    from icl import ICLClassifier, ICLRegressor

    model = (ICLClassifier if is_class else ICLRegressor)(checkpoint=checkpoint, n_estimators=n_estimators)
    model.fit(task["Xtrain"], task["ytrain"])
    return model.predict_proba(task["Xtest"]) if is_class else model.predict(task["Xtest"])


def compare_tasks(tasks: dict[str, dict[str, np.ndarray]], checkpoint: str, is_class: bool) -> tuple[pd.DataFrame, str]:
    """A row for each task, with the mean last, and a sentence on the paired difference over all query rows."""
    rows, gains = [], {n: [] for n in MEMBERS}
    for name, task in tasks.items():
        if name.startswith("clf") != is_class:
            continue
        task = task | {"ytrain": task["ytrain"].astype(int if is_class else float)}
        y = task["ytest"].astype(int if is_class else float)
        spread = 1.0 if is_class else float(task["ytrain"].std())
        answers = {"TabPFN v2": task["tabpfn2"].astype(float)}
        for n in MEMBERS:
            answers[f"ours x{n}"] = our_answer(task, is_class, checkpoint, n)
            gain = row_losses(y, answers["TabPFN v2"]) - row_losses(y, answers[f"ours x{n}"])
            gains[n].append(gain / spread**2)
        found = {who: scores(y, answer, spread) for who, answer in answers.items()}
        shape = f"{len(task['Xtrain'])} x {task['Xtrain'].shape[1]}"
        row = {"task": name.split("_", 1)[1].replace("_", " "), "context": shape, "query": len(y)}
        rows.append(row | {f"{metric}, {who}": found[who][metric] for metric in found["TabPFN v2"] for who in found})
    table = pd.DataFrame(rows)
    mean = {"task": "**mean**", "context": "", "query": ""} | table.iloc[:, 3:].mean().to_dict()
    what = "log loss (nats)" if is_class else "squared error (in context variances)"
    parts = []
    for n in MEMBERS:
        # Tasks weigh the same, as in the mean; rows are independent given the task's context.
        gain = np.mean([g.mean() for g in gains[n]])
        error = np.sqrt(np.sum([g.var(ddof=1) / len(g) for g in gains[n]])) / len(gains[n])
        parts.append(f"{n} member{'s' * (n > 1)} {gain:+.4f} ± {error:.4f}")
    sentence = (
        f"Mean gain over TabPFN v2 in {what}, positive where ours is better, ± one standard error over query rows:"
    )
    return pd.concat([table, pd.DataFrame([mean])]), f"{sentence} {'; '.join(parts)}."


def report(tasks: dict[str, dict[str, np.ndarray]], checkpoint: str) -> str:
    name = Path(checkpoint).name
    lines = [
        f"# {name} beside TabPFN v2",
        "",
        "The peer's stored answers (one estimator) and ours (one member, four members) from the same context rows. "
        "RMSE in standard deviations of the context target; AUC averages pairs of classes. 24 or 48 query rows a task: "
        "look at the standard errors before the means.",
        "",
        describe("torch", "scikit-learn"),
        "",
    ]
    for is_class, title in ((True, "Classification"), (False, "Regression")):
        if any(task.startswith("clf") == is_class for task in tasks):
            table, sentence = compare_tasks(tasks, checkpoint, is_class)
            lines += [f"## {title}", "", markdown(table), "", sentence, ""]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    options = complete(shared_parser(__doc__, "peer", "checkpoint", "out").parse_args(arguments))
    if options.peer is None:
        sys.exit("--peer FILE is needed: the archive of TabPFN v2's outputs.")
    out = options.out
    text = report(read_tasks(options.peer), options.checkpoint)
    out.mkdir(parents=True, exist_ok=True)
    (out / "results-peer.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
