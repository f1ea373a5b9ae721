"""What a formula may say: names of columns, arithmetic, comparisons, and calls of the functions listed here.

formulaic evaluates the calls of a formula as Python, with NumPy and the builtins at hand: `np.load`, attribute chains
and `__import__` included. A formula comes from command lines and shared configurations, so what is not listed is
refused, on the syntax tree and before anything is evaluated. The caller's own functions come as `functions={"f": f}`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

# Written plainly or as np.NAME; the argument after the last of them would be an array to write into.
_OF_ONE = (
    "log", "log10", "log2", "log1p", "exp", "exp2", "expm1", "sqrt", "cbrt", "square", "abs", "absolute", "fabs",
    "sign", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh",
    "floor", "ceil", "trunc", "rint", "deg2rad", "rad2deg", "isnan", "isfinite", "logical_not",
)  # fmt: skip
_OF_TWO = (
    "power", "minimum", "maximum", "fmin", "fmax", "hypot", "arctan2", "mod", "floor_divide", "round", "logical_and",
    "logical_or", "logical_xor",
)  # fmt: skip
_ARRAY_FUNCTIONS = dict.fromkeys(_OF_ONE, 1) | dict.fromkeys(_OF_TWO, 2) | {"where": 3, "clip": 3}
_NP_ONLY = {"round"}  # the plain name is Python's own, of which a formula makes no use
_NUMBERS = {"pi", "e"}
# formulaic's own, under the names it gives them.
_TRANSFORMS = {"I", "C", "Q", "bs", "cr", "cs", "cc", "poly", "center", "scale", "standardize"}
_CONTRASTS = {"Treatment", "Sum", "Poly", "Helmert", "Diff"}
_CONTR = {"treatment", "sum", "poly", "helmert", "diff", "SAS", "custom"}
_SIZES = {"df", "degree"}  # a design of that many columns
_MOST_COLUMNS, _LARGEST_POWER, _LONGEST = 1_000, 64, 20_000
_OPERATORS = (
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.BitAnd, ast.BitOr, ast.BitXor,
    ast.UAdd, ast.USub, ast.Invert, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE,
)  # fmt: skip
# A quote in a string gets out of the code that formulaic writes around the call.
_UNSAFE_TEXT = re.compile(r"[\"'\\\x00-\x1f\x7f]")
_ALLOWED = (
    "A formula holds names of columns (in backticks if need be), arithmetic, comparisons, C(...), bs, cr, cs, cc, "
    "poly, center, scale, standardize, and log, exp, sqrt, abs ... plainly or as np.log"
)


def check_formula(formula: str, functions: Mapping[str, Callable] | None = None) -> None:
    """Refuse a formula that says more than names, arithmetic and the functions of the list or of `functions`.

    Raises:
        ValueError: naming what is refused.
    """
    from formulaic.errors import FormulaSyntaxError
    from formulaic.parser.algos.tokenize import tokenize

    if len(formula) > _LONGEST:
        raise ValueError(f"a formula of {len(formula):,} characters is too long; at most {_LONGEST:,} are read.")
    try:
        tokens = [token for token in tokenize(formula) if token.kind and token.kind.value == "python"]
    except FormulaSyntaxError as reason:
        raise unreadable(formula, reason) from reason
    for token in tokens:
        check_expression(token.token, formula, functions)


def unreadable(formula: str, reason: BaseException) -> ValueError:
    """The error for a formula that the parser does not take."""
    said = f"the formula {formula!r} cannot be read: {plain(reason)}"
    hint = "" if "`" in formula else " A name with spaces or signs stands in backticks, as in `cost (EUR)`."
    if re.search(r"[<>]|[=!]=", formula) and "I(" not in formula:
        hint = " A comparison stands in I(...), as in I(age > 30) or I(city == 'Oslo')."
    return ValueError(said + ("" if said.endswith(".") else ".") + hint)


def check_expression(code: str, formula: str, functions: Mapping[str, Callable] | None = None) -> None:
    """As `check_formula`, for one of the calls in it."""
    try:
        tree = _tree(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as reason:
        raise ValueError(f"the formula {formula!r} cannot be read: {code!r} is no call or arithmetic.") from reason
    refused = _Check(functions or {}).why_refused(tree)
    if refused:
        raise ValueError(
            f"the formula {formula!r} holds {refused} in {code!r}, which is not allowed. {_ALLOWED}; functions of your "
            'own are passed in Python, as OLS("y ~ f(x)", functions={"f": f}).'
        )


def columns_of(code: str) -> set[str]:
    """Names that a checked call reads as columns."""
    from formulaic.utils.code import sanitize_variable_names

    aliases: dict[str, str] = {}
    tree = ast.parse(sanitize_variable_names(code, {}, aliases), mode="eval")
    found = set()
    for node in _walk(tree.body):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Q":
            found.add(ast.literal_eval(node.args[0]))
        elif isinstance(node, ast.Name):
            found.add(aliases.get(node.id, node.id))
    return found


def counted_columns(code: str, own: Iterable[str] = ()) -> set[str]:
    """Of those, the names that are counted with: outside of comparisons, of `C(...)` and of calls of own functions."""
    from formulaic.utils.code import sanitize_variable_names

    aliases: dict[str, str] = {}
    todo = [ast.parse(sanitize_variable_names(code, {}, aliases), mode="eval").body]
    apart, found = {"C", *own}, set()
    while todo:
        node = todo.pop()
        is_apart = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in apart
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Q":
            found.add(ast.literal_eval(node.args[0]))
        elif isinstance(node, ast.Name):
            found.add(aliases.get(node.id, node.id))
        elif not is_apart and not isinstance(node, ast.Compare):
            todo += ast.iter_child_nodes(node)
    return found


def function_context(functions: Mapping[str, Callable] | None = None) -> dict[str, Any]:
    """The functions of the list that formulaic has not, and the caller's."""
    plainly = {name: getattr(np, name) for name in _ARRAY_FUNCTIONS if name not in _NP_ONLY}
    return plainly | dict(functions or {})


