"""`equalize`: thresholds for each group that bring a disparity within a bound, and the interval of what remains.

A rule that is chosen to look fair on some labels looks fairer on them than it is. So one random half of the labeled
rows chooses the thresholds, and the other half, with the unlabeled rows, says what disparity the chosen rule has: its
interval is valid for that very rule, however it was chosen.

Source:
    Hardt, Price & Srebro (2016), arXiv:1610.02413, for decisions that are changed after the fact by group; thresholds
    here are fixed numbers, not drawn by chance, so that two people alike in score and group are treated alike.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.analysis import infer
from icl.inference.estimands.base import as_numbers
from icl.inference.estimands.disparity import Disparity
from icl.inference.estimands.linear import Mean
from icl.inference.estimands.reading import read_estimand
from icl.inference.frames import as_frame, is_name, levels_of, require_columns
from icl.inference.inputs.design import Design

if TYPE_CHECKING:
    import pandas as pd

    from icl.inference.results.result import InferenceResult

FEWEST = 10
"""Labeled rows that the rate of a group is counted on, in each half."""
_MOST_THRESHOLDS = 400
_COST = "cost of the decision"


@dataclass(frozen=True, eq=False, repr=False)
class Equalized:
    """What `equalize` returns.

    Attributes:
        thresholds: score from which on each group is decided for; infinite where nobody, or everybody, is.
        before: disparity of the decisions as they were, on the rows that had no part in choosing.
        remaining: disparity of the new decisions, on the same rows.
        price: mean cost of a new decision less that of an old one, on the same labeled rows; None where it is the same
            for all of them.
        bound: that was asked for.
        choosing: (R,) which rows of the table the thresholds were chosen on.
    """

    estimand: Disparity
    score: str
    thresholds: pd.Series
    before: InferenceResult
    remaining: InferenceResult
    price: InferenceResult | None
    bound: float
    choosing: np.ndarray

    def decide(self, table: Any) -> pd.Series:
        """The decision, 0 or 1, for each row of a table with score and group.

        Raises:
            ValueError: for a group that no threshold was chosen for, or a missing score.
        """
        import pandas as pd

        frame = as_frame(table, "table")
        require_columns(frame, [self.score, self.estimand.by], "rows of table=", "of the decision")
        return pd.Series(_decided(frame, self.score, self.estimand.by, self.thresholds), frame.index, dtype=int)

    def is_shown(self, level: float | None = None) -> bool:
        """Whether the intervals of all remaining disparities lie within the bound."""
        ends = self.remaining.interval(level).to_numpy()
        return bool((np.abs(ends) <= self.bound).all())

    def to_frame(self, level: float | None = None) -> pd.DataFrame:
        """A row for each pair of groups: estimate, lower and upper before and after."""
        import pandas as pd

        parts = {}
        for name, result in (("before", self.before), ("remaining", self.remaining)):
            ends = result.interval(level)
            parts[name] = result.estimate
            parts |= {f"{name}_lower": ends["lower"], f"{name}_upper": ends["upper"]}
        return pd.DataFrame(parts).rename_axis("term").reset_index()

    def summary(self, level: float | None = None) -> str:
        """The rule, what disparity it leaves, and what it costs, as text."""
        paid = "the same in every labeled row"
        if self.price is not None:
            low, high = self.price.interval(level).to_numpy()[0]
            paid = f"{self.price.estimate.iloc[0]:+.4f} [{low:+.4f}, {high:+.4f}]"
        verdict = (
            f"The intervals of what remains lie within the bound of {self.bound:g}."
            if self.is_shown(level)
            else f"What remains is not shown to lie within the bound of {self.bound:g}: the intervals reach beyond it."
        )
        doubts = "".join(f"\nWarning: {d.message}" for d in self.remaining.diagnostics if d.severity == "warning")
        rule = ", ".join(f"{group}: {self.score} >= {value:.4g}" for group, value in self.thresholds.items())
        return (
            f"{self.estimand}, equalized by thresholds from {self.choosing.sum()} labeled rows\n"
            f"Decided for, by {self.estimand.by}: {rule}\n"
            f"{self.to_frame(level).round(4).to_string(index=False)}\n"
            f"Before and after are of {self._rows()} that had no part in choosing"
            f"{', and the predicted ones' if self.remaining.predictions != 'none' else ''}. {verdict}\n"
            f"Mean cost of a decision, after less before: {paid}{doubts}"
        )

    def _rows(self) -> str:
        """Rows that were measured with: a decision that was not known before is known after."""
        was, now = self.before.n_labeled, self.remaining.n_labeled
        return f"the {now} labeled rows" if was == now else f"the {was} rows with a decision, and of all {now} rows,"

    def __repr__(self) -> str:
        return self.summary()

    def plot(self, ax: Any = None, level: float | None = None) -> Any:
        """Each pair of groups before (grey) and after (blue), the bound as a band."""
        import matplotlib.pyplot as plt

        table = self.to_frame(level)
        at = np.arange(len(table))[::-1]
        ax = plt.subplots(figsize=(6, 1.6 + 0.5 * len(table)), layout="constrained")[1] if ax is None else ax
        ax.axvspan(-self.bound, self.bound, color="tab:green", alpha=0.12, lw=0, label=f"within {self.bound:g}")
        ax.axvline(0, color="0.6", lw=1, ls=":")
        for name, color, shift in (("before", "0.55", 0.12), ("remaining", "tab:blue", -0.12)):
            ax.hlines(at + shift, table[f"{name}_lower"], table[f"{name}_upper"], color=color, lw=2)
            ax.plot(table[name], at + shift, "o", color=color, label=name)
        ax.set_yticks(at, table["term"])
        ax.set(ylim=(-0.6, len(table) - 0.4), xlabel=f"difference in {self.estimand.metric}")
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
        return ax


def equalize(
    disparity: Disparity | str,
    table: Any,
    score: str,
    *,
    bound: float = 0.02,
    costs: tuple[float, float] = (1.0, 1.0),
    share: float = 0.5,
    predictor: Any = None,
    predictions: Any = None,
    features: Sequence[str] | None = None,
    design: Design | None = None,
    seed: int = 0,
    level: float = 0.95,
) -> Equalized:
    """Choose a threshold for each group so that a disparity falls within a bound, and say what of it remains.

        rule = equalize(Disparity("approved", "sex", "equal opportunity", "repaid"), table, "p", predictor=model)
        print(rule.summary())
        rule.decide(new_rows)

    Of all rules whose rates on the choosing rows lie within `bound` of one another, the one with the smallest mean cost
    there is taken. The bound is met on those rows; in the population the remaining disparity is what its interval says.

    Args:
        disparity: its decision column holds the decisions as they are now, which the rule is compared with.
        table: rows with decision, group and score; a missing outcome marks an unlabeled row.
        score: column that a threshold is put on, known on every row, such as a model's probability; it must not have
            seen the outcomes of these rows.
        bound: largest difference between the rates of two groups that is aimed at.
        costs: of deciding for a row without the outcome, and against a row with it. Under "demographic parity",
            which knows no outcome, of deciding for a row that was decided against before, and the reverse.
        share: of the labeled rows that choose; they take no further part.
        predictor, predictions, features: of the outcome, as in `infer`, for the unlabeled rows. `predictions` names a
            column, or several.
        design: `Design(clusters="column")`, of which none is divided: those that choose take no further part, nor
            do their unlabeled rows. Other designs are refused.
        seed: of the division.
        level: of the intervals.
    Raises:
        ValueError: for fewer than 10 labeled rows of a group in either half that its rate could be counted on, or where
            the cheapest rule decides for everybody or nobody.
    """
    estimand = read_estimand(disparity) if isinstance(disparity, str) else disparity
    if not isinstance(estimand, Disparity):
        raise ValueError(f"disparity= got {estimand!r}; pass Disparity('approved', by='sex', ...).")
    _check_numbers(bound, share, costs, seed)
    if not is_name(score):
        raise ValueError(f"score= got a {type(score).__name__}; pass the name of a column of table=.")
    if predictions is not None and not (is_name(predictions) or isinstance(predictions, list)):
        raise ValueError("predictions= takes the name of a column here, or a list of them; add the array to the table.")
    clusters = _clusters_of(design)
    table = as_frame(table, "table").reset_index(drop=True)
    used = [estimand.decision, estimand.by, score, *estimand.outcome_columns, *([] if clusters is None else [clusters])]
    require_columns(table, list(dict.fromkeys(used)), "rows of table=", f"of {str(estimand)!r}, or its score,")
    known = table[estimand.outcome_columns[0]].notna().to_numpy()
    estimand.target(table[known])  # ValueError for what is not 0 and 1
    _refuse_missing(table, estimand.by)
    choosing = _choosing(table, known, estimand, clusters, share, seed)
    first = table[choosing]
    groups = table[estimand.by].unique()
    _refuse_few(estimand, first, groups, "chooses")
    # Of a cluster that chose, rows without a label know of the labels too.
    away = choosing if clusters is None else table[clusters].isin(table.loc[choosing, clusters]).to_numpy()
    kept = table[~away].reset_index(drop=True)
    _refuse_few(estimand, kept[kept[estimand.outcome_columns[0]].notna()], groups, "is left to measure with")
    thresholds = _choose(estimand, first, score, bound, costs)
    decided = _decided(kept, score, estimand.by, thresholds)
    if decided.all() or not decided.any():
        raise ValueError(
            f"the cheapest thresholds on {score!r} with rates within {bound:g} decide "
            f"{'for' if decided.any() else 'against'} everybody: that leaves no disparity and no decision. "
            "Raise bound=, weigh costs= otherwise, or use a better score."
        )
    moved = kept.assign(**{estimand.decision: decided.astype(float)})
    options: dict[str, Any] = {"design": design, "level": level, "seed": seed}
    used_by_model = {"predictor": predictor, "predictions": predictions, "features": features}
    if estimand.outcome_column is not None:
        options |= used_by_model
    elif given := [name for name, got in used_by_model.items() if got is not None]:
        names = "= and no ".join(given)
        raise ValueError(f"'demographic parity' counts decisions, which are all known; pass no {names}= here.")
    results = [infer(estimand, rows, **options) for rows in (kept, moved)]
    labeled = kept[estimand.outcome_columns[0]].notna()
    spent = [_costs_of(estimand, kept[labeled], rows[labeled][estimand.decision], costs) for rows in (kept, moved)]
    paid = kept[labeled].assign(**{_COST: spent[1] - spent[0]})
    is_known = paid[_COST].nunique() > 1
    price = infer(Mean(_COST), labeled=paid, design=design, level=level) if is_known else None
    return Equalized(estimand, score, thresholds, results[0], results[1], price, float(bound), choosing)


def _check_numbers(bound: float, share: float, costs: tuple[float, float], seed: int) -> None:
    """ValueError for numbers that are none, or out of range."""
    for name, got, fits in (("bound", bound, lambda v: 0 <= v < 1), ("share", share, lambda v: 0 < v < 1)):
        if not isinstance(got, Real) or not fits(got):
            raise ValueError(f"{name} got {got!r}; pass a fraction between 0 and 1.")
    pair = list(costs) if isinstance(costs, (tuple, list, np.ndarray)) else []
    if len(pair) != 2 or not all(isinstance(c, Real) and 0 <= c < np.inf for c in pair) or not max(pair) > 0:
        raise ValueError(f"costs got {costs!r}; pass two numbers of at least 0, such as (1, 5).")
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise ValueError(f"seed got {seed!r}; pass a whole number of at least 0.")


def _clusters_of(design: Design | None) -> Hashable | None:
    """The column of clusters, if there is one."""
    if design is None or design.is_simple:
        return None
    if not design.suits_batches:
        raise ValueError(
            "equalize takes labels that are a random sample of all rows, or of clusters, Design(clusters='column'); "
            "with unequal probabilities choose the rule elsewhere, and measure it by infer(Disparity(...), design=)."
        )
    return design.clusters if is_name(design.clusters) else None


def _choosing(
    table: pd.DataFrame, known: np.ndarray, estimand: Disparity, clusters: Hashable | None, share: float, seed: int
) -> np.ndarray:
    """(R,) which labeled rows choose: a share of every group with every outcome, or of the clusters."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(table))
    chosen = np.zeros(len(table), bool)
    if clusters is not None:
        names = table[clusters].iloc[order[known[order]]].unique()
        picked = names[: int(round(share * len(names)))]
        return known & table[clusters].isin(picked).to_numpy()
    cells = table[known].groupby([estimand.by, estimand.outcome_columns[0]], sort=True, observed=True).indices
    places, rank = np.flatnonzero(known), np.argsort(order)
    carry = 0.0
    for rows in cells.values():
        mine = places[rows]
        mine = mine[np.argsort(rank[mine])]
        n, carry = _rounded(share * len(mine) + carry)
        chosen[mine[:n]] = True
    return chosen


