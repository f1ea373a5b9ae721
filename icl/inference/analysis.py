"""`infer`: the one function a user calls.

Source:
    Angelopoulos et al. (2023), doi:10.1126/science.adi6000; Angelopoulos, Duchi, Zrnic (2023), arXiv:2311.01453;
    McCaw et al. (2024), doi:10.1038/s41588-024-01793-9; Zrnic & Candes (2024), arXiv:2309.16598.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from icl.inference.checks import Diagnostic, check_level
from icl.inference.engine.problem import STD_ERRORS, Problem
from icl.inference.engine.solve import Solver
from icl.inference.engine.weights import PEERS, read_weight
from icl.inference.estimands import Estimand
from icl.inference.estimands.effect import Effect
from icl.inference.estimands.linearised import Linearised
from icl.inference.estimands.reading import read_estimand
from icl.inference.inputs.completed import Completed, completed_tables
from icl.inference.inputs.design import Design, model_notes
from icl.inference.inputs.leaks import row_notes
from icl.inference.inputs.outcome import read_outcome
from icl.inference.inputs.predictions import features_seen
from icl.inference.inputs.sample import in_memory, read_sample
from icl.inference.inputs.stream import read_stream
from icl.inference.inputs.surrogate import find_surrogate
from icl.inference.results.diagnostics import diagnose
from icl.inference.results.effects import infer_effect
from icl.inference.results.patterned import infer_by_patterns
from icl.inference.results.pooled import infer_pooled
from icl.inference.results.result import InferenceResult
from icl.inference.results.synthetic import infer_synthetic

if TYPE_CHECKING:
    import pandas as pd


def infer(
    estimand: Estimand | str,
    table: pd.DataFrame | None = None,
    *,
    labeled: pd.DataFrame | None = None,
    unlabeled: Any = None,
    predictor: Any = None,
    predictions: str | list[str] | np.ndarray | tuple | None = None,
    features: Sequence[str] | None = None,
    folds: int = 5,
    seed: int = 0,
    weight: str | float = "auto",
    design: Design | None = None,
    std_error: str = "auto",
    reference: str = "t",
    level: float = 0.95,
    compat: str | None = None,
    missing: str = "refuse",
    synthetic: Any = None,
) -> InferenceResult:
    """Estimate with an interval from a few labeled rows and predictions for all of them.

    Valid whatever the quality of the predictions, provided that the labeled rows are a random sample of all rows
    (missing completely at random) and no labeled row was predicted by a model that saw its label. Good predictions make
    the interval narrow; useless ones leave the classical answer.

    Args:
        estimand: `Mean("income")`, `OLS("income ~ age + C(sex)")`, or a line such as "ols: income ~ age + C(sex)",
            "share: answer = yes", "quantile: 0.9: income", as `icl estimate` takes it.
        table: all rows; a missing outcome marks an unlabeled row. Or pass `labeled` and `unlabeled`. What
            `icl.impute` gave, or a list of completed DataFrames, is analysed by table and pooled by Rubin's rules.
        unlabeled: a DataFrame; or rows that do not fit in memory: the path of a Parquet file, a pyarrow, Ray or Hugging
            Face dataset, or a function that returns a fresh iterator over batches. `predictions` then names columns.
        predictor: anything with fit and predict, fitted or not; it is cloned and cross-fitted on the labeled rows. Of a
            classifier, the probability of outcome 1. A list of them is combined into one
            (`icl.inference.inputs.several`). One that was fine-tuned on these rows (`refuse_seen_rows`) is refused.
        predictions: instead of a predictor, out-of-sample predictions: a column, an array in the order of the rows of
            `table` (of `labeled`, then `unlabeled`), a pair of arrays (labeled, unlabeled), or what `cross_fit` gave.
            Several columns for one outcome are combined out of fold. Several outcomes need a list of columns or an
            array (rows, outcomes); Multinomial a column for each class, in their order.
        features: columns that the predictor may see; default: all but the outcome, and but those that are known only
            where the outcome is known, or copy it there.
        folds, seed: of the cross-fitting.
        weight: how much the predictions count: 0 (labeled rows only), 1 (PPI), a number, "ppi++" (one scalar, tuned
            to minimise the variance of the linear predictor), "synsurr" (the partial regression coefficient of the
            outcome on the predictions), "coordinate" (one for each coefficient, PSPA), "matrix" (Chen-Chen),
            "recalibrated" (RePPI), "shrunk" ("synsurr", less what of it may be chance), or "auto" (= "shrunk"). No
            weight that is tuned on cross-fitted predictions is negative.
        design: how the labeled rows were chosen, if not at random from all rows: `Design(probability="p")`,
            `Design(strata="region")`, `Design(clusters="school")` ... With estimated ones, `auto` is 1 (AIPW).
        std_error: "HC0" to "HC3" (sandwich), "residual" (equal variances), "jackknife" (HC2, and HC3 for what the
            weight adds), "model" (SynSurr's published variance, the weight as known), or "auto": "jackknife" for means
            (the textbook one for labels alone), "HC3" for a regression. With clusters CR0 to CR3, and "auto" is "HC2".
        reference: "t", with n - 1 degrees of freedom for a mean (n - 2 if the weight is tuned) and n - P for a
            regression, or "normal". Rows of uneven weights, and clusters, count for fewer (Satterthwaite).
        level: coverage of the intervals that are printed, a fraction.
        compat: "ppi_py" reproduces ppi-python 0.2.3 (no small-sample correction, clipped two-step weight), "ipd" the R
            package (weights "coordinate", its pspa, and "matrix", its chen); `std_error` and `reference` are ignored.
        missing: rows that lack a covariate: "refuse" them, or "patterns": correct the answer of complete rows by what
            the known cells of the others say of it (`icl.inference.engine.patterns`).
        synthetic: synthetic rows, which are shown pooled with the real ones for contrast; or (rows, column), where the
            column names the real row that each was drawn for, and its outcome then counts as a prediction.
    Returns:
        InferenceResult: estimates, intervals, p-values, comparison of methods, diagnostics.
    Raises:
        ValueError: for input that cannot give a valid answer; the message says what came and what to do.
    """
    given = dict(locals())
    if (completed := completed_tables(table)) is not None:
        return _pooled(completed, given)
    if synthetic is not None:
        return infer_synthetic(infer, given)
    if isinstance(estimand, str):
        estimand = read_estimand(estimand, table=labeled if table is None else table)
    if missing != "refuse":
        return _by_patterns({**given, "estimand": estimand})
    _check_options(estimand, std_error, reference, level, compat, seed, folds, predictor, predictions)
    weight = _used_weight(given)
    design = Design() if design is None else design.with_model(predictor)
    if compat is not None:
        std_error, reference = "HC0", "normal"
    elif std_error == "auto":
        std_error = _best_std_error(estimand, design)
    sample = read_sample(estimand, table, labeled, unlabeled if predictor is None else in_memory(unlabeled))
    estimand = estimand.resolve(sample.labeled)
    X_labeled, X_unlabeled, columns = estimand.designs(sample.labeled, sample.unlabeled)
    terms = estimand.parameters(columns)
    predicts = predictor is not None or predictions is not None
    design.check(estimand, sample.labeled, predicts, weight)
    y = read_outcome(estimand, sample.labeled, len(terms))
    notes = [*sample.notes, *row_notes(sample, estimand, design, predicts)]
    if isinstance(estimand, Effect):
        models = (predictor, predictions, features, folds, seed, weight)
        return infer_effect(estimand, sample, y, design, models, (std_error, reference, level), notes)
    seen, spotted = features_seen(sample, estimand, y, predictor, features, design)
    drawn = design.resolve(sample, seen, folds, seed)
    if isinstance(estimand, Linearised) and drawn.sampling.weights_labeled is not None:
        estimand = estimand.weighted(sample.labeled, drawn.sampling.weights_labeled)
        y = read_outcome(estimand, sample.labeled, len(terms))
    surrogate, rows = None, None
    more: list[Diagnostic] = []
    if sample.stream is not None:
        surrogate, X_unlabeled, rows, drawn = read_stream(estimand, sample, predictor, predictions, compat, drawn)
    elif predicts:
        designs = (X_labeled, X_unlabeled) if compat is None else None
        asked = (predictor, predictions, seen, folds, seed)
        surrogate, more = find_surrogate(estimand, sample, y, drawn, *asked, designs)
    if surrogate is None:
        weight = 0.0
    elif weight == "auto" and design.propensity is not None:
        weight = 1.0
    arrays: tuple[Any, ...] = (y, X_labeled, X_unlabeled, surrogate, drawn.sampling)
    settings: tuple[Any, ...] = (std_error, reference, compat, rows, sample.frames(estimand), seed)
    solver = Solver(Problem(estimand, terms, columns, *arrays, *settings))
    answer = solver.under(weight)
    notes += [*spotted, *drawn.notes, *model_notes(design, estimand), *more]
    notes += [*estimand.findings(sample.labeled, sample.unlabeled), *diagnose(solver, answer)]
    source = "none" if surrogate is None else surrogate.source
    rows_of = (sample.order, drawn.inclusion)
    return InferenceResult.of(solver, answer, level, source, notes, design, *rows_of)


def _pooled(completed: Completed, given: dict[str, Any]) -> Any:  # reads like an InferenceResult, and is none
    """The `PooledResult` of several completed tables; `given`: the arguments of `infer`."""
    if given["labeled"] is not None or given["unlabeled"] is not None:
        raise ValueError(
            "got completed tables as table=, and labeled= or unlabeled=; put all rows into the table that you impute, "
            "with a missing outcome for unlabeled rows, and name the outcome in impute(..., keep=...)."
        )
    estimand = given["estimand"]
    if isinstance(estimand, str):
        estimand = read_estimand(estimand, table=next(iter(completed.source)))
    predicts = given["predictor"] is not None or given["predictions"] is not None

    def analyse(rows: pd.DataFrame) -> InferenceResult:
        return infer(**{**given, "estimand": estimand, "table": rows})

    return infer_pooled(analyse, completed, estimand, predicts)


def _by_patterns(given: dict[str, Any]) -> Any:  # reads like an InferenceResult, and is none
    """The `PatternedResult` of a table with gaps; `given`: the arguments of `infer`."""
    if given["missing"] != "patterns":
        raise ValueError(f"missing got {given['missing']!r}; known are 'refuse' and 'patterns'.")
    kept = {name: given[name] for name in ("std_error", "reference", "level", "seed", "folds")}
    estimand = given["estimand"]
    return infer_by_patterns(lambda rows: infer(estimand, labeled=rows, **kept), estimand, given)


def _check_options(
    estimand: Any,
    std_error: str,
    reference: str,
    level: float,
    compat: str | None,
    seed: int,
    folds: int,
    predictor: Any,
    predictions: Any,
) -> None:
    if not isinstance(estimand, Estimand):
        raise ValueError(f"estimand= got {estimand!r}; pass Mean('column') or OLS('outcome ~ covariates').")
    for name, got, known in (
        ("std_error", std_error, STD_ERRORS),
        ("reference", reference, ("t", "normal")),
        ("compat", compat, (None, *PEERS)),
    ):
        if got not in known:
            raise ValueError(f"{name} got {got!r}; known are {', '.join(map(repr, known))}.")
    check_level(level)
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise ValueError(f"seed got {seed!r}; pass a whole number of at least 0.")
    if isinstance(folds, bool) or not isinstance(folds, Integral) or folds < 2:
        raise ValueError(
            f"folds got {folds!r}; pass a whole number of at least 2: the rows outside a fold make the model that "
            "predicts it."
        )
    if predictor is not None and predictions is not None:
        raise ValueError("got predictor= and predictions=; pass the model or its out-of-sample predictions, not both.")


def _used_weight(given: dict[str, Any]) -> str | float:
    """The weight, read; ValueError for arguments of `infer` that would do nothing, whoever may believe they did."""
    weight = given["weight"]
    read = read_weight(weight, given["compat"])
    if given["predictor"] is not None:
        return read
    if given["predictions"] is None and not (weight == "auto" or (isinstance(weight, Real) and weight == 0)):
        raise ValueError(
            f"weight got {weight!r}, and there are no predictions to weigh; pass predictor= or predictions=, or leave "
            "weight= out."
        )
    is_simple = given["design"] is None or given["design"].is_simple
    if given["features"] is not None and is_simple and not isinstance(given["estimand"], Effect):
        raise ValueError(
            f"features got {given['features']!r}, and there is no model to see them; pass predictor=, or leave "
            "features= out."
        )
    return read


def _best_std_error(estimand: Estimand, design: Design) -> str:
    if estimand.default_std_error == "HC3" and design.clusters is not None:
        return "HC2"  # CR2: with Satterthwaite's degrees of freedom the jackknife, CR3, would be too wide
    return estimand.default_std_error
