"""Imputation: a function of seed and rows in any order; kinds and observed cells stay; what cannot be is named."""

import numpy as np
import pandas as pd
import pytest

import icl
from icl.joint.impute import ImputationWarning, impute
from icl.joint.imputer import ICLImputer

OPTIONS = {"checkpoint": "nano", "rounds": 2}
pytestmark = pytest.mark.filterwarnings("ignore::icl.ImputationWarning")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 60
    z = rng.normal(size=n)
    whole = pd.DataFrame(
        {
            "z": z,
            "count": rng.poisson(np.exp(z / 2)),
            "sex": np.where(z + rng.normal(size=n) > 0, "F", "M"),
            "when": pd.Timestamp("2020-01-01") + pd.to_timedelta(np.round(100 + 20 * rng.normal(size=n)), unit="D"),
            "whole": pd.array((z * 10 + rng.normal(size=n)).round().astype(int), dtype="Int64"),
            "grade": pd.Categorical(rng.choice(["a", "b", "c"], n), ["a", "b", "c", "never"], ordered=True),
        },
        index=[f"row {i}" for i in range(n)],
    )
    gaps = whole.mask(rng.random(whole.shape) < 0.15)
    gaps["z"] = whole["z"]  # one complete column
    return gaps


@pytest.fixture(scope="module")
def imputed(table):
    return impute(table, m=3, seed=4, **OPTIONS)


def test_gaps_are_filled_and_nothing_else_changes(table, imputed):
    assert len(imputed) == 3 and len(list(imputed)) == 3
    for whole in imputed:
        assert not whole.isna().any(axis=None)
        assert whole.index.equals(table.index) and list(whole.columns) == list(table.columns)
        assert [str(t) for t in whole.dtypes] == [str(t) for t in table.dtypes]
        for name in table:
            seen = table[name].notna()
            pd.testing.assert_series_equal(whole.loc[seen, name], table.loc[seen, name], check_dtype=False)
        assert set(whole["sex"]) == {"F", "M"} and "never" not in set(whole["grade"])
        assert (whole["count"] % 1 == 0).all() and (whole["count"] >= 0).all()
    assert not imputed[0]["whole"].equals(imputed[1]["whole"])
    assert int(imputed.imputed.sum().sum()) == int(table.isna().sum().sum())


def test_the_same_seed_gives_the_same_bits_in_any_order_of_rows(table, imputed):
    order = np.random.default_rng(9).permutation(len(table))
    again = impute(table.iloc[order], m=3, seed=4, **OPTIONS)
    for one, other in zip(imputed, again):
        pd.testing.assert_frame_equal(one.iloc[order], other)
    different = impute(table, m=3, seed=5, **OPTIONS)
    assert not different[0].equals(imputed[0])


def test_kept_columns_keep_their_gaps_and_serve_all_the_same(table):
    kept = impute(table, m=2, seed=4, keep=["whole"], **OPTIONS)
    assert kept[0]["whole"].isna().equals(table["whole"].isna())
    # Inside the chains it was filled: what is drawn for others is what it is without keep=.
    filled = impute(table, m=2, seed=4, **OPTIONS)
    pd.testing.assert_frame_equal(kept[1].drop(columns="whole"), filled[1].drop(columns="whole"))


def test_what_cannot_be_imputed_is_named(table):
    lists = pd.Series([[i] for i in range(59)] + [None], table.index)
    worse = table.assign(empty=np.nan, lists=lists, name=[f"person {i}" for i in range(59)] + [None])
    worse.loc["row 7"] = None
    with pytest.warns(ImputationWarning, match="row 7"):
        imputed = impute(worse, m=2, seed=0, **OPTIONS)
    assert list(imputed.unimputed_rows) == ["row 7"]
    assert set(imputed.unimputed_columns) == {"empty", "lists", "name"}
    assert imputed[0].loc["row 7"].isna().all() and imputed[0].drop("row 7")["sex"].notna().all()


