"""Linear combinations of parameters, and what they are called with."""

from __future__ import annotations

from typing import Any

import numpy as np


def read_contrasts(contrasts: Any, terms: list[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Q names, (Q, P) coefficients and (Q,) null values.

    Args:
        contrasts: {"name": {"term": coefficient, ...}, ...}, a (Q, P) matrix, or text such as "x1 - x2 = 0, x1 = 1".
        terms: P names.
    Raises:
        ValueError: for unknown terms, a wrong shape, or text that is no linear combination.
    """
    if isinstance(contrasts, str):
        return _from_text(contrasts, terms)
    if isinstance(contrasts, dict):
        unknown = [t for row in contrasts.values() for t in row if t not in terms]
        if unknown:
            raise ValueError(f"contrasts name {unknown}, which are no terms; the terms are {terms}.")
        R = np.array([[row.get(t, 0.0) for t in terms] for row in contrasts.values()], dtype=float)
        return list(contrasts), R, np.zeros(len(R))
    R = np.atleast_2d(np.asarray(contrasts, dtype=float))
    if R.shape[1] != len(terms):
        raise ValueError(f"contrasts have shape {R.shape}; expected {len(terms)} columns, one for each term.")
    return [f"contrast {i + 1}" for i in range(len(R))], R, np.zeros(len(R))


def pairs(terms: list[str], versus: str | None) -> dict[str, dict[str, float]]:
    """Differences between terms as contrasts: every pair, or each less `versus`."""
    if len(terms) < 2:
        raise ValueError(f"there is only one term, {terms[0]!r}; nothing to compare it with.")
    if versus is not None and versus not in terms:
        raise ValueError(f"versus got {versus!r}; the terms are {terms}.")
    chosen = [(a, b) for i, b in enumerate(terms) for a in terms[i + 1 :]]
    if versus is not None:
        chosen = [(a, versus) for a in terms if a != versus]
    return {f"{a} - {b}": {a: 1.0, b: -1.0} for a, b in chosen}


def _from_text(text: str, terms: list[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    from formulaic.errors import FormulaicError
    from formulaic.utils.constraints import LinearConstraints

    try:
        found = LinearConstraints.from_spec(text, variable_names=terms)
        if not len(found.constraint_matrix):
            raise ValueError("nothing to test")
    except (FormulaicError, ArithmeticError, LookupError, ValueError, TypeError, AttributeError):
        raise ValueError(
            f"contrasts got {text!r}, which is no linear combination of the terms {terms}; write for instance "
            "'x1 - x2 = 0', with a name such as C(a)[T.b] between backticks, or pass a matrix."
        ) from None
    names = [part.strip() for part in text.split(",")]
    R = np.atleast_2d(found.constraint_matrix)
    return names if len(names) == len(R) else [f"contrast {i + 1}" for i in range(len(R))], R, found.constraint_values
