"""A formula runs nothing but arithmetic and the functions of the list, and says what it always said."""

import math
import time

import numpy as np
import pandas as pd
import pytest

from benchmarks.fuzz_formulas import CANARY, LEGITIMATE, Grower, canary, documented, fuzz, make_table, try_formula
from icl.commands.main import main
from icl.inference import OLS, infer
from icl.inference.estimands.formula_language import check_formula


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_hostile_string_runs_and_the_strings_are_hostile():
    found = fuzz(300, seed=1)
    assert found["executed"] == [] and found["outcomes"].keys() <= {"refused", "no such column", "read"}
    assert found["without"] > 50  # given to formulaic as they are, they run


@pytest.mark.parametrize("formula", LEGITIMATE)
def test_legitimate_formulas_are_read(formula):
    assert try_formula(formula, make_table()) == "read"


def test_formulas_of_the_documentation_are_read(pytestconfig):
    found = documented(pytestconfig.rootpath)
    assert {"income ~ age + C(town)", "target ~ age + sex"} <= set(found)
    for formula in found:
        check_formula(formula)


@pytest.mark.parametrize(
    ("formula", "named"),
    [
        ("y ~ np.f2py.os.system('id > out')*x", "np.f2py.os.system"),
        ("y ~ np.load('e.npy', allow_pickle=True)", "np.load"),
        ("y ~ I(x.__class__)", "attribute"),
        ("y ~ np.log(x, z)", "argument"),  # the second is an array to write into
        ("y ~ I(9**9**9**9)", "power"),
        ("y ~ np.power(9**64, 64)", "power"),
        ("y ~ bs(x, df=100000)", "beyond"),
        ("y ~ I(`__FORMULAIC_CONTEXT__`)", "name"),
        ("y ~ I((v := x))", "assignment"),
        ("y ~ I([v for v in x])", "comprehension"),
        ("y ~ (x + ", "cannot be read"),
        ("y ~ x | z", "several parts"),
        ("y ~ " + "+".join(["x"] * 20_000), "too long"),
    ],
)
def test_what_is_refused_is_named(formula, named):
    with pytest.raises(ValueError) as caught:
        infer(OLS(formula), make_table())
    assert named in str(caught.value) and "\x1b" not in str(caught.value)


@pytest.mark.parametrize("code", ["__import__(\"os\").system('echo > hit')", "np.f2py.os.system('echo > hit')"])
def test_the_command_line_runs_nothing(code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_table().to_csv("t.csv", index=False)
    assert main(["estimate", "t.csv", "--predictor", "none", "--estimand", f"ols: y ~ {code}*x"]) == 1
    assert "not allowed" in capsys.readouterr().err and not (tmp_path / "hit").exists()


def test_a_name_that_is_no_call_is_a_column():
    with pytest.raises(ValueError, match="no column"):
        infer(OLS("y ~ I(open)"), make_table())
    table = make_table().rename(columns={"x": "open"})
    assert infer(OLS("y ~ I(open)"), table).estimate.iloc[1] == infer(OLS("y ~ open"), table).estimate.iloc[1]


def test_functions_of_the_caller_are_called_where_they_are_passed():
    table = make_table()
    with pytest.raises(ValueError, match="a call of third"):
        infer(OLS("y ~ third(x)"), table)
    own = infer(OLS("y ~ third(x)", functions={"third": lambda x: x / 3}), table)
    np.testing.assert_allclose(own.estimate.iloc[1], 3 * infer(OLS("y ~ x"), table).estimate.iloc[1])
    with pytest.raises(ValueError, match="names and functions"):
        OLS("y ~ f(x)", functions={"f": 3})


def test_the_grower_ends_in_the_canary():
    grower = Grower(0)
    spelled = f"chr({ord(CANARY[0])})"
    assert all(CANARY in text or spelled in text for text in (grower.formula() for _ in range(50)))
    with canary() as fired:
        eval(f"{CANARY}(1)")
    assert fired == [(1,)]


LETTERS = "+".join("abcdefghijklmnopqrstuvwxyz")


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        (f"y ~ ({LETTERS})**4", "makes 17,902 terms"),  # 26 + 325 + 2,600 + 14,950 and the intercept
        (f"y ~ (({LETTERS})**9)**{'9' * 5_000}", "more than 1,000,000,000,000 terms"),
        ("y ~ " + "*".join("abcdefghijklmnopqrst"), "makes 1,048,576 terms"),
        (f"({LETTERS})**13 ~ a", "terms"),
        ("y ~ (a + b)**40", "write a power of at most 2"),
        ("y ~ a**99999999", "write a power of at most 1"),  # no product is new, but each is made
        ("y ~ g:h", "makes some 10,001 columns of these rows, 10,000 of them by g:h"),
        ("y ~ C(g) * C(h)", "makes some 10,201 columns of these rows, 10,000 of them by C(g):C(h)"),
    ],
)
def test_a_formula_that_blows_up_is_refused_before_it_does(formula, said):
    rows = np.arange(200)
    table = pd.DataFrame({"y": rows * 1.0, "a": rows, "b": -rows, "g": "g" + pd.Series(rows % 100).astype(str)})
    started = time.perf_counter()
    with pytest.raises(ValueError) as caught:
        infer(OLS(formula), table.assign(h=table["g"].str.upper()))
    assert said in str(caught.value) and time.perf_counter() - started < 2


