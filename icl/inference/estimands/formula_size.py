"""How many terms and columns a formula makes, counted before they are made."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from icl.inference.estimands.formula_language import columns_of

if TYPE_CHECKING:
    import pandas as pd

MOST_TERMS, MOST_COLUMNS = 1_000, 5_000
_MOST_PRODUCTS = 100_000  # formulaic multiplies a power out, copies included: 2 terms to the 40th are 10^12 products
_BEYOND = 10**12  # not counted further


def check_terms(formula: str) -> None:
    """Refuse a formula of too many terms, on its syntax tree and before formulaic multiplies them out.

    Raises:
        ValueError: with the number of terms (of which a category makes a column for each level).
    """
    from formulaic.errors import FormulaicError
    from formulaic.parser import DefaultFormulaParser

    try:
        tree = DefaultFormulaParser().get_ast(formula, context={})
    except (FormulaicError, SyntaxError, RecursionError):
        return  # formulaic says so itself when it is asked for the terms
    n_terms = _count(tree, formula)
    if n_terms > MOST_TERMS:
        shown = formula if len(formula) <= 200 else f"{formula[:200]} ..."
        many = f"{n_terms:,}" if n_terms < _BEYOND else f"more than {_BEYOND:,}"
        raise ValueError(
            f"the formula {shown!r} makes {many} terms, each a column or more; at most {MOST_TERMS:,} are taken. "
            "Name the interactions that you mean, or lower the power."
        )


def check_columns(formula: str, terms: Iterable[Any], frame: pd.DataFrame) -> None:
    """Refuse a formula whose categories make too many columns of these rows.

    Raises:
        ValueError: with the number of columns and the term that makes most of them.
    """
    widths = {str(term): math.prod(_width(factor, frame) for factor in term.factors) for term in terms}
    n_columns = sum(widths.values())
    if n_columns > MOST_COLUMNS:
        widest = max(widths, key=lambda term: widths[term])
        raise ValueError(
            f"the formula {formula!r} makes some {n_columns:,} columns of these rows, {widths[widest]:,} of them by "
            f"{widest}; at most {MOST_COLUMNS:,} are taken. Merge levels, or leave the term out."
        )


def _width(factor: Any, frame: pd.DataFrame) -> int:
    """Levels of a category; what else a factor makes is bounded where the formula is read."""
    import pandas as pd

    kind, code = factor.eval_method.value, factor.expr
    if kind == "lookup" and code in frame:
        return 1 if pd.api.types.is_numeric_dtype(frame[code]) else max(int(frame[code].nunique()), 1)
    if kind == "python" and code.startswith("C("):
        return math.prod(max(int(frame[name].nunique()), 1) for name in columns_of(code) if name in frame)
    return 1


def _count(tree: Any, formula: str) -> int:
    """Terms that a syntax tree makes at most, copies of one counted twice where terms are added or multiplied."""
    counts: list[int] = []
    todo: list[tuple[Any, bool]] = [(tree, False)]  # a long sum nests too deeply for recursion
    while todo:
        node, ready = todo.pop()
        children = list(getattr(node, "args", ()))
        if not children:
            counts.append(1)
        elif not ready:
            todo += [(node, True), *((child, False) for child in reversed(children))]
        else:
            given = counts[-len(children) :]
            del counts[-len(children) :]
            counts.append(min(_combine(str(node.operator.symbol), given, children, formula), _BEYOND))
    return counts[0]


def _combine(operator: str, given: list[int], children: list[Any], formula: str) -> int:
    if len(given) == 1:
        return given[0]
    left, right = given
    if operator == "**":
        power = getattr(children[1], "token", "")
        return _power(left, int(power[:12]), formula) if power.isdecimal() else left
    if operator == ":":
        return left * right
    if operator == "*":
        return left + right + left * right
    if operator == "~":
        return max(left, right)
    return left if operator == "-" else left + right


def _power(n_terms: int, power: int, formula: str) -> int:
    """Products of at most `power` of the terms, each taken once."""
    made = 0
    for k in range(1, min(power, n_terms) + 1):
        made += math.comb(n_terms, k)
        if made > _BEYOND:
            break
    too_many = power * math.log(max(n_terms, 1)) > math.log(_MOST_PRODUCTS)
    if made <= MOST_TERMS and (too_many or power > MOST_TERMS):  # one term is multiplied by itself `power` times
        raise ValueError(
            f"the formula {formula!r} takes {n_terms} terms to the power {power}; products hold each term once, so "
            f"write a power of at most {n_terms}."
        )
    return made