def _rounded(wanted: float) -> tuple[int, float]:
    """A whole number, and what is carried on to the next so that their sum is right."""
    n = int(np.floor(wanted + 0.5))
    return n, wanted - n


def _refuse_missing(frame: pd.DataFrame, by: str) -> None:
    n_missing = int(frame[by].isna().sum())
    if n_missing:
        raise ValueError(
            f"the group {by!r} is missing in {n_missing} rows; every row needs one to be decided. Fill it in, leave "
            "these rows out, or give them a group of their own."
        )


def _refuse_few(estimand: Disparity, labeled: pd.DataFrame, groups: Sequence[Hashable], does: str) -> None:
    """ValueError where a group has too few rows that its rate is counted on, whatever is decided."""
    if estimand.metric in ("equal opportunity", "false positive rate"):
        labeled = labeled[labeled[estimand.outcome_columns[0]] == (estimand.metric == "equal opportunity")]
    found = labeled[estimand.by].value_counts().to_dict()  # may name levels that no row has, and lack groups
    counts = {str(group): int(found.get(group, 0)) for group in groups}
    short = {group: n for group, n in counts.items() if n < FEWEST}
    if len(counts) < 2 or short:
        raise ValueError(
            f"the part of the labels that {does} has {short or counts} rows of a group of {estimand.by!r} that "
            f"{estimand.metric!r} is counted on; each of two groups or more needs {FEWEST}. Label more rows."
        )


