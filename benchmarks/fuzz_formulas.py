"""Formulas that try to run something: none may, and every legitimate one must still be read.

python benchmarks/fuzz_formulas.py                      # 5,000 strings; writes benchmarks/fuzz_formulas.md

A string is grown at random from what gets out of a formula: attributes, calls, dunder names, subscripts,
comprehensions, lambdas, walrus, f-strings, text that closes the code around it. Every payload ends at a function that
notes that it was called, under a name of the builtins, of NumPy and of a Series. The control gives the same strings to
formulaic without the list.
"""

from __future__ import annotations

import argparse
import builtins
import contextlib
import random
import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from icl.inference import OLS

CANARY = "zz_fired"
LEGITIMATE = (
    "y ~ x", "y ~ x * z", "y ~ (x + z)**2", "y ~ x:z", "y ~ 0 + x", "y ~ x - 1", "y ~ 1", "y ~ g", "y ~ C(g)",
    "y ~ C(k)", "y ~ C(g, Treatment('b'))", "y ~ C(g, Treatment(reference='b'))", "y ~ C(g, Sum)", "y ~ C(g, Helmert)",
    "y ~ C(g, contr.sum)", 'y ~ C(g, contr.treatment("b"))', "y ~ C(g, contr.treatment(base='b'))", "y ~ C(g, Poly)",
    "y ~ C(g, levels=['a', 'b', 'c', 'd'])", "y ~ C(g, {'a-b': [1, -1, 0, 0]})", "y ~ C(g, contr.helmert)",
    "y ~ bs(x, df=4)", "y ~ bs(x, df=4) * g", "y ~ bs(x, knots=[2.0, 3.0], degree=2)", "y ~ 0 + cr(x, df=4)",
    "y ~ 0 + cs(x, df=4)", "y ~ 0 + cc(x, df=4)", "y ~ poly(x, degree=2)", "y ~ poly(x, 2)", "y ~ center(x)",
    "y ~ scale(x)", "y ~ standardize(x)", "y ~ np.log(x) + log(z)", "y ~ log1p(x)", "y ~ log2(x) + log10(z)",
    "y ~ sqrt(x)", "y ~ np.sqrt(x) + exp(-z)", "y ~ I(x**2)", "y ~ I(x > 2)", "y ~ I((x > 2) & (z < 3))", "y ~ {x**2}",
    "y ~ x + I(x / z)", "y ~ abs(x - 3)", "np.exp(y) ~ x", "np.log(x) ~ z", "y ~ `a b`", "y ~ np.log(`a b`)",
    "y ~ Q('a b')", "y ~ np.where(x > 2, x, 0)", "y ~ np.clip(x, 2, 4)", "y ~ np.power(x, 2)", "y ~ np.round(x, 1)",
    "y ~ I(2**x)", "y ~ np.sin(2 * np.pi * x)", "y ~ I(g == 'a')", "y ~ x + z + x:z + np.sin(x) + np.cos(z)",
    "np.log(y + 9) ~ x", "y ~ np.minimum(x, z)", "y ~ np.arctan2(x, z)", "y ~ x %in% g",
)  # fmt: skip


