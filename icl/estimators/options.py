"""Options of the estimators, checked."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator

from icl.estimators.quality import QUALITIES
from icl.prediction.companions.columns import KINDS
from icl.prediction.forward import check_fit_mode

_MOST = 10**9
"""Of members and rows; more is a slip of the pen, and overflows."""
_MOST_QUERIES = 10**12  # a folder of files may hold billions of rows to predict


def check_params(estimator, weighted: bool = False) -> None:
    """Raises ValueError for the first parameter of an estimator that is out of range, saying what it may be.

    `weighted`: whether rows have weights.
    """
    for name, least in (("n_estimators", 1), ("max_rows", 2)):
        value = getattr(estimator, name)
        if isinstance(value, str) and value == "auto":
            continue
        if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least} or 'auto', got {value!r}.")
        if int(value) > _MOST:
            raise ValueError(f"{name} must be {_MOST:,} at most, got {value:,}.")
    if not isinstance(estimator.quality, str) or estimator.quality not in QUALITIES:
        raise ValueError(f"quality must be one of {', '.join(map(repr, QUALITIES))}, got {estimator.quality!r}.")
    for name, or_auto in (("softmax_temperature", " or 'auto'"), ("memory_gb", "")):
        value = getattr(estimator, name)
        if or_auto and isinstance(value, str) and value == "auto":
            continue
        if not isinstance(value, Real) or isinstance(value, bool) or not 0 < float(value) < np.inf:
            raise ValueError(f"{name} must be a positive number{or_auto}, got {value!r}.")
    if isinstance(estimator.checkpoint, type):
        raise ValueError(
            f"checkpoint got the class {estimator.checkpoint.__name__}; pass a name, a release folder, or an instance."
        )
    device_of(estimator.device)
    check_fit_mode(estimator.fit_mode)
    _check_finetune(estimator)
    for name in ("calibrate", "fast_queries"):
        value = getattr(estimator, name)
        if not isinstance(value, bool | np.bool_):
            raise ValueError(f"{name} must be True or False, got {value!r}.")
    _check_companions(estimator)
    _check_time_budget(estimator)
    _check_fast_queries(estimator)
    if weighted and estimator.finetune is not False:
        raise ValueError(
            "sample_weight and finetune exclude each other: fine-tuning takes every labelled row alike. Leave out one "
            "of them."
        )
    seed = estimator.random_state
    if not (seed is None or isinstance(seed, np.random.RandomState) or (isinstance(seed, Integral) and int(seed) >= 0)):
        raise ValueError(
            f"random_state must be a whole number from 0 on, a numpy RandomState, or None for fresh members at "
            f"every fit, got {seed!r}."
        )


def check_sizes(sizes: dict[str, Any]) -> None:
    """Raises ValueError for the first size of a table that is no whole number of at least 1."""
    for name, value in sizes.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or not 1 <= int(value) <= _MOST_QUERIES:
            raise ValueError(f"{name} must be a whole number from 1 to {_MOST_QUERIES:,}, got {value!r}.")


def companions_of(estimator, n_rows: int, n_classes: int | None) -> tuple:
    """The companions of a context of so many rows and classes; `stacking` of earlier versions still counts."""
    if estimator.stacking is not None:
        return ("ridge",) if estimator.stacking else ()
    if isinstance(estimator.companions, str):
        return QUALITIES[estimator.quality].companions(n_rows, n_classes)
    return tuple(estimator.companions)


def _check_companions(estimator) -> None:
    if estimator.stacking is not None:
        if not isinstance(estimator.stacking, bool | np.bool_):
            raise ValueError(f"stacking must be True or False, got {estimator.stacking!r}; better use companions.")
        said = f"companions={('ridge',) if estimator.stacking else ()}"
        warnings.warn(f"stacking is deprecated: write {said} instead.", FutureWarning, stacklevel=4)
    known = ", ".join(map(repr, KINDS))
    wanted = f"companions must be 'auto' or a list of {known} or scikit-learn estimators; () is the network alone"
    if isinstance(estimator.companions, str) and estimator.companions == "auto":
        return
    if isinstance(estimator.companions, str) or not isinstance(estimator.companions, list | tuple):
        raise ValueError(f"{wanted}. Got {estimator.companions!r}.")
    for companion in estimator.companions:
        usable = companion in KINDS if isinstance(companion, str) else isinstance(companion, BaseEstimator)
        if not usable:
            raise ValueError(f"{wanted}. Got {companion!r} among them.")
    names = [companion for companion in estimator.companions if isinstance(companion, str)]
    if len(set(names)) < len(names):
        raise ValueError(f"companions must name each kind once, got {estimator.companions!r}.")


def _check_time_budget(estimator) -> None:
    budget = estimator.time_budget
    if budget is None:
        return
    parts = tuple(budget) if isinstance(budget, tuple | list) else (budget, 1)
    # A third part is the estimator's own: fits that share the budget.
    seconds: Any
    seconds, n_queries, n_fits = parts if len(parts) == 3 else (*parts, 1) if len(parts) == 2 else (None, 1, 1)
    is_number = isinstance(seconds, Real) and not isinstance(seconds, bool)
    counts = all(isinstance(n, Integral) and 1 <= int(n) <= _MOST for n in (n_queries, n_fits))
    if not is_number or not counts or not 0 < seconds < 1e12:
        raise ValueError(
            f"time_budget must be seconds for fit and a prediction of 1,000 rows, or (seconds, rows) for another "
            f"number of rows, such as 30 or (30, 100000); got {parts[:2] if len(parts) == 3 else budget!r}."
        )
    if estimator.finetune is not False:
        raise ValueError("time_budget and finetune exclude each other: training is not planned. Leave out one of them.")


def _check_finetune(estimator) -> None:
    if estimator.finetune is True or estimator.finetune is False:
        return
    from icl.finetuning.config import FinetuneConfig

    if not isinstance(estimator.finetune, FinetuneConfig):
        raise ValueError(f"finetune must be True, False or an icl.FinetuneConfig, got {estimator.finetune!r}.")


def _check_fast_queries(estimator) -> None:
    if estimator.fast_queries and isinstance(estimator.checkpoint, torch.nn.Module):
        raise ValueError(
            f"fast_queries=True needs a release, whose reader lies beside its weights; got a "
            f"{type(estimator.checkpoint).__name__} in memory. Save it with icl.save_release and distill a reader "
            f"(`python train.py distill`), or use fast_queries=False."
        )
    if estimator.fast_queries and estimator.finetune is not False:
        raise ValueError("fast_queries=True and finetune exclude each other: a tuned model has no reader.")


def device_of(asked) -> str | torch.device:
    """The device of the option `device`: "auto" is a CUDA device if there is one, else the CPU."""
    if isinstance(asked, str) and asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f'device must be "auto" or a torch device such as "cpu" or "cuda:0", got {asked!r}.'
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f'device={asked!r} was asked for, but PyTorch sees no CUDA device here. Use device="auto", which takes one '
            f'where there is one, or "cpu".'
        )
    return asked
