"""The two files of a study, and what may be run again without adding anything twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.ablation.ingredients import FULL
from benchmarks.tables import ResultFile

RUNS, SCORES = "runs.csv", "scores.csv"

Measure = Callable[[str, int], tuple[dict[str, Any], pd.DataFrame]]
"""Variant and seed -> facts of the run, and a row for each table."""


def run_all(folder: Path, settings: dict[str, Any], variants: Iterable[str], seeds: Iterable[int], measure: Measure):
    """Measure what is not in `folder` yet, all seeds of a variant before the next variant.

    A run has its rows in both files or is made again: the scores are written first, each file whole or not at all.

    Raises:
        ValueError: if the folder holds runs of other settings.
    """
    seeds = list(seeds)
    runs, scores = open_results(folder)
    for row in runs.rows.values():
        if other := [name for name in settings if row[name] != settings[name]]:
            raise ValueError(
                f"{runs.path} holds runs with {other[0]}={row[other[0]]!r}, asked for is {settings[other[0]]!r}; name "
                f"another folder with --out."
            )
    for variant in variants:
        for seed in seeds:
            if (variant, seed) in runs:
                continue
            facts, tables = measure(variant, seed)
            for row in tables.to_dict("records"):
                scores.add({"variant": variant, "seed": seed} | row)
            scores.save()
            runs.add({"variant": variant, "seed": seed} | settings | facts)
            runs.save()


def open_results(folder: Path) -> tuple[ResultFile, ResultFile]:
    return ResultFile(folder / RUNS, ["variant", "seed"]), ResultFile(folder / SCORES, ["variant", "seed", "dataset"])


def complete(folder: Path, seeds: Iterable[int] | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs and scores of the variants that have all of `seeds`; default: the seeds of the full mixture."""
    runs, scores = (file.frame() for file in open_results(folder))
    wanted = set(runs.seed[runs.variant == FULL] if seeds is None else seeds)
    runs = runs[runs.seed.isin(wanted)]
    runs = runs[runs.groupby("variant").seed.transform("nunique") == len(wanted)]
    if FULL not in set(runs.variant):
        raise ValueError(f"{folder} has no runs of {FULL!r} with seeds {sorted(wanted)}, to which others are compared.")
    return runs, scores.merge(runs[["variant", "seed"]])