def check_functions(functions: Mapping[str, Callable] | None) -> None:
    for name, function in (functions or {}).items():
        if not isinstance(name, str) or not name.isidentifier() or name.startswith("__") or not callable(function):
            raise ValueError(f"functions takes names and functions, such as {{'f': f}}; got {name!r}: {function!r}.")


def plain(reason: BaseException) -> str:
    """The first paragraph of an error, without the codes that colour a terminal."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(reason)).split("\n\n")[0].split())


def _tree(code: str) -> ast.expr:
    """The syntax tree that formulaic will evaluate, with columns in backticks as identifiers."""
    from formulaic.utils.code import sanitize_variable_names

    for name in re.findall(r"`([^`]*)`", code):
        if _UNSAFE_TEXT.search(name):
            raise ValueError(f"column {name!r} cannot stand inside a call")
    return ast.parse(sanitize_variable_names(code, {}, {}), mode="eval").body


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes below, without those that name a function, a module or a contrast."""
    yield node
    if isinstance(node, ast.Attribute):
        return
    children = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.Call):
        is_factor = isinstance(node.func, ast.Name) and node.func.id == "C"
        children = [*node.args, *(keyword.value for keyword in node.keywords)]
        if is_factor:
            children = [child for child in children if not (isinstance(child, ast.Name) and child.id in _CONTRASTS)]
    for child in children:
        yield from _walk(child)