def _choose(estimand: Disparity, rows: pd.DataFrame, score: str, bound: float, costs: tuple[float, float]) -> pd.Series:
    """The thresholds of least cost whose rates lie within `bound` of one another, or as near as they come."""
    import pandas as pd

    curves = {g: _curve(estimand, part, score, costs) for g, part in _groups(rows, estimand.by).items()}
    rates = np.unique(np.concatenate([rate[np.isfinite(rate)] for _, rate, _ in curves.values()]))
    if len(rates) > _MOST_THRESHOLDS:
        rates = rates[np.linspace(0, len(rates) - 1, _MOST_THRESHOLDS).astype(int)]
    # Centres of windows as wide as the bound: where the best rule lies, some group's rate is at an end of the window.
    centres = np.unique(np.concatenate([rates, rates - bound / 2, rates + bound / 2]))
    best: tuple[tuple[float, float], dict] | None = None
    for centre in centres:
        missed, spent, chosen = 0.0, 0.0, {}
        for group, (cuts, rate, cost) in curves.items():
            off = np.where(np.isfinite(rate), np.maximum(np.abs(rate - centre) - bound / 2, 0), np.inf)
            off = np.where(off < 1e-12, 0.0, off)
            k = int(np.lexsort((cost, off))[0])
            missed, spent = max(missed, off[k]), spent + cost[k]
            chosen[group] = cuts[k]
        if best is None or (missed, spent) < best[0]:
            best = ((missed, spent), chosen)
    assert best is not None
    return pd.Series(best[1], name="threshold").rename_axis(estimand.by)