def make_table(n_rows: int = 40) -> pd.DataFrame:
    g = np.random.default_rng(0)
    table = pd.DataFrame({name: g.uniform(1, 5, n_rows) for name in ("y", "x", "z", "a b")})
    return table.assign(g=list("abcd") * (n_rows // 4), k=g.integers(0, 3, n_rows))


class Grower:
    """Expressions that end in a call of the canary."""

    def __init__(self, seed: int):
        self.draw = random.Random(seed)

    def formula(self) -> str:
        return self.draw.choice([
            "y ~ {0}", "y ~ x + {0}", "{0} ~ x", "y ~ I({0})", "y ~ {{{0}}}", "y ~ C({0})", "y ~ scale({0}) * g",
            "y ~ bs(x, df={0})", "y ~ C(g, levels={0})", "y ~ np.log({0})", "y ~ np.log(x, {0})", "y ~ C(g, {0})",
            "y ~ poly(x, {0})", "y ~ Q({0})", "y ~ [{0}]", "y ~ I(x) | {0}", "y ~ `a b` + {0}",
            "y ~ np.where({0}, x, z)",
            "y ~ scale(x, {1})", "y ~ bs(x, extrapolation={1})", "y ~ Q({1})", "y ~ center(x, {1})",
        ]).format(self.grown(self.draw.randint(0, 3)), self.closing_text())  # fmt: skip

    def payload(self) -> str:
        f = CANARY
        return self.draw.choice([
            f"{f}(x)", f"np.{f}(x)", f"x.{f}()", f"`{f}`(x)", f"builtins.{f}()", f"np.log.{f}(x)", f"`a b`.{f}()",
            f"__builtins__['{f}'](x)", f"__import__('builtins').{f}(x)", f"np.__dict__['{f}'](x)", f"eval('{f}(1)')",
            f"exec('{f}(1)')", f"getattr(np, '{f}')(x)", f"np.f2py.os.sys.modules['builtins'].{f}()", f"np.{f}",
            f"__FORMULAIC_CONTEXT__['{f}'](x)", f"vars(np)['{f}'](x)", f"globals()['{f}']()", f"x.map({f})",
            f"x.apply(np.{f})", f"x.pipe({f})", f"np.vectorize({f})(x)", f"np.apply_along_axis({f}, 0, x)",
            f"np.frompyfunc({f}, 1, 1)(x)", f"sorted(x, key={f})", f"list(map({f}, x))", f"I(x).{f}()", f"ｎｐ.{f}(x)",
            f"().__class__.__base__.__subclasses__()[0].__init__.__globals__['{f}']()", f"max(x, key={f})",
            f"lag({f}(x))", f"contr.{f}()", f"contr.__class__.__call__({f})", f"hashed(x, hash_func={f})",
        ])  # fmt: skip

    def grown(self, depth: int) -> str:
        inner = self.payload() if depth == 0 else self.grown(depth - 1)
        return self.draw.choice([
            "{}", "({})", "-{}", "x * {}", "I({})", "({}, x)[1]", "[{} for v in [1]][0]", "(lambda: {})()",
            "(q := {})", "f'{{{}}}'", "x if {} else z", "x and {}", "[*{}]", "np.exp({})", "abs({})", "x[{}]",
            "(lambda v: v)({})", "{{1: {}}}", "str({})", "({})**2", "x > {}", "sum([{} for v in [1]])", "lambda: {}",
        ]).format(inner)  # fmt: skip

    def closing_text(self) -> str:
        """Text that ends the string in which formulaic puts the name of a call."""
        spelled = "+".join(f"chr({ord(c)})" for c in CANARY)
        call = f"__builtins__[{spelled}]()" if self.draw.random() < 0.5 else f"{CANARY}()"
        inside = self.draw.choice([f'") + {call}#', f'" + {call} + "', f'"), {call})#', f'" if {call} else "'])
        return "'" + self.draw.choice(["", "a", "\\"]) + inside + "'"


@contextlib.contextmanager
def canary() -> Iterator[list]:
    """The function that payloads call, wherever they may look for it; yields its calls."""
    fired: list = []
    note = lambda *args, **options: fired.append(args) or 1.0
    places = (builtins, np, pd.Series)
    for place in places:
        setattr(place, CANARY, note)
    try:
        yield fired
    finally:
        for place in places:
            delattr(place, CANARY)


def try_formula(formula: str, table: pd.DataFrame) -> str:
    """ "read", "refused" (ValueError), or the class of another exception."""
    try:
        estimand = OLS(formula)
        estimand.outcome(table[[*dict.fromkeys(estimand.outcome_columns)]])
        estimand.design(table[[*dict.fromkeys(estimand.covariate_columns)]])
    except (ValueError, KeyError) as error:  # a column that is not there is looked for by `infer`
        return "refused" if isinstance(error, ValueError) else "no such column"
    except Exception as error:
        return type(error).__name__
    return "read"


def try_without_list(formula: str, table: pd.DataFrame) -> None:
    from formulaic import model_matrix

    with contextlib.suppress(Exception, RecursionError):
        model_matrix(formula, table)


def documented(root: Path) -> list[str]:
    """Formulas that stand in calls of the README, the pages and the examples."""
    pages = (page for page in (root / "docs").glob("**/*.md") if "/_" not in page.as_posix())  # not what is generated
    files = [root / "README.md", *pages, *root.glob("examples/*.py")]
    pattern = re.compile(
        r"(?:OLS|Logistic|Poisson|Multinomial)\(\"([^\"]*~[^\"]*)\"|\"(?:ols|logistic|poisson): ([^\"]*)\""
    )
    found = (m.group(1) or m.group(2) for file in files for m in pattern.finditer(file.read_text(encoding="utf-8")))
    return sorted(set(found))


def fuzz(n: int, seed: int) -> dict:
    grower, table, outcomes, slowest, executed = Grower(seed), make_table(), Counter(), 0.0, []
    formulas: dict[str, None] = {}
    while len(formulas) < n:
        formulas[grower.formula()] = None
    before = table.copy()
    with canary() as fired, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for formula in formulas:
            start = time.perf_counter()
            outcomes[try_formula(formula, table)] += 1
            slowest = max(slowest, time.perf_counter() - start)
            if fired:
                executed.append(formula)
                fired.clear()
        without = 0
        for formula in formulas:
            try_without_list(formula, table)
            without += bool(fired)
            fired.clear()
    assert table.equals(before)
    return {"n": n, "executed": executed, "without": without, "outcomes": outcomes,
            "slowest": slowest}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    found = fuzz(options.n, options.seed)
    legitimate = [*LEGITIMATE, *documented(Path(__file__).parents[1])]
    from icl.inference.estimands.formula_language import check_formula

    table, refused = make_table(), []
    for formula in legitimate:
        try:
            check_formula(formula)
            assert formula not in LEGITIMATE or try_formula(formula, table) == "read", formula
        except ValueError:
            refused.append(formula)
    outcomes = ", ".join(f"{name} {count:,}" for name, count in found["outcomes"].most_common())
    lines = [
        "# Formulas that try to run something", "",
        f"`python benchmarks/fuzz_formulas.py --n {options.n} --seed {options.seed}`", "",
        "| different strings | executed | executed by formulaic without the list | slowest answer |",
        "|---|---|---|---|",
        f"| {found['n']:,} | {len(found['executed'])} | {found['without']:,} | "
        f"{found['slowest']:.2f} s |", "",
        f"Answers: {outcomes}. Legitimate formulas read: {len(legitimate) - len(refused)} of {len(legitimate)}, the "
        "documented ones among them.", "",
    ]  # fmt: skip
    options.output.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join([*lines, *found["executed"], *refused]))
    sys.exit(bool(found["executed"] or refused))


if __name__ == "__main__":
    main()