@pytest.mark.parametrize(
    "cells",
    [
        pd.Series(pd.date_range("1500-01-01", periods=60)),
        pd.Series(pd.date_range("9999-11-01", periods=60)),
        pd.Series(pd.date_range("1500-01-01", periods=60, tz="Europe/Berlin")),
        *(pd.Series(np.random.default_rng(0).poisson(3, 60)).astype(d) for d in ("UInt8", "Int8", "uint8[pyarrow]")),
        pd.Series(np.linspace(-128, 127, 60).round()).astype("Int8"),
    ],
    ids=lambda cells: f"{cells.dtype} {cells[0]}",
)
def test_gaps_of_narrow_columns_are_filled_within_them(cells):
    table = pd.DataFrame({"x": np.sin(np.arange(60.0)), "cells": cells.where(cells.index % 7 > 0)})
    assert table["cells"].dtype == cells.dtype
    drawn = impute(table, m=3, budget=1)
    for filled in drawn:
        assert filled["cells"].dtype == cells.dtype and filled["cells"].notna().all()
        assert (filled["cells"][cells.index % 7 > 0] == cells[cells.index % 7 > 0]).all()
        if cells.dtype.kind == "M":
            assert filled["cells"].dt.year.between(cells.dt.year.min() - 1, cells.dt.year.max()).all()


def test_a_shift_moves_draws_by_its_size():
    rng = np.random.default_rng(1)
    x = rng.normal(size=80)
    table = pd.DataFrame({"y": np.where(rng.random(80) < 0.4, np.nan, x + rng.normal(size=80)), "x": x})
    plain = impute(table, m=2, seed=0, **OPTIONS)
    moved = impute(table, m=2, seed=0, shift={"y": -0.5}, **OPTIONS)
    gap = (moved[0]["y"] - plain[0]["y"])[table["y"].isna()]
    assert np.allclose(gap, -0.5 * table["y"].std(ddof=0))
    with pytest.raises(ValueError, match="of which no cell is imputed"):
        impute(table, m=2, shift={"x": 1.0}, **OPTIONS)
    levels = table.assign(y=np.where(table["y"].isna(), None, np.where(table["y"] > 0, "yes", "no")))
    likelier = impute(levels, m=2, seed=0, shift={"y": {"yes": 4.0}}, **OPTIONS)
    before = impute(levels, m=2, seed=0, **OPTIONS)
    gaps = levels["y"].isna()
    assert (likelier[0]["y"][gaps] == "yes").mean() > 0.9 > (before[0]["y"][gaps] == "yes").mean()
    with pytest.raises(ValueError, match="column of levels"):
        impute(levels, m=2, shift={"y": 0.5}, **OPTIONS)


def test_a_table_beyond_the_budget_is_drawn_without_the_network(table):
    quick = impute(table, m=2, seed=0, rounds=1, budget=0)
    assert set(quick.models.values()) == {"quick"} and not quick[0].isna().any(axis=None)
    some = impute(table, m=2, seed=0, rounds=1, budget=2e3, checkpoint="nano")
    assert set(some.models.values()) == {"quick", "network"}


def test_frames_mean_and_pictures(table, imputed):
    long = imputed.to_frame()
    assert long.shape == (180, 6) and long.index.names[0] == "imputation"
    assert not imputed.mean().isna().any(axis=None)
    assert "3 completed tables of 60 rows" in repr(imputed)
    assert imputed.r_hat().isna().all()  # two rounds say nothing
    line = imputed.plot_trace("whole").lines[0]
    assert len(line.get_xdata()) == 2
    assert imputed.plot_density("whole").get_xlabel() == "whole"
    assert [t.get_text() for t in imputed.plot_density("grade").get_xticklabels()] == ["a", "b", "c"]
    with pytest.raises(ValueError, match="no cell of 'z' was drawn"):
        imputed.plot_trace("z")


def test_the_best_guess_is_what_the_models_say_not_what_chance_drew():
    rng = np.random.default_rng(4)
    x = rng.normal(size=90)
    table = pd.DataFrame({"x": x, "c": np.where(x + 0.3 * rng.normal(size=90) > 0, "hi", "lo"), "z": 2 * x})
    truth, hidden = table.copy(), rng.random(90) < 0.4
    table.loc[hidden, "c"] = None
    table.loc[rng.random(90) < 0.2, "z"] = np.nan
    drawn = impute(table, m=2, seed=0, rounds=1, budget=0)
    for j, guess in drawn.drawn.guess.items():
        if drawn.layout.kinds[j].is_class:
            np.testing.assert_allclose(guess.sum(axis=1), 1)
        else:
            np.testing.assert_allclose(guess, drawn.drawn.values[j].mean(axis=0))
    guessed, single = (one["c"][hidden] == truth["c"][hidden] for one in (drawn.mean(), drawn[0]))
    assert guessed.mean() > max(single.mean() + 0.05, 0.75)  # of an oracle 0.9
    order = rng.permutation(90)
    assert impute(table.iloc[order], m=2, seed=0, rounds=1, budget=0).mean().equals(drawn.mean().iloc[order])
    for amount, level in ((50, "hi"), (-50, "lo")):  # a shift moves the guess too
        shifted = impute(table, m=2, rounds=1, budget=0, shift={"c": {"hi": amount}}).mean()
        assert (shifted["c"][hidden] == level).mean() > 0.9


