"""What a breaker found in one table model of whole tables: silent answers that were wrong, and their relatives."""

import functools

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier

import icl
from icl.joint.augmenting.augment import augment
from icl.joint.impute import ImputationWarning
from icl.joint.synthetic.constraints import Constraint

N = 100
SIZES = pd.CategoricalDtype(["small", "medium", "large"], ordered=True)


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=N)


def test_an_imputer_takes_columns_by_name(x):
    table = pd.DataFrame({"a": x, "b": 10 * x + 100})
    table.loc[::6, "a"] = np.nan
    imputer = icl.ICLImputer(m=2, checkpoint="nano").fit(table)
    asked = pd.DataFrame({"b": [110.0, 105.0], "a": [np.nan, 0.5]})
    filled = imputer.transform(asked)
    assert list(filled.columns) == ["b", "a"] and filled["b"].tolist() == [110.0, 105.0] and filled["a"][1] == 0.5
    assert imputer.transform(asked[["a", "b"]])["a"].tolist() == pytest.approx(filled["a"].tolist())
    with pytest.raises(ValueError, match="which fit did not see"):
        imputer.transform(asked.rename(columns={"a": "q"}))


def test_an_imputer_keeps_categories_and_says_which_rows_keep_gaps(x):
    table = pd.DataFrame({"x": x, "s": pd.Categorical(np.where(x > 0, "large", "small"), dtype=SIZES)})
    asked = pd.DataFrame({"x": [0.3, np.nan], "s": pd.Categorical([None, None], categories=["small"])})
    with pytest.warns(ImputationWarning, match="1 of 2 rows keep gaps"):
        filled = icl.ICLImputer(m=2, checkpoint="nano").fit(table).transform(asked)
    assert filled["s"].dtype == SIZES and filled["s"][0] in SIZES.categories and filled.loc[1].isna().all()


@pytest.mark.parametrize("where", ["age > 50", "not age <= 50", lambda rows: rows["age"].astype("Float64") > 50])
def test_rows_are_chosen_only_where_the_condition_is_known_to_hold(x, where):
    age = pd.Series(np.where(np.arange(N) % 4 == 0, np.nan, 40 + 10 * x)).astype("Float64").replace({np.nan: pd.NA})
    X, y = pd.DataFrame({"age": age.astype(float)}), pd.Series(np.where(x > 0, "s", "w"), name="state")
    new = augment(X, y, where, 30, method="mixup")[0]["age"][N:]
    assert new.notna().all() and (new > 50).all()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("s >= 'medium'", ["medium", "large"]),
        ("s < 'large'", ["small", "medium"]),
        ("'medium' < s", ["large"]),
        ("s != 'small' and s <= t", ["medium"]),
    ],
)
def test_ordered_levels_are_compared_in_their_order(given, kept):
    rows = pd.DataFrame({"s": pd.Categorical(["small", "medium", "large", None], dtype=SIZES)})
    rows["t"] = pd.Categorical(["medium"] * 4, dtype=SIZES)
    chosen = Constraint(given, list(rows.columns), is_strict=True).holds(rows)
    assert rows["s"][chosen].tolist() == kept
    assert Constraint(given, list(rows.columns)).holds(rows)[3]  # unknown: not broken


@pytest.mark.parametrize("given", ["s >= 'huge'", "x > 'a'", "s * 2 > 1", "-s > 1"])
def test_what_cannot_be_compared_is_a_sentence(given, x):
    rows = pd.DataFrame({"s": pd.Categorical(["small"] * N, dtype=SIZES), "x": x})
    with pytest.raises(ValueError, match="constraint"):
        Constraint(given, list(rows.columns)).holds(rows)


