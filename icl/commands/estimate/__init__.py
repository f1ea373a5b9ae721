"""`icl estimate`: a mean, a quantile or regression coefficients from few labels and predictions.

No import under TYPE_CHECKING here: jsonargparse carries them out to read the signature, and pandas would be loaded to
print a help.
"""

from __future__ import annotations

from jsonargparse.typing import NonNegativeInt, OpenUnitInterval, PositiveInt

from icl.commands.console import make_console, read_words, status


def estimate(
    table: str,
    estimand: str = "mean",
    outcome: str | None = None,
    event: str | None = None,
    unlabeled: str | None = None,
    predictor: str = "icl",
    predictions: str | None = None,
    features: str = "",
    checkpoint: str | None = None,
    members: PositiveInt = 4,
    weight: str = "auto",
    probability: str | None = None,
    strata: str | None = None,
    clusters: str | None = None,
    row_weights: str | None = None,
    level: OpenUnitInterval = 0.95,
    folds: PositiveInt = 5,
    seed: NonNegativeInt = 0,
    output: str = "",
) -> None:
    """Estimate a mean, a quantile or regression coefficients from few labels and predictions, with valid intervals.

    Rows without an outcome are unlabeled; a model is cross-fitted on the others and predicts them all. For example:
    icl estimate table.csv --estimand "ols: income ~ age + C(sex)" --output result.html

    Args:
        table: CSV, TSV, Parquet or Excel file; a missing outcome marks an unlabeled row.
        estimand: "mean", "share: answer = yes", "median", "quantile: 0.9", "ols: y ~ x1 + C(x2)", "logistic: ...",
            "poisson: ...", "multinomial: ..."; "mean: income by region" gives the mean of each group.
        outcome: column of the outcome, if the estimand does not name it.
        event: value of the outcome that counts as 1, for shares and logistic regression.
        unlabeled: file with the unlabeled rows, if they are not in the table.
        predictor: icl (our in-context model), rf (a random forest) or none (labeled rows only).
        predictions: instead of a predictor, the column that holds out-of-sample predictions.
        features: columns that the predictor may see, separated by commas; default: all but the outcome.
        checkpoint: for icl: name of a shipped checkpoint or path of a release folder; default: the best one shipped.
        members: for icl: guises of the table whose predictions are averaged.
        weight: auto (shrunk), shrunk, ppi++, synsurr, coordinate, matrix, or a number (0: labeled rows only, 1: PPI).
        probability: column with the known probability of each row to be labeled.
        strata: column of strata, within which labels were drawn at random.
        clusters: column of clusters, whose rows depend on one another.
        row_weights: column of survey weights.
        level: coverage of the confidence intervals, a fraction.
        folds: of the cross-fitting.
        seed: of folds and predictor.
        output: files to write too, separated by commas: .json, .csv, .md or .html.
    """
    from icl.commands.estimate.run import (
        check_output,
        make_predictor,
        read_table,
        run_estimate,
        write,
    )
    from icl.inference import Design
    from icl.inference.estimands.reading import read_estimand

    console, files = make_console(), read_words(output)
    for path in files:
        check_output(path)
    frame = read_table(table)
    rest = None if unlabeled is None else read_table(unlabeled)
    target = read_estimand(estimand, outcome, event, frame)
    model = None if predictions else make_predictor(predictor, target, frame, checkpoint, members, seed)
    design = Design(probability=probability, strata=strata, clusters=clusters, weights=row_weights)
    with status(f"Estimating {target} ..."):
        result = run_estimate(
            frame, rest, target, predictor=model, predictions=predictions, features=read_words(features) or None,
            weight=weight, design=design, folds=folds, seed=seed, level=level,
        )  # fmt: skip
    console.print(result.to_console())
    for path in files:
        write(result, path)
        console.print(f"wrote {path}")
