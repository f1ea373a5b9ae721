"""The report of benchmarks/finetune.py: gains on test tables, verdicts, and what they cost elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.compare import bootstrap_mean, markdown
from benchmarks.finetune_domains import CONDITIONS, DEFECTS, GROUP_ROWS, MAIN, N_GROUPS, N_RUNS, SIZES
from benchmarks.machine import describe
from benchmarks.tables import weights_of
from icl.releases.names import PROVENANCE

ARMS = ("base", "prior only", "fine-tuned")


def gains(scores: pd.DataFrame, metric: str, other: str, n: int) -> np.ndarray:
    """(tables,) gain of the fine-tuned arm over `other` with n context rows, seeds averaged; positive is better."""
    values = scores[scores.n == n].pivot_table(index="table", columns="arm", values=metric)
    return ((values["fine-tuned"] - values[other]) * (-1 if metric in ("log_loss", "nll") else 1)).to_numpy()


def gain_text(gain: np.ndarray, scale: float = 1.0) -> str:
    mean, low, high = bootstrap_mean(gain * scale)
    return f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]" + ("" if low <= 0 <= high else " *")


def domain_table(domain: str, scores: pd.DataFrame) -> str:
    """A line for each number of context rows and metric: means of the arms, gains with their intervals."""
    rows = []
    for n in SIZES[domain]:
        for metric in (MAIN[domain], "nll" if MAIN[domain] == "r2" else "log_loss"):
            part = scores[scores.n == n]
            row = {"context rows": n, "metric": metric, "tables": part.table.nunique()}
            row |= {arm: f"{part[part.arm == arm].groupby('table')[metric].mean().mean():.4f}" for arm in ARMS}
            row["gain over base"] = gain_text(gains(scores, metric, "base", n))
            row["over prior only"] = gain_text(gains(scores, metric, "prior only", n))
            rows.append(row)
    return markdown(pd.DataFrame(rows))


def verdicts(folder: Path) -> str:
    """A line for each domain and number of context rows: is the main metric up over both others, and what it cost."""
    base = pd.read_csv(folder / "general-base.csv").set_index("dataset").auc
    rows = []
    for domain, names in scored(folder).items():
        scores = pd.concat([pd.read_csv(folder / f"{name}.csv") for name in names])
        general = [pd.read_csv(folder / f"general-{name}.csv").set_index("dataset").auc - base for name in names]
        for n in SIZES[domain]:
            over = [gains(scores, MAIN[domain], other, n) for other in ("base", "prior only")]
            shown = all(bootstrap_mean(gain)[1] > 0 for gain in over)
            row = {"domain": domain, "context rows": n, "metric": MAIN[domain]}
            row |= {"gain over base": gain_text(over[0]), "over prior only": gain_text(over[1])}
            row["shown"] = ("yes" if shown else "no") if len(names) == N_RUNS[domain] else (
                f"{len(names)} of {N_RUNS[domain]} folds are scored"
            )  # fmt: skip
            row["general AUC, points"] = f"{100 * pd.concat(general).mean():+.2f}"
            rows.append(row)
    return markdown(pd.DataFrame(rows))


def cost_table(folder: Path, names: list[str]) -> str:
    """A line for each run: what was chosen, what it did to other tables, how long it took."""
    base = pd.read_csv(folder / "general-base.csv").set_index("dataset").auc
    rows = []
    for name in names:
        facts = json.loads((folder / name / PROVENANCE).read_text())
        found = facts["finetuning"]
        change = (pd.read_csv(folder / f"general-{name}.csv").set_index("dataset").auc - base).dropna().to_numpy()
        rows.append(
            {
                "run": name,
                "training tables": len(found["tables"]),
                "rate": f"{found['lr']:g}",
                "best step": f"{found['best_step']} of {found['steps_run']}",
                "held-out loss": f"{found['held_out_loss']['before']:.4f} to {found['held_out_loss']['after']:.4f}",
                "prior loss": f"{found['prior_loss']['after'] - found['prior_loss']['before']:+.4f}",
                "general AUC, points": gain_text(change, 100),
                "minutes": f"{facts['wall_seconds'] / 60:.1f}",
            }
        )
    return markdown(pd.DataFrame(rows))


def scored(folder: Path) -> dict[str, list[str]]:
    """Domain -> its runs of which FOLDER holds all scores."""
    found: dict[str, list[str]] = {}
    for domain in MAIN:
        names = sorted(file.stem for file in folder.glob(f"{domain}*.csv"))
        if names := [n for n in names if (folder / f"general-{n}.csv").is_file()]:
            found[domain] = names
    return found


def sections(folder: Path, level: str, conditions: str) -> list[str]:
    """All that FOLDER holds."""
    lines = []
    for domain, names in scored(folder).items():
        scores = pd.concat([pd.read_csv(folder / f"{name}.csv") for name in names])
        config = json.loads((folder / names[0] / PROVENANCE).read_text())["finetuning"]["config"]
        said = (
            f"Splits of a test table: {scores.seed.nunique()}. At most {config['steps']} steps, tasks of at most "
            f"{config['max_rows']} rows, replay {config['replay']:g}, L2-SP {config['l2_sp']:g}."
        )
        lines += [f"{level} {domain}: test tables", "", said, "", domain_table(domain, scores), ""]
    names = [name for names in scored(folder).values() for name in names]
    base = pd.read_csv(folder / "general-base.csv")
    text = f"General AUC: {len(base)} tables, change in points (hundredths of AUC); base {base.auc.mean():.4f}. "
    return lines + [f"{level} What it cost", "", f"{text}{conditions}", "", cost_table(folder, names), ""]


def report(options) -> str:
    domains = scored(options.out)
    wide = pd.read_csv(options.out / "general-base.csv").dataset
    lines = [
        f"# Fine-tuning on {len(domains)} domains",
        "",
        f"census: adults of California with an income (2019); a table is {GROUP_ROWS} people of an ancestry group, the "
        f"target is the income; of the {N_GROUPS} largest groups every other one trains, the others test. marriage: "
        f"the same people, the target is whether they are married. defects: software-defect tables of NASA "
        f"({', '.join(DEFECTS)}), two left out at a time. thyroid: six questions about the patients of one clinic "
        f"({', '.join(CONDITIONS)}: has the patient the condition?), two left out at a time; the six tables hold the "
        f"very same patients, so half of the patients are in training tables only, the other half in test tables "
        f"only. No part of training, choice of rate or early stopping sees a test table. *Prior only* took as many "
        f"steps at the same rate on tasks of the synthetic prior alone. Domains, folds, splits and metrics were fixed "
        f"before the scores were seen, but for census and the earlier run below (docstring of the script); every "
        f"domain that was scored is listed.",
        "",
        f"Base: {options.checkpoint} (weights {weights_of(options.checkpoint)}). Full fine-tuning; rate and step "
        f"chosen on tables held out from the training tables. Scores: means over the splits of a table, then over "
        f"tables; 4 members; as many query rows as are left, at most 1,000. Intervals: 95 %, paired bootstrap over "
        f"tables (with six tables somewhat too narrow); * excludes 0.",
        "",
        describe("torch", "lightning", "scikit-learn"),
        "",
        "## Is a gain shown?",
        "",
        "Yes where the intervals of the main metric's gain over the base and over the prior-only steps lie above zero.",
        "",
        verdicts(options.out),
        "",
        *sections(options.out, "##", f"Minutes: {options.conditions}."),
    ]
    for folder in options.earlier:
        said = (
            "Where one table was held out, rate and step rested on four of its tasks, not on twenty, and rows that "
            "stand in two defect tables were not dropped."
        )
        lines += ["## An earlier run, as it was", "", said, ""]
        lines += sections(folder, "###", f"Minutes: {options.conditions}.")
    lines += ["Tables of the general benchmark: " + ", ".join(wide) + ".", ""]
    return "\n".join(lines)
