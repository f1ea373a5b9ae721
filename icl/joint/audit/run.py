"""`icl.audit`: every question about synthetic rows, asked once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from icl.joint.audit.coded import Coder, check_tables
from icl.joint.audit.columns import Pairs, compare_columns, compare_pairs
from icl.joint.audit.likeness import Likeness, two_sample_auc
from icl.joint.audit.nearest import Coverage, Memorised, coverage, memorised
from icl.joint.audit.page import Shown
from icl.joint.audit.useful import Usefulness, train_on_synthetic
from icl.tables.encoder import as_pandas

MOST_ROWS = 2_000
"""Rows of either table that a classifier and the coverage look at, at most."""
_MOST_CELLS = 4e8  # comparisons of cells in the search for memorised rows; of more, synthetic rows are sampled


@dataclass(frozen=True, repr=False, eq=False)
class Audit(Shown):
    """What `audit` found; prints as text, shows itself in a notebook, and `to_html()` is a page with pictures.

    Attributes:
        likeness: two-sample AUC with its interval: .5 if no classifier tells the rows apart.
        useful: a model of synthetic rows beside one of real rows; None without a target.
        memorised: copies of training rows, and rows too near to them.
        coverage: real rows that have a synthetic one nearby.
        columns, pairs: single columns and pairs of them.
        findings: what to know before the rows are used, a code and a sentence each; empty if nothing stands out.
    """


def audit(
    real: pd.DataFrame,
    synthetic: pd.DataFrame,
    *,
    holdout: pd.DataFrame | None = None,
    target: Any = None,
    detector: Any = None,
    predictor: Any = None,
    level: float = 0.95,
    seed: int = 0,
) -> Audit:
    """What synthetic rows are worth and what they give away, measured against real rows.

    Keep real rows from the generator and pass them as `holdout`: likeness and usefulness are then measured on rows that
    it never saw, and rows that it remembers can be told from rows that are near by chance.

    Args:
        real: rows that the generator was given.
        synthetic: rows that it made, with the same columns.
        holdout: real rows that it was not given. Without them, likeness is measured against the rows that it saw, and
            nearness against the distances of these to one another.
        target: column to predict, for the comparison of models; None leaves it out.
        detector: classifier of real against synthetic rows that takes a DataFrame; default gradient boosting.
        predictor: model of the target; default `ICLClassifier` or `ICLRegressor` with quality="fast".
        level: of the intervals, a fraction.
        seed: of samples and folds.
    Raises:
        ValueError: for tables that cannot be compared.

    Examples:
        >>> import icl, numpy as np, pandas as pd
        >>> rng = np.random.default_rng(0)
        >>> real, fresh = (pd.DataFrame(rng.normal(size=(100, 2)), columns=["a", "b"]) for _ in range(2))
        >>> icl.audit(real, real).memorised.n_exact, icl.audit(real, fresh).memorised.n_exact
        (100, 0)
    """
    real, synthetic, holdout = (as_pandas(table) for table in (real, synthetic, holdout))
    check_tables(real, synthetic, holdout)
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}; write 0.95 for 95 %.")
    if target is not None and target not in real.columns:
        raise ValueError(f"target {target!r} is no column; the tables have {list(map(str, real.columns[:12]))}.")
    rng = np.random.default_rng(seed)
    coder = Coder.of(real if holdout is None else pd.concat([real, holdout], ignore_index=True))
    compared = real if holdout is None else holdout
    parts = [_sample(table, rng) for table in (compared, synthetic)]
    numbers = [coder.numbers(table) for table in parts]
    ranks = [coder.ranks(table) for table in numbers]
    likeness = two_sample_auc((parts[0], parts[1]), (numbers[0], numbers[1]), coder.is_level, detector, seed, level)
    whole = [coder.numbers(table) for table in (real, synthetic)]
    asked = _searched(whole[1], len(real), rng)
    seen = None if holdout is None else coder.ranks(coder.numbers(holdout))
    names = real.index, synthetic.index[asked]
    found = memorised(coder.ranks(whole[0]), coder.ranks(whole[1][asked]), seen, coder.is_level, names)
    fewer = _of_one_size(ranks, rng)
    covered = coverage(fewer[0], fewer[1], coder.is_level)
    columns = compare_columns(coder, whole[0], whole[1], rng)
    pairs = compare_pairs(coder, coder.ranks(whole[0]), coder.ranks(whole[1]), rng)
    useful = None
    if target is not None:
        learnt, tested = _parted(real, rng) if holdout is None else (real, holdout)
        useful = train_on_synthetic(learnt, synthetic, tested, target, predictor, rng, level)
    findings = _findings(likeness, useful, found, covered, columns, pairs, holdout is not None)
    if len(asked) < len(synthetic):
        findings.append(("sampled", f"memorised rows were looked for among {len(asked):,} of the synthetic rows."))
    return Audit(
        likeness, useful, found, covered, columns, pairs, findings, len(real), len(synthetic),
        0 if holdout is None else len(holdout), level, (parts[0], parts[1]),
    )  # fmt: skip


def _sample(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return table if len(table) <= MOST_ROWS else table.iloc[np.sort(rng.permutation(len(table))[:MOST_ROWS])]


def _searched(synthetic: np.ndarray, n_real: int, rng: np.random.Generator) -> np.ndarray:
    most = max(int(_MOST_CELLS / (n_real * synthetic.shape[1])), 100)
    return np.arange(len(synthetic)) if len(synthetic) <= most else np.sort(rng.permutation(len(synthetic))[:most])


def _of_one_size(ranks: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    n = min(map(len, ranks))
    return [table if len(table) == n else table[np.sort(rng.permutation(len(table))[:n])] for table in ranks]


def _parted(real: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    order = rng.permutation(len(real))
    n_asked = max(len(real) // 3, 1)
    return real.iloc[np.sort(order[n_asked:])], real.iloc[np.sort(order[:n_asked])]


def _findings(
    likeness: Likeness,
    useful: Usefulness | None,
    found: Memorised,
    covered: Coverage,
    columns: pd.DataFrame,
    pairs: Pairs | None,
    has_holdout: bool,
) -> list[tuple[str, str]]:
    """Sentences on what stands out, the gravest first."""
    said = []
    if found.is_excess:
        by_chance = "at the rate of held-out rows" if found.has_holdout else "at the rate of real rows among themselves"
        how = f"{found.n_exact:,} synthetic rows equal a training row ({found.expected_exact:.1f} expected {by_chance})"
        what = "near rows whose nearest real row was trained on" if found.has_holdout else "rows near a training row"
        said.append(
            ("memorised", f"{how}; {what}: {found.near:.1%}, {found.expected_near:.1%} expected. Do not share them.")
        )
    if likeness.lower > 0.5:
        said.append(("distinguishable", f"a classifier tells synthetic from real rows, AUC {likeness}; .5 if not."))
    elif likeness.upper < 0.5:
        said.append(("copies", f"AUC {likeness}, below .5: synthetic rows have twins among the real ones."))
    if covered.covered < covered.expected - 0.05:
        said.append(
            (
                "uncovered",
                f"{1 - covered.covered:.0%} of the real rows have no synthetic row nearby; "
                f"{1 - covered.expected:.0%} would lack a fresh real one.",
            )
        )
    off = columns[columns["distance"] > columns["by_chance"]]
    # Of columns that are right, one in twenty lies beyond its 95th percentile.
    if len(off) > max(1, 0.1 * len(columns)):
        worst = off.sort_values("distance", ascending=False)["column"].head(4)
        said.append(("columns", f"{len(off)} of {len(columns)} columns differ beyond chance, most {_listed(worst)}."))
    if (columns["strange"] > 0.01).any():
        strange = columns.loc[columns["strange"] > 0.01, "column"]
        said.append(("strange_cells", f"cells that no real row would hold, in {_listed(strange)}."))
    if pairs is not None and pairs.difference > 1.5 * pairs.by_chance + 0.01:
        said.append(
            (
                "pairs",
                f"columns go together otherwise than in real rows: Cramer's V differs by {pairs.difference:.3f} on "
                f"average, between two halves of the real rows by {pairs.by_chance:.3f}.",
            )
        )
    if useful is not None and useful.lower > 0:
        said.append(
            (
                "costs_accuracy",
                f"a model of synthetic rows predicts {useful.target!r} worse: {useful.loss} {useful.synthetic:.3f} "
                f"beside {useful.real:.3f} of as many real rows.",
            )
        )
    if not has_holdout:
        said.append(
            (
                "no_holdout",
                "no real rows were held out: copies of rows seen pass for likeness; keep some aside as holdout= "
                "(--holdout)",
            )
        )
    return said


def _listed(names: pd.Series) -> str:
    return ", ".join(map(repr, names.head(4).tolist())) + (" ..." if len(names) > 4 else "")