def _curve(
    estimand: Disparity, part: pd.DataFrame, score: str, costs: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(T,) thresholds of one group, the rate of the metric at each (NaN where it has none), and the summed cost."""
    values = _scores(part, score)
    steps = np.unique(values)
    if len(steps) > _MOST_THRESHOLDS:
        steps = np.unique(np.quantile(values, np.linspace(0, 1, _MOST_THRESHOLDS), method="nearest"))
    # Half-way between two scores: what lies between them is then decided by the nearer one.
    cuts = np.concatenate([[-np.inf], (steps[1:] + steps[:-1]) / 2, [np.inf]])
    decided_TN = (values >= cuts[:, None]).astype(float)
    y = as_numbers(part[estimand.outcome_columns[0]], "a column of 0 and 1").astype(float)
    over = decided_TN @ (1 - y) * costs[0]
    under = (1 - decided_TN) @ y * costs[1]
    if estimand.outcome_column is None:
        return cuts, decided_TN.mean(1), over + under  # y: the decision as it was
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = {
            "equal opportunity": lambda: decided_TN @ y / y.sum(),
            "false positive rate": lambda: decided_TN @ (1 - y) / (1 - y).sum(),
            "predictive parity": lambda: decided_TN @ y / decided_TN.sum(1),
            "accuracy": lambda: (decided_TN @ y + (1 - decided_TN) @ (1 - y)) / len(y),
        }[estimand.metric]()
    return cuts, rate, over + under


def _groups(rows: pd.DataFrame, by: str) -> dict[Hashable, pd.DataFrame]:
    return {group: rows[(rows[by] == group).to_numpy()] for group in levels_of(rows[by].to_numpy())[0]}


def _scores(frame: pd.DataFrame, score: str) -> np.ndarray:
    values = as_numbers(frame[score], "a column of numbers").astype(float)
    if np.isnan(values).any():
        raise ValueError(f"the score {score!r} is missing in {int(np.isnan(values).sum())} rows; all must have one.")
    return values


def _decided(frame: pd.DataFrame, score: str, by: str, thresholds: pd.Series) -> np.ndarray:
    """(R,) whether each row is decided for."""
    _refuse_missing(frame, by)
    limit = frame[by].map(thresholds.to_dict()).to_numpy(dtype=float, na_value=np.nan)
    if np.isnan(limit).any():
        new = list(dict.fromkeys(frame[by][np.isnan(limit)].map(str)))[:8]
        raise ValueError(f"{by!r} has {new}, for which no threshold was chosen; known are {list(thresholds.index)}.")
    return _scores(frame, score) >= limit


def _costs_of(estimand: Disparity, rows: pd.DataFrame, decided: pd.Series, costs: tuple[float, float]) -> np.ndarray:
    """(R,) cost of each decision, given the outcome (under "demographic parity", the decision as it was)."""
    d = decided.to_numpy(dtype=float)
    y = as_numbers(rows[estimand.outcome_columns[0]], "a column of 0 and 1").astype(float)
    return costs[0] * d * (1 - y) + costs[1] * (1 - d) * y
