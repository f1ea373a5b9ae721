"""The domains of benchmarks/finetune.py, which says what each is: tables that train and tables that test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

DEFECTS = ("pc1", "pc3", "pc4", "kc1", "kc2", "jm1")
FOLDS = (("pc1", "kc2"), ("pc3", "kc1"), ("pc4", "jm1"))
CONDITIONS = ("allbp", "allhyper", "allrep", "dis", "hypothyroid", "sick")
MAIN = {"census": "r2", "marriage": "auc", "defects": "auc", "thyroid": "auc"}
SPLITS = {"census": 2, "marriage": 2, "defects": 5, "thyroid": 5}
"""Splits of each test table into context and query rows; few tables need more."""
SIZES = {"census": (50, 200), "marriage": (50, 200), "defects": (100, 400), "thyroid": (100, 400)}
"""Context rows that the test tables are scored with."""
N_RUNS = {"census": 1, "marriage": 1, "defects": len(FOLDS), "thyroid": len(CONDITIONS) // 2}
N_GROUPS, GROUP_ROWS, MOST_ROWS = 48, 600, 2_000


def census_tables(file: Path) -> dict[str, pd.DataFrame]:
    """One table for each of the largest ancestry groups: 600 adults with an income."""
    people = pd.read_parquet(file).drop(columns="INTERCEPT")
    people = people[(people.AGEP >= 18) & (people.PINCP > 0)].rename(columns={"PINCP": "target"})
    groups = people.ANC1P.value_counts().index[:N_GROUPS]
    rng = np.random.default_rng(0)
    tables = {}
    for group in groups:
        rows = people[group == people.ANC1P].drop(columns="ANC1P")
        tables[f"ancestry_{group}"] = rows.iloc[rng.permutation(len(rows))[:GROUP_ROWS]].reset_index(drop=True)
    return tables


def married(table: pd.DataFrame) -> pd.DataFrame:
    """The same people; the target is whether they are married (code 0 of MAR)."""
    people = table.rename(columns={"target": "PINCP"}).drop(columns="MAR")
    return people.assign(target=np.where(table.MAR == 0, "married", "not"))


def defect_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables without the rows that stand twice in one or in two of them, at most 2,000 rows each."""
    whole = {name: pd.read_parquet(folder / "clf" / f"{name}.parquet").drop_duplicates() for name in DEFECTS}
    # Names of columns differ, their order does not; the tables have 21 or 37 of them.
    cells = {name: [tuple(row) for row in table.drop(columns="target").to_numpy()] for name, table in whole.items()}
    rng = np.random.default_rng(0)
    tables = {}
    for name, table in whole.items():
        elsewhere = {row for other in DEFECTS if other != name for row in cells[other]}
        table = table[[row not in elsewhere for row in cells[name]]]
        tables[name] = table.iloc[rng.permutation(len(table))[:MOST_ROWS]].reset_index(drop=True)
    return tables


def thyroid_tables(folder: Path) -> tuple[dict[str, pd.DataFrame], dict[str, pd.DataFrame]]:
    """Six questions about one half of the patients, and the same six about the other half.

    Four of the tables hold codes: the position of each value among the sorted texts of its column. Coding the
    measurements alike finds every patient again.
    """
    whole = {name: pd.read_parquet(folder / "clf" / f"{name}.parquet") for name in CONDITIONS}
    patients = whole["sick"].drop(columns="target")
    code = {}
    for column in patients:
        texts = sorted({text_of(value) for value in patients[column]})
        code[column] = {text: float(k) for k, text in enumerate(texts)}

    def keys(table: pd.DataFrame, coded: bool) -> list[tuple]:
        parts = [table[c] if coded else [code[c][text_of(value)] for value in table[c]] for c in patients]
        return list(zip(*parts, strict=True))

    key = pd.Series(keys(patients, False))
    first = (~key.duplicated()).to_numpy()
    patients, key = patients[first].reset_index(drop=True), key[first].reset_index(drop=True)
    order = np.random.default_rng(0).permutation(len(patients))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    found: tuple[dict, dict] = {}, {}
    for name, table in whole.items():
        coded = name not in ("hypothyroid", "sick")
        label = pd.Series(table.target.to_numpy(), keys(table, coded))
        label = key.map(label[~label.index.duplicated()].astype(str))
        condition = np.where(label == label.mode()[0], "none", "condition")
        for part, half in zip(found, halves, strict=True):
            rows = half[label[half].notna()]
            part[name] = patients.iloc[rows].assign(target=condition[rows]).reset_index(drop=True)
    return found


def text_of(value) -> str:
    return value if isinstance(value, str) else "?" if pd.isna(value) else f"{value:g}"


def runs(census_file: Path, folder: Path) -> list[dict]:
    """Every fine-tuning run: its name, its domain, the tables that train and those that test."""
    census = census_tables(census_file)
    wed = {name: married(table) for name, table in census.items()}
    defects = defect_tables(folder)
    known, fresh = thyroid_tables(folder)
    found = [("census", census, census, list(census)[1::2]), ("marriage", wed, wed, list(census)[1::2])]
    found += [(f"defects-{k}", defects, defects, fold) for k, fold in enumerate(FOLDS)]
    found += [(f"thyroid-{k}", known, fresh, CONDITIONS[2 * k : 2 * k + 2]) for k in range(N_RUNS["thyroid"])]
    return [
        {
            "run": name,
            "domain": name.split("-")[0],
            "train": {n: t for n, t in training.items() if n not in left_out},
            "test": {n: testing[n] for n in left_out},
        }
        for name, training, testing, left_out in found
    ]
