"""How real a prior's tables look: a classifier tries to tell them from real tables by their meta-features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from priors.metafeatures import GROUPS, MEANING, meta_features
from priors.stream import seeded_generator
from priors.task import Prior, TaskShape

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MAX_ROWS, MAX_FEATURES, MAX_CLASSES = 400, 40, 10
N_TREES = 300
_N_SHUFFLES = 4


@dataclass(frozen=True)
class RealTable:
    """A subsample of a real table, coded as a prior's tasks are."""

    name: str
    family: str
    X: np.ndarray
    y: np.ndarray
    is_categorical: np.ndarray
    classify: bool


@dataclass(frozen=True)
class Realism:
    """What `compare` found.

    Attributes:
        rows: one per table: its meta-features, `real` (bool), `classify` (bool), `group` (tables that share rows).
        auc: of the classifier, by label: (estimate, standard error of a bootstrap over tables). Labels: all,
            classification, regression, and "GROUP alone" for a classifier that sees one group of meta-features.
        importance: one row per meta-feature, most telling first: `importance` (loss of AUC when permuted), `alone`
            (AUC of this number alone; above .5 means that the prior's are larger), and quartiles.
    """

    prior: str
    rows: pd.DataFrame
    auc: dict[str, tuple[float, float]]
    importance: pd.DataFrame


def read_tables(folder: str | Path, seed: int = 0) -> Iterator[RealTable]:
    """Real tables below `folder`, each cut to at most 400 random rows and 40 random features.

    `index.csv` has a line for each: name, task ("clf" or "reg") and optionally file, family (tables that share rows),
    tier (only tiers 1 and 2 are read) and n_classes (at most 10 are read).
    """
    import numpy as np
    import pandas as pd

    folder = Path(folder)
    if not (folder / "index.csv").is_file():
        raise FileNotFoundError(f"{folder} has no index.csv; it needs one line for each table: name, task, file.")
    index = pd.read_csv(folder / "index.csv")
    for k, line in enumerate(index.to_dict("records")):
        if line.get("tier", 1) > 2 or line.get("n_classes", 0) > MAX_CLASSES:
            continue
        rng, classify = np.random.default_rng((seed, k)), line["task"] == "clf"
        frame = pd.read_parquet(folder / line.get("file", f"{line['task']}/{line['name']}.parquet"))
        frame = frame[frame["target"].notna()]
        frame = frame.iloc[rng.permutation(len(frame))[:MAX_ROWS]]
        target = frame.pop("target")
        frame = frame.iloc[:, np.sort(rng.permutation(frame.shape[1])[:MAX_FEATURES])]
        flags = np.array([not pd.api.types.is_numeric_dtype(frame[c]) for c in frame])
        X = np.stack(
            [_codes(frame[c]) if f else frame[c].to_numpy(float, na_value=np.nan) for c, f in zip(frame, flags)], 1
        )
        y = pd.factorize(target)[0] if classify else target.to_numpy(float)
        yield RealTable(line["name"], str(line.get("family", line["name"])), X, y, flags, classify)


def compare(
    make: Callable[[Any], Prior],
    tables: str | Path,
    n: int = 300,
    seed: int = 0,
    label: str = "mixture",
    on_table: Callable[[int], None] = lambda done: None,
) -> Realism:
    """Meta-features of real tables and of `n` tasks in the same shapes and kinds, and what tells them apart.

    Args:
        make: a prior for "classification" or "regression"; tables of a kind that it does not make are left out.
        on_table: called with the number of tables done.
    """
    import numpy as np
    import pandas as pd

    priors = {classify: make("classification" if classify else "regression") for classify in (True, False)}
    rows: list[dict[str, Any]] = []
    shapes: list[tuple[TaskShape, bool]] = []
    for table in read_tables(tables, seed):
        shape = TaskShape(1, len(table.y), max(2, round(0.7 * len(table.y))), table.X.shape[1])
        if (priors[table.classify].sample(shape, seeded_generator(seed, 0)).n_classes is not None) != table.classify:
            continue
        rng = np.random.default_rng((seed, len(rows)))
        facts = meta_features(table.X, table.y, table.is_categorical, table.classify, rng)
        rows.append(facts | {"real": True, "classify": table.classify, "group": table.family})
        shapes.append((shape, table.classify))
        on_table(len(rows))
    if len({row["group"] for row in rows}) < 10:
        raise ValueError(f"a comparison needs at least 10 unrelated tables, got {len(rows)} tables below {tables}.")
    order = np.random.default_rng(seed).permutation(len(shapes))
    for k in range(n):
        shape, classify = shapes[order[k % len(shapes)]]
        batch = priors[classify].sample(shape, seeded_generator(seed, 1, k))
        X, y = batch.X[0].double().numpy(), batch.y[0].numpy()
        y = y if classify else y.astype(float)
        facts = meta_features(X, y, batch.is_categorical[0].numpy(), classify, np.random.default_rng((seed, 1, k)))
        rows.append(facts | {"real": False, "classify": classify, "group": f"prior {k}"})
        on_table(len(rows))
    frame = pd.DataFrame(rows)
    return Realism(label, frame, *tell_apart(frame, seed, N_TREES))