class _Check:
    """Walks a syntax tree; every method answers why something is refused, "" if it is not."""

    def __init__(self, functions: Mapping[str, Callable]):
        self.functions = functions

    def why_refused(self, node: ast.AST) -> str:
        if isinstance(node, ast.Name):
            return f"the name {node.id}" if node.id.startswith("__") else ""
        if isinstance(node, ast.Constant):
            return self._constant(node.value)
        if isinstance(node, ast.BinOp | ast.UnaryOp | ast.Compare):
            return self._operation(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        return _words(node)

    def _constant(self, value: Any) -> str:
        if isinstance(value, str):
            return "text with quotes, backslashes or control characters" if _UNSAFE_TEXT.search(value) else ""
        if isinstance(value, bool | float) or value is None:
            return ""
        if isinstance(value, int):
            return "" if abs(value) < 2**63 else "a whole number beyond 64 bits"
        return f"a value of type {type(value).__name__}"

    def _operation(self, node: ast.BinOp | ast.UnaryOp | ast.Compare) -> str:
        operators = node.ops if isinstance(node, ast.Compare) else [node.op]
        for operator in operators:
            if not isinstance(operator, _OPERATORS):
                return f"the operator {_words(operator)}"
        if isinstance(node, ast.UnaryOp):
            operands = [node.operand]
        elif isinstance(node, ast.BinOp):
            operands = [node.left, node.right]
            if isinstance(node.op, ast.Pow) and (why := self._power(node.left, node.right)):
                return why
        else:
            operands = [node.left, *node.comparators]
        for operand in operands:
            is_text = isinstance(operand, ast.Constant) and isinstance(operand.value, str)
            if is_text and not isinstance(node, ast.Compare):
                return "arithmetic with text"
            if why := self.why_refused(operand):
                return why
        return ""

    def _power(self, base: ast.expr, exponent: ast.expr) -> str:
        """Whole numbers of unlimited length take unlimited time."""
        if isinstance(exponent, ast.UnaryOp) and isinstance(exponent.op, ast.USub | ast.UAdd):
            exponent = exponent.operand
        if isinstance(exponent, ast.Constant):
            if not isinstance(exponent.value, int | float) or abs(exponent.value) > _LARGEST_POWER:
                return f"a power beyond {_LARGEST_POWER}"
        elif not _has_column(exponent):
            return "a power that is computed"
        if not _has_column(base) and not isinstance(base, ast.Constant):
            return "a power of a computed number"
        return ""

    def _attribute(self, node: ast.Attribute) -> str:
        module = node.value.id if isinstance(node.value, ast.Name) else ""
        if (module == "np" and node.attr in _NUMBERS) or (module == "contr" and node.attr in _CONTR):
            return ""
        return f"the attribute {ast.unparse(node)}"

    def _call(self, node: ast.Call) -> str:
        function, args = node.func, node.args
        name = function.id if isinstance(function, ast.Name) else ""
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            module, attribute = function.value.id, function.attr
            if module == "np" and attribute in _ARRAY_FUNCTIONS:
                name = attribute
            elif not (module == "contr" and attribute in _CONTR):
                return f"a call of {ast.unparse(function)}"
        elif not name or name in _NP_ONLY:
            return f"a call of {ast.unparse(function)}"
        own = name in self.functions and isinstance(function, ast.Name)
        if name and not own:
            if name not in _ARRAY_FUNCTIONS.keys() | _TRANSFORMS | _CONTRASTS:
                return f"a call of {name}"
            if name in _ARRAY_FUNCTIONS and (node.keywords or len(args) > _ARRAY_FUNCTIONS[name]):
                return f"{name} with more than its {_ARRAY_FUNCTIONS[name]} argument(s)"
            if name == "power" and len(args) == 2 and (why := self._power(*args)):
                return why
            if name == "Q" and not (len(args) == 1 and isinstance(args[0], ast.Constant) and not node.keywords):
                return "Q without the name of one column"
        for keyword in node.keywords:
            if keyword.arg is None or keyword.arg.startswith("_"):
                return f"the argument {keyword.arg or '**'}"
            if keyword.arg in _SIZES and _is_large(keyword.value):
                return f"{keyword.arg} beyond {_MOST_COLUMNS:,}"
        if name in _TRANSFORMS - {"I", "C", "Q"} and any(_is_large(arg) for arg in args[1:]):
            return f"{name} with a number beyond {_MOST_COLUMNS:,}"
        return next(filter(None, map(self._argument, [*args, *(keyword.value for keyword in node.keywords)])), "")

    def _argument(self, node: ast.expr) -> str:
        """Arguments may also be lists and dicts of plain values."""
        if isinstance(node, ast.List | ast.Tuple):
            return next(filter(None, map(self._argument, node.elts)), "")
        if isinstance(node, ast.Dict):
            if not all(isinstance(key, ast.Constant) for key in node.keys):
                return "a dict with computed keys"
            return next(filter(None, map(self._argument, [*filter(None, node.keys), *node.values])), "")
        return self.why_refused(node)


def _has_column(node: ast.expr) -> bool:
    return any(isinstance(part, ast.Name) for part in _walk(node))


def _is_large(node: ast.expr) -> bool:
    """Anything but a small whole number where one is expected; lists, such as knots, are no numbers."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, int | float) and abs(node.value) > _MOST_COLUMNS
    return isinstance(node, ast.BinOp | ast.UnaryOp | ast.Call)


def _words(node: ast.AST) -> str:
    words = {
        "Lambda": "a lambda", "Subscript": "a subscript", "NamedExpr": "an assignment", "JoinedStr": "an f-string",
        "ListComp": "a comprehension", "SetComp": "a comprehension", "DictComp": "a comprehension",
        "GeneratorExp": "a comprehension", "IfExp": "a condition", "Starred": "the argument *", "BoolOp":
        "'and' or 'or' (write & and |)", "Not": "'not' (write ~)", "In": "'in'", "NotIn": "'not in'",
    }  # fmt: skip
    kind = type(node).__name__
    return words.get(kind, f"a {kind}")