def test_terms_are_counted_as_formulaic_makes_them():
    from formulaic import Formula

    from icl.inference.estimands.formula_size import MOST_TERMS, check_terms

    for right in (f"({LETTERS})**2", "a*b*c*d - a:b", "(a + b)/c", "(a + b + c)**3 + (d + e):f"):
        check_terms(f"y ~ {right}")
        assert len(Formula(f"y ~ {right}").rhs) <= MOST_TERMS
    widest = 0
    for n in range(2, 8):  # sums of distinct columns: the refusal names the very number
        right = f"({'+'.join(f'x{k}' for k in range(20))})**{n}"
        try:
            check_terms(f"y ~ {right}")
            widest = n
        except ValueError as refused:
            n_terms = 1 + sum(math.comb(20, k) for k in range(1, n + 1))
            assert f"{n_terms:,} terms" in str(refused) and n_terms > MOST_TERMS
    assert widest == 2
    assert len(Formula("y ~ (a + b + c + d)**3").rhs) == 1 + 4 + 6 + 4


def with_times() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    days = pd.date_range("2020-01-01", periods=80, freq="D")
    table = pd.DataFrame({"x": rng.normal(size=80), "day": days, "week": pd.PeriodIndex(days, freq="W")})
    table["clock"], table["zoned"], table["span"] = days.time, days.tz_localize("Europe/Berlin"), days - days[0]
    table["date"], table["month"] = days.date, pd.Categorical(days.to_period("M").to_timestamp())
    table["y"] = (table["x"] + rng.normal(size=80)).where(table.index % 2 == 0)
    return table


@pytest.mark.parametrize("name", ["day", "week", "clock", "zoned", "span", "date", "month"])
def test_times_are_no_numbers_and_what_to_do_is_said(name):
    """As terms, in products and calls, as the outcome, as a mean and as covariates without a formula."""
    table = with_times()
    wrong = [
        f"ols: y ~ {name}",
        f"ols: y ~ x + x:{name}",
        f"ols: {name} ~ x",
        f"mean: {name}",
        f"quantile: 0.5: {name}",
    ]
    for estimand in [*wrong, OLS("y", covariates=["x", name])]:
        with pytest.raises(ValueError, match=f"{name}.* holds dates, times or spans.*Count from a day"):
            infer(estimand, table)
    for call in (f"log({name})", f"I({name} * 2)", f"bs({name}, df=4)"):
        with pytest.raises(ValueError, match="Count from a day") as raised:
            infer(f"ols: y ~ {call}", table)
        assert name in str(raised.value)


def test_times_may_be_categories_and_read_by_own_functions():
    table = with_times()
    monthly = infer("ols: y ~ x + C(month)", table)
    assert len(monthly.params) == 4
    counted = infer(OLS("y ~ x + days(day)", functions={"days": lambda day: (day - day.iloc[0]).dt.days}), table)
    beside = infer("ols: y ~ x + days", table.assign(days=np.arange(80)))
    np.testing.assert_allclose(counted.params, beside.params, rtol=1e-8)
    late = infer("ols: y ~ I(x * (day > '2020-02-01'))", table)
    np.testing.assert_allclose(
        late.params, infer("ols: y ~ late", table.assign(late=table.x * (table.index > 31))).params
    )


def test_groups_without_labels_are_named_a_few():
    table = with_times()
    with pytest.raises(ValueError, match=r"the groups day=2020-01-02\S* day=.* and 36 more have 40 unlabeled rows"):
        infer("mean: y by day", table)


def test_levels_that_a_formula_does_not_name_are_no_reference_level():
    """`levels=` without one that rows have: formulaic counts these rows as the reference level."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"y": rng.normal(size=90), "g": list("abc") * 30})
    for levels in (["a", "b"], ["a"]):
        with pytest.raises(ValueError, match=r"levels that .* does not name .*'c'.*Name all levels"):
            infer(f"ols: y ~ C(g, levels={levels})", table)
    named = infer("ols: y ~ C(g, levels=['b', 'a', 'c'])", table)
    np.testing.assert_allclose(named.params.iloc[0], table.loc[table.g == "b", "y"].mean())