@pytest.mark.parametrize("columns", ["x", "xc", "xcd", "xx"])
def test_fresh_rows_are_not_called_memorised(columns):
    """Without held-out rows, in tables of few numbers, whose ranks leave no room between neighbours."""
    rng = np.random.default_rng(5)

    def fresh():
        first = rng.normal(size=150)
        made = {"x": first, "c": rng.choice(list("ab"), 150), "d": rng.choice(list("pqr"), 150)}
        table = pd.DataFrame({name: made[name] for name in dict.fromkeys(columns)})
        return table.assign(again=2 * first) if columns == "xx" else table

    def memorised(real, rows):  # nothing is asked of the classifier that tells rows apart
        return icl.audit(real, rows, detector=DummyClassifier()).memorised

    alarms = sum(memorised(fresh(), fresh()).is_excess for _ in range(4))
    assert alarms <= 1  # it was all of them
    real = fresh()
    assert memorised(real, pd.concat([fresh()[:75], real[:75]])).is_excess


@pytest.mark.parametrize("model", ["quick", "network"])
def test_what_a_table_does_not_hold_is_rarer_than_what_it_does(x, model):
    table = pd.DataFrame({"c": list("aaab") * (N // 4), "x": x})
    at = pd.DataFrame({"c": ["a", "b", "zzz", None], "x": [0.0] * 4})
    found = icl.log_density(table, at, checkpoint="nano", orders=1, model=model)
    assert found[:2].min() > found[2:].max()
    with pytest.raises(ValueError, match="infinity"):
        icl.log_density(table, pd.DataFrame({"c": ["a"], "x": [np.inf]}), model="quick")


def test_a_score_does_not_depend_on_orders_that_there_are_not(x):
    scores = [icl.outlier_scores(pd.DataFrame({"x": x}), orders=k, model="quick") for k in (1, 4)]
    pd.testing.assert_series_equal(*scores)


def test_classes_are_the_same_as_whole_numbers_and_as_floats(x):
    real = pd.DataFrame({"x": x, "k": (x > 0).astype(int)})
    options = {"target": "k", "detector": DummyClassifier()}
    plain, floats = (icl.audit(real, real.astype({"k": kind}), **options).useful for kind in (int, float))
    assert plain.cost == floats.cost
    other = icl.audit(real, real.assign(k=real["k"] * 3), **options).useful  # classes 0 and 3 of 0 and 1
    assert np.isfinite(other.cost) and other.cost > 0


@pytest.mark.parametrize("target", [pd.Timestamp("2020"), 1.5])
def test_a_target_that_cannot_be_predicted_is_named(x, target):
    real = pd.DataFrame({"x": x, "k": target})
    with pytest.raises(ValueError, match="'k'"):
        icl.audit(real, real, target="k", detector=DummyClassifier())


@pytest.mark.parametrize("call", [icl.impute, icl.generate, icl.imputation_time, icl.generation_time])
def test_unknown_options_are_refused_before_anything_is_done(x, call):
    table = pd.DataFrame({"x": np.where(x > 1, np.nan, x), "z": x**2})
    with pytest.raises(TypeError, match="constraint"):
        call(table, **({"budget": 0} if "imput" in call.__name__ else {"model": "quick"}), constraint="x > 3")


def test_shifts_are_numbers_of_any_type_and_finite(x):
    level = np.where(x > 0.5, None, np.where(x > 0, "a", "b"))
    table = pd.DataFrame({"x": np.where(x > 1, np.nan, x.round(1)), "z": x**2, "c": level})
    icl.impute(table, 2, shift={"x": np.int64(-1)}, budget=0, rounds=1)
    for shift in ({"x": np.nan}, {"c": {"a": np.inf}}):
        with pytest.raises(ValueError, match="shift"):
            icl.impute(table, 2, shift=shift)
    drawn = icl.impute(table, 2, shift={"c": {"a": 1000}}, budget=0, rounds=1)
    assert all((one["c"][table["c"].isna()] == "a").all() for one in drawn)


NAMES = {
    "numbers": [0, 1, 2],
    "tuples": [("a", 1), ("a", 2), ("b", 1)],
    "none": [None, "b", "c"],
    "nan": [np.nan, "b", "c"],
    "truth values": [True, False, "c"],
    "dates": list(pd.date_range("2020", periods=3)),
    "a number and its text": ["1", 1, "c"],
}
CALLS = {
    "impute": lambda t: icl.impute(t, 2, rounds=1, budget=0)[0],
    "generate": lambda t: icl.generate(t, 5, model="quick", orders=2),
    "outliers": lambda t: icl.outlier_scores(t, model="quick", orders=1),
    "density": lambda t: icl.log_density(t, t, model="quick", orders=1),
    "augment": lambda t: augment(t, np.arange(N) % 3 > 0, method="mixup")[0],
    "imputer": lambda t: icl.ICLImputer(m=2, budget=0).fit(t).transform(t.iloc[:, ::-1]).iloc[:, ::-1],
}


@pytest.fixture(scope="module")
def plain():
    """plain(call): what it says where names are p, q and r, asked once."""
    return functools.cache(lambda call: CALLS[call](rows_named(list("pqr"))))


def rows_named(names) -> pd.DataFrame:
    x = np.random.default_rng(0).normal(size=N)
    rows = {"p": np.where(np.arange(N) % 5 > 0, x, np.nan), "q": x**2, "r": np.where(x > 0, "hi", "lo")}
    return pd.DataFrame(rows).set_axis(names, axis=1)


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("call", CALLS)
def test_columns_may_have_any_names(plain, names, call):
    columns = pd.Index(NAMES[names], dtype=object, tupleize_cols=False)
    found = CALLS[call](rows_named(columns))
    if call in ("outliers", "density"):
        assert found.notna().all() and (call == "density" or len(found) == N)
        return
    assert list(map(repr, found.columns)) == list(map(repr, columns))
    assert call == "generate" or found.set_axis(list("pqr"), axis=1).equals(plain(call))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda t: icl.generate(t.assign(c=[(1, 2), (3, 4)] * (N // 2)), 5), "lists or records"),
        (lambda t: icl.audit(*[t.assign(c=[[1], [2]] * (N // 2))] * 2), "lists or records"),
        (lambda t: icl.audit(*[t[[]]] * 2), "no columns"),
        (lambda t: icl.impute(t, shift=["x"]), "pass a dictionary"),
        (lambda t: icl.impute(t, budget="x"), "number of cells"),
        (lambda t: icl.impute(t, budget=np.nan), "number of cells"),
        (lambda t: icl.imputation_time(t, budget=-1), "number of cells"),
        (lambda t: icl.generate(t, 5, constraints=5), "constraints got 5"),
        (
            lambda t: augment(t.set_axis(pd.MultiIndex.from_product([["a"], t.columns]), axis=1), np.array(t["x"] > 1)),
            "2 levels",
        ),
    ],
)
def test_what_cannot_be_used_is_a_sentence(x, call, said):
    with pytest.raises(ValueError, match=said):
        call(pd.DataFrame({"x": x, "z": x**2}))


@pytest.mark.parametrize(
    "call", [icl.log_density, icl.outlier_scores, lambda t, **o: augment(t, np.array(t["x"] > 1), **o)]
)
def test_unknown_options_are_refused_wherever_there_are_some(x, call):
    with pytest.raises(TypeError, match="unknown options"):
        call(pd.DataFrame({"x": x, "z": x**2}), model="quick", contraint="x > 3")


def test_numbers_of_any_size_are_no_whole_ones(x):
    """Below 1e-300 all differences are smaller than what had counted as rounding."""
    table = pd.DataFrame({"x": x * 5e-322, "z": x})
    assert icl.generate(table, 8, given={"x": [table["x"][3]]}, model="quick", orders=1)["x"].eq(table["x"][3]).all()
    assert icl.generate(table, 20, model="quick", orders=1)["x"].nunique() > 10
