"""What is said of shares in another population that are read off a confusion matrix."""

from __future__ import annotations

from collections.abc import Iterator

from icl.inference.checks import Diagnostic
from icl.inference.engine.label_shift import Confusion, class_names
from icl.inference.engine.problem import Problem

WEAK_CONTRAST = 6.0
"""Standard errors between the mean predictions of two classes: nominal .90, three classes, 400 samples: .86 to .95
covered with 4 to 6, .90 to .93 with more (`engine.label_shift.LEAST_CONTRAST` refuses below 4)."""
FEW_OF_CLASS = 10
"""Labeled rows of a class; nominal .90, with 6 expected .77 to 1 covered of a share that rests on them, 200 samples."""
MISFIT = 1e-3
"""Error rate of the test of label shift."""


def label_shift_findings(problem: Problem) -> Iterator[Diagnostic]:
    """Findings on the confusion matrix of labeled rows, and on whether the unlabeled ones are a mixture of it."""
    from scipy.special import chdtrc

    found, names = Confusion(problem), class_names(problem)
    rows = found.Y.sum(axis=0)
    few = [f"{name} ({n:.0f})" for name, n in zip(names, rows, strict=True) if n < FEW_OF_CLASS]
    if few:
        yield Diagnostic(
            "few_of_class",
            f"fewer than {FEW_OF_CLASS} labeled rows show how these are predicted: {', '.join(few)}. Their column of "
            "the confusion matrix is rough, and so is the interval of every share that they are confused with; label "
            "more of them, chosen by class if need be: under label shift that does no harm.",
            "warning",
        )
    contrast, k, m = found.weakest
    if contrast < WEAK_CONTRAST:
        yield Diagnostic(
            "confused_classes",
            f"the predictions tell {names[k]} from {names[m]} by {contrast:.1f} standard errors only (condition number "
            f"of the confusion matrix {found.condition:.0f}): their shares are known together rather than each, and "
            "intervals are rough. Label more rows, merge the two, or use a better predictor.",
        )
    surrogate = problem.surrogate
    if surrogate is None or surrogate.is_cross_fitted:  # averages over folds are tighter, which is no sign of anything
        return
    statistic, df = found.misfit()
    if df and chdtrc(df, statistic) < MISFIT:
        yield Diagnostic(
            "no_label_shift",
            f"the predictions of unlabeled rows are no mixture of those of the labeled classes (p = "
            f"{chdtrc(df, statistic):.1g}): more has changed than the shares of the classes, or there is a class "
            "without labels. The interval is then not valid; Transport() is for populations that differ in covariates.",
            "warning",
        )