def test_chains_that_do_not_mix_are_told():
    """Two copies of one column, missing together: a chain stays where its first draw put it."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=60)
    table = pd.DataFrame({"a": x, "b": 3 * x, "c": rng.normal(size=60)})
    table.loc[:24, ["a", "b"]] = np.nan
    imputed = impute(table, m=6, seed=0, rounds=6, budget=0)
    assert imputed.r_hat().max() > 1.5 and any("R-hat" in said for said in imputed.notes())
    assert imputed.agreement().startswith("chains disagree on 1 of 2 columns (R-hat up to ")


def test_whether_chains_agree_is_a_sentence(table, monkeypatch):
    drawn = impute(table, m=4, seed=0, rounds=6, budget=0)
    high = drawn.r_hat().max()
    unsure = f"too few rounds to tell whether chains agree (R-hat up to {high:.2f}; pass more rounds=)"
    assert drawn.agreement() == (unsure if high > 1.1 else f"chains agree (R-hat at most {high:.2f})")
    assert not any("R-hat" in said for said in drawn.notes())
    monkeypatch.setattr(type(drawn), "r_hat", lambda self: pd.Series({"a": 1.02, "b": 1.07, "c": np.nan}))
    assert drawn.agreement() == "chains agree (R-hat at most 1.07)"
    monkeypatch.undo()
    assert impute(table, m=2, seed=0, rounds=1, budget=0).agreement() == ""


def test_arguments_are_checked(table):
    for wrong in ({"m": 1}, {"m": 2.5}, {"seed": -1}, {"rounds": 0}):
        with pytest.raises(ValueError, match="whole number of at least"):
            impute(table, **wrong)
    with pytest.raises(ValueError, match="keep names"):
        impute(table, m=2, keep="salary")
    with pytest.raises(ValueError, match="without rows"):
        impute(table.iloc[:0])
    complete = impute(table.dropna(), m=2)
    assert complete[0].equals(table.dropna()) or complete[0].shape == table.dropna().shape


def test_the_face_for_pipelines(table):
    X = table[["z", "count", "whole"]].astype(float)
    imputer = ICLImputer(m=2, checkpoint="nano")
    filled = imputer.fit_transform(X)
    assert filled.index.equals(X.index) and not filled.isna().any(axis=None)
    seen = X.notna().to_numpy()
    assert (filled.to_numpy()[seen] == X.to_numpy()[seen]).all()
    one = imputer.transform(X.iloc[:5].to_numpy())
    assert isinstance(one, np.ndarray) and not np.isnan(one).any()
    drawn = ICLImputer(fill="draw", checkpoint="nano").fit_transform(X)
    assert not drawn.equals(filled) and list(imputer.get_feature_names_out()) == list(X.columns)
    with pytest.raises(ValueError, match="fill must be one of"):
        ICLImputer(fill="median").fit(X)
    with pytest.raises(ValueError, match="expecting 3 features"):
        imputer.transform(X.iloc[:, :2])
    assert icl.ICLImputer is ICLImputer and icl.impute is impute


def test_slopes_on_answers_from_1_to_5_are_not_flattened():
    """Steps of a scale, missing more often where the outcome is high: by shares of levels the slope loses 8 %."""
    ratios = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        z, e = rng.normal(size=(2, 150))
        answer = np.clip(np.round(3 + 0.6 * z + 0.8 * e), 1, 5)
        y = 0.7 * (answer - 3) + 0.3 * z + 0.7 * rng.normal(size=150)
        table = pd.DataFrame({"answer": answer, "z": z, "y": y})
        slope = lambda t: np.linalg.lstsq(np.column_stack([np.ones(len(t)), t["answer"], t["z"]]), t["y"])[0][1]
        holed = table.assign(answer=table["answer"].where(rng.random(150) > 0.8 / (1 + np.exp(-y))))
        imputed = impute(holed, m=4, checkpoint="nano")
        ratios.append(np.mean([slope(one) for one in imputed]) / slope(table))
        assert np.isin(imputed[0]["answer"], range(1, 6)).mean() > 0.99
    error = np.std(ratios, ddof=1) / np.sqrt(len(ratios))
    assert abs(np.mean(ratios) - 0.98) < 2.5 * error and error < 0.03