def tell_apart(
    rows: pd.DataFrame, seed: int = 0, n_trees: int = N_TREES
) -> tuple[dict[str, tuple[float, float]], pd.DataFrame]:
    """What `Realism` calls `auc` and `importance`."""
    import numpy as np
    import pandas as pd

    names = list(MEANING)
    made, kind = ~rows["real"].to_numpy(bool), rows["classify"].to_numpy(bool)
    score, lost = _scores(rows, names, seed, n_trees, importance=True)
    rng = np.random.default_rng(seed)
    auc: dict[str, tuple[float, float]] = {}

    def add(label: str, score: np.ndarray, part: np.ndarray) -> None:
        low, high = score[part & ~made], score[part & made]
        if len(low) and len(high):
            draws = [_auc(rng.choice(low, len(low)), rng.choice(high, len(high))) for _ in range(200)]
            auc[label] = (_auc(low, high), float(np.std(draws)))

    everything = np.full(len(made), True)
    for label, part in {"all": everything, "classification": kind, "regression": ~kind}.items():
        add(label, score, part)
    for label, group in GROUPS.items():
        add(f"{label} alone", _scores(rows, list(group), seed, n_trees)[0], everything)

    table = pd.DataFrame({"importance": lost}, index=names)
    for label, some in (("real", rows[~made]), ("prior", rows[made])):
        for level in (0.25, 0.5, 0.75):
            table[f"{label} {level}"] = some[names].quantile(level)
    table["alone"] = [_auc(*(rows.loc[part, c].dropna().to_numpy() for part in (~made, made))) for c in names]
    return auc, table.sort_values("importance", ascending=False)


def _scores(
    rows: pd.DataFrame, names: list[str], seed: int, n_trees: int, importance: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """Out-of-fold probability that a table is the prior's, and the AUC lost when a number is permuted.

    Folds never part a family of tables.
    """
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedGroupKFold

    X, y = rows[names].to_numpy(float), ~rows["real"].to_numpy(bool)
    score, lost, rng = np.zeros(len(y)), [], np.random.default_rng(seed)
    for fit, test in StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(X, y, rows["group"]):
        forest = RandomForestClassifier(
            n_trees, min_samples_leaf=2, class_weight="balanced", random_state=seed, n_jobs=1
        ).fit(X[fit], y[fit])
        score[test] = forest.predict_proba(X[test])[:, 1]
        if importance:
            # All shuffles of all numbers in one question to the forest, which checks each question anew.
            shuffled = np.tile(X[test], (_N_SHUFFLES, len(names), 1, 1))
            for k, r in np.ndindex(len(names), _N_SHUFFLES):
                shuffled[r, k, :, k] = rng.permutation(X[test, k])
            told = forest.predict_proba(shuffled.reshape(-1, len(names)))[:, 1].reshape(_N_SHUFFLES, len(names), -1)
            own = [_auc(s[~y[test]], s[y[test]]) for s in (score[test], *told.reshape(-1, len(test)))]
            lost.append(own[0] - np.mean(np.reshape(own[1:], (_N_SHUFFLES, -1)), 0))
    return score, np.mean(lost, 0) if importance else None


def _codes(column: pd.Series) -> np.ndarray:
    """Level numbers as floats, NaN where missing."""
    import numpy as np
    import pandas as pd

    codes = pd.factorize(column)[0].astype(float)
    return np.where(codes < 0, np.nan, codes)


def _auc(low: np.ndarray, high: np.ndarray) -> float:
    """P(a draw of `high` exceeds one of `low`), ties counted half; NaN if either is empty."""
    import numpy as np

    if not len(low) or not len(high):
        return np.nan
    low = np.sort(low)
    return float((np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")).mean() / 2 / len(low))
