"""Options of the estimators, checked."""

from __future__ import annotations


def refuse_fit_arguments(estimator, given: dict) -> None:
    """Raise for what fit does not take; `sample_weight`, which many expect, with what to do instead.

    It is no named argument of fit: scikit-learn would read that as support.
    """
    if not given:
        return
    name = type(estimator).__name__
    if "sample_weight" in given:
        raise TypeError(
            f"{name}.fit does not support sample_weight: the model sees every context row alike. Leave out rows of "
            f"weight 0 and repeat others in proportion (X.loc[X.index.repeat(weights)] for whole numbers)."
        )
    raise TypeError(f"{name}.fit takes X and y, got also {', '.join(map(repr, given))}.")
