"""Constraints between columns: "start <= end", "height > 0 and weight / height < 3", or a function of the rows.

An expression may hold names of columns (in backticks if they are no identifiers), numbers, text, arithmetic,
comparisons, `and`, `or`, `not`: nothing is called and nothing is looked up. As a CHECK of a database, a constraint is
broken only where it is known to be false: a missing cell satisfies it.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

_ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
_COMPARISONS = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
_LONGEST = 1_000


class Constraint:
    """One constraint on rows of a table.

    Args:
        given: an expression, or a function of a DataFrame that returns a bool for each row.
        columns: of the table.
        is_strict: whether a row must be known to satisfy it, as where rows are chosen by it.
    Raises:
        ValueError: for what is no expression of this kind, or names other columns.
    """

    def __init__(
        self, given: str | Callable[[pd.DataFrame], Any], columns: Sequence[Hashable], is_strict: bool = False
    ):
        self.given, self._columns, self._is_strict = given, list(columns), is_strict
        if callable(given):
            self._tree = None
            return
        if not isinstance(given, str) or len(given) > _LONGEST:
            raise ValueError(f"a constraint is an expression such as 'start <= end', or a function; got {given!r}.")
        self._names: dict[str, Hashable] = {str(name): name for name in columns}
        quoted = re.findall(r"`([^`]+)`", given)
        text = given
        for k, name in enumerate(quoted):
            self._names[f"_quoted_{k}"] = self._named(name)
            text = text.replace(f"`{name}`", f"_quoted_{k}")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError(f"constraint {given!r} cannot be read ({error}); write it as 'start <= end'.") from error
        self._check(self._tree)

    def holds(self, rows: pd.DataFrame) -> np.ndarray:
        """(n,) bool: False where the constraint is broken."""
        if self._tree is None:
            assert callable(self.given)
            found = np.asarray(self.given(rows))
            if found.shape != (len(rows),) or found.dtype.kind not in "bO":
                raise ValueError(f"the constraint must return a bool for each of {len(rows)} rows, got {found.shape}.")
            return np.asarray(pd.Series(found).fillna(not self._is_strict), dtype=bool)
        truth, known = self._truth(self._tree, rows)
        return truth & known if self._is_strict else truth | ~known

    def __str__(self) -> str:
        return str(self.given) if self._tree is not None else getattr(self.given, "__name__", "a function")

    def _named(self, name: str) -> Hashable:
        if name not in self._names:
            raise ValueError(
                f"constraint {self.given!r} names {name!r}; the table has {list(map(str, self._columns[:12]))}."
            )
        return self._names[name]

    def _check(self, node: ast.expr) -> None:
        if isinstance(node, ast.BoolOp):
            parts = list(node.values)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            parts = [node.operand]
        elif isinstance(node, ast.Compare) and all(type(op) in _COMPARISONS for op in node.ops):
            for part in (node.left, *node.comparators):
                self._check_value(part)
            return
        else:
            raise ValueError(
                f"constraint {self.given!r} must compare columns, as in 'start <= end'; joined by and, or, not."
            )
        for part in parts:
            self._check(part)

    def _check_value(self, node: ast.expr) -> None:
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            self._check_value(node.left)
            self._check_value(node.right)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            self._check_value(node.operand)
        elif isinstance(node, ast.Name):
            self._named(node.id)
        elif not (isinstance(node, ast.Constant) and isinstance(node.value, int | float | str | bool)):
            raise ValueError(
                f"constraint {self.given!r} holds {ast.unparse(node)!r}; columns, numbers, text and + - * / only."
            )

    def _truth(self, node: ast.AST, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Whether it is true, and whether that is known."""
        if isinstance(node, ast.BoolOp):
            found = [self._truth(part, rows) for part in node.values]
            decides = isinstance(node.op, ast.Or)  # what one part must be for the others not to matter
            decided = np.any([known & (truth == decides) for truth, known in found], axis=0)
            truth = decided if decides else ~decided
            return truth, decided | np.all([known for _, known in found], axis=0)
        if isinstance(node, ast.UnaryOp):
            truth, known = self._truth(node.operand, rows)
            return ~truth, known
        assert isinstance(node, ast.Compare)
        values = [self._value(part, rows) for part in (node.left, *node.comparators)]
        truth = np.ones(len(rows), dtype=bool)
        known = np.all([~np.asarray(pd.isna(value)) | np.zeros(len(rows), bool) for value in values], axis=0)
        for op, left, right in zip(node.ops, values, values[1:]):
            try:
                sides = _by_place(_at(left, known), _at(right, known))
                truth[known] &= np.asarray(_COMPARISONS[type(op)](*sides), dtype=bool)
            except TypeError as error:
                raise ValueError(
                    f"constraint {self.given!r} compares what has no order between them ({error}); compare numbers "
                    f"with numbers, text with text."
                ) from error
        return truth & known, known

    def _value(self, node: ast.AST, rows: pd.DataFrame) -> Any:
        if isinstance(node, ast.BinOp | ast.UnaryOp):
            try:
                if isinstance(node, ast.UnaryOp):
                    return -self._value(node.operand, rows)
                return _ARITHMETIC[type(node.op)](self._value(node.left, rows), self._value(node.right, rows))
            except TypeError as error:
                raise ValueError(f"constraint {self.given!r} computes with what is no number ({error}).") from error
        if isinstance(node, ast.Name):
            cells = rows[self._names[node.id]]
            is_unordered = isinstance(cells.dtype, pd.CategoricalDtype) and not cells.dtype.ordered
            return cells.astype(object) if is_unordered else cells
        assert isinstance(node, ast.Constant)
        return node.value


def _by_place(left: Any, right: Any) -> tuple[Any, Any]:
    """Both sides of a comparison; where one is of ordered levels, both as places in their order, not as text."""
    dtypes = [getattr(side, "dtype", None) for side in (left, right)]
    ordered = [dtype for dtype in dtypes if isinstance(dtype, pd.CategoricalDtype)]
    if not ordered:
        return left, right
    place = {level: k for k, level in enumerate(ordered[0].categories)}

    def placed(side: Any) -> Any:
        cells = list(side) if isinstance(side, pd.Series) else [side]
        if unknown := [cell for cell in cells if cell not in place]:
            raise TypeError(f"{unknown[0]!r} is none of the levels {list(place)}")
        return np.array([place[cell] for cell in cells])

    return placed(left), placed(right)


def _at(value: Any, known: np.ndarray) -> Any:
    return value[known] if isinstance(value, pd.Series) else value


def read_constraints(constraints: Any, table: pd.DataFrame) -> list[Constraint]:
    """Constraints, each of which the rows of the table satisfy.

    Raises:
        ValueError: for one that they break: no generator of such rows can be asked to keep it.
    """
    if isinstance(constraints, str) or callable(constraints):
        constraints = [constraints]
    if not isinstance(constraints, Iterable):
        raise ValueError(f"constraints got {constraints!r}; pass expressions such as 'start <= end', or functions.")
    found = [Constraint(given, list(table.columns)) for given in constraints]
    for constraint in found:
        broken = int((~constraint.holds(table)).sum())
        if broken:
            raise ValueError(
                f"constraint {constraint} is broken by {broken} of the {len(table)} rows of the table itself. Correct "
                f"these rows, or drop the constraint."
            )
    return found
