"""`icl estimate`: a mean, a quantile or regression coefficients from few labels and predictions.

No import under TYPE_CHECKING here: jsonargparse carries them out to read the signature, and pandas would be loaded to
print a help.
"""

from __future__ import annotations

from icl.commands.console import make_console
from icl.commands.estimate.request import Request


def estimate(table: str, **options) -> None:
    """Estimate a mean, a quantile or regression coefficients from few labels and predictions, with valid intervals.

    Rows without an outcome are unlabeled; a model is cross-fitted on the others and predicts them all. For example:
    icl estimate table.csv --estimand "ols: income ~ age + C(sex)" --output result.html

    Args:
        table: CSV, TSV, Parquet or Excel file; a missing outcome marks an unlabeled row.
    """
    request = Request(**options)
    from icl.commands.estimate.run import run_estimate

    run_estimate(table, request, make_console(request.output))
