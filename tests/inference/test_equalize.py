"""Thresholds that bring a disparity within a bound, and the interval of what remains."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression

from icl.inference import Design, Disparity, Mean, equalize

METRICS = ["equal opportunity", "false positive rate", "predictive parity", "accuracy", "demographic parity"]


def loans(seed, n=400, N=800):
    """A score that is raised for men, and decisions by one threshold on it; repayment known of the first n."""
    rng = np.random.default_rng(seed)
    sex, x = np.where(rng.random(n + N) < 0.5, "f", "m"), rng.normal(size=n + N)
    repaid = (rng.random(n + N) < 1 / (1 + np.exp(-1.5 * x))) * 1.0
    score = 1 / (1 + np.exp(-(1.5 * x + 0.8 * (sex == "m") + 0.5 * rng.normal(size=n + N))))
    table = pd.DataFrame({"sex": sex, "x": x, "score": score, "approved": (score > 0.5) * 1.0, "repaid": repaid})
    table.loc[n:, "repaid"] = np.nan
    return table


def against(seed):
    """A score that is worse than none."""
    return loans(seed).assign(score=lambda t: -t["score"])


def disparity(metric="equal opportunity"):
    outcome = None if metric == "demographic parity" else "repaid"
    return Disparity("approved", "sex", metric, outcome, versus="m")


def rates_and_cost(part, metric, cut):
    d, y = (part["score"] >= cut).to_numpy(), part["repaid"].to_numpy() == 1
    if metric == "demographic parity":
        y = part["approved"].to_numpy() == 1
    counted = {
        "equal opportunity": d[y], "false positive rate": d[~y], "predictive parity": y[d], "accuracy": d == y,
        "demographic parity": d,
    }[metric]  # fmt: skip
    return counted.mean() if len(counted) else np.nan, (d & ~y).sum() + 2 * (~d & y).sum()


@pytest.mark.parametrize("metric", METRICS)
def test_no_pair_of_thresholds_within_the_bound_costs_less(metric):
    """Every pair is tried on the rows that chose."""
    table, bound = loans(0, 120, 0), 0.05
    rule = equalize(disparity(metric), table, "score", bound=bound, costs=(1, 2))
    chose = table[rule.choosing]
    tried = {
        g: np.array([rates_and_cost(part, metric, cut) for cut in [*part["score"], np.inf]])
        for g, part in chose.groupby("sex")
    }
    apart = np.abs(tried["f"][:, :1] - tried["m"][:, 0])
    cost = tried["f"][:, 1:] + tried["m"][:, 1]
    mine = [rates_and_cost(part, metric, rule.thresholds[g]) for g, part in chose.groupby("sex")]
    assert abs(mine[0][0] - mine[1][0]) <= bound + 1e-9
    assert mine[0][1] + mine[1][1] == cost[apart <= bound].min()


@pytest.mark.parametrize("metric", ["equal opportunity", "false positive rate", "demographic parity"])
def test_with_many_labels_the_disparity_goes(metric):
    rule = equalize(disparity(metric), loans(1, 20_000, 0), "score", bound=0.01)
    assert abs(rule.before.estimate.iloc[0]) > 0.1
    assert abs(rule.remaining.estimate.iloc[0]) < 0.04
    assert rule.thresholds["m"] > rule.thresholds["f"] + 0.05


def test_what_remains_is_covered_for_the_very_rule():
    """Two-sided; on the rows that chose the disparity looks smaller than it is."""
    population = loans(99, 40_000, 0)
    n_times, hits, truths, seen = 60, 0, [], []
    for seed in range(n_times):
        table = loans(seed, 240, 480).assign(p=lambda t: 1 / (1 + np.exp(-t["x"])))
        rule = equalize(disparity(), table, "score", predictions="p", level=0.8)
        truths.append(_truth(population, rule))
        low, high = rule.remaining.interval().to_numpy()[0]
        hits += low <= truths[-1] <= high
        seen.append(_truth(table[rule.choosing], rule))
    assert abs(hits / n_times - 0.8) < 4 * np.sqrt(0.16 / n_times)
    assert np.abs(seen).max() <= 0.02 + 1e-9 and 0.03 < np.abs(truths).mean() < 0.12


def _truth(population, rule):
    decided = rule.decide(population).to_numpy()
    good = population["repaid"].to_numpy() == 1
    rates = {g: decided[good & (population["sex"] == g).to_numpy()].mean() for g in "fm"}
    return rates["f"] - rates["m"]


def test_clusters_are_not_divided_and_seeds_repeat():
    table = loans(2, 400, 200).assign(branch=lambda t: np.arange(len(t)) % 40)
    design = Design(clusters="branch")
    one, two = (equalize(disparity(), table, "score", design=design, seed=5) for _ in range(2))
    assert one.thresholds.equals(two.thresholds) and one.summary() == two.summary()
    assert one.choosing.sum() == 200 and one.remaining.n_labeled == 200
    assert one.remaining.n_unlabeled == 100  # of 200: the other half is of clusters that chose
    renamed = table.rename(columns={"branch": 7, "repaid": 8})
    of_numbers = Disparity("approved", "sex", "equal opportunity", 8, versus="m")
    again = equalize(of_numbers, renamed, "score", design=Design(clusters=7), seed=5)
    assert again.thresholds.equals(one.thresholds)
    assert "the predicted ones" not in one.summary()
    assert "the predicted ones" in equalize(disparity(), table, "score", design=design, predictions="x").summary()
    other = equalize(disparity(), table, "score", design=design, seed=6)
    assert not other.thresholds.equals(one.thresholds)


def test_a_rule_that_changes_nothing_costs_nothing():
    table = loans(7, 400, 0).assign(score=lambda t: t["approved"])
    rule = equalize(disparity("demographic parity"), table, "score", bound=0.9)
    assert rule.price is None and "the same in every labeled row" in rule.summary()
    assert_allclose(rule.remaining.estimate, rule.before.estimate)


def test_units_of_the_score_and_names_of_groups_do_not_matter():
    table = loans(3)
    rule = equalize(disparity(), table, "score")
    scaled = equalize(disparity(), table.assign(score=1000 * table["score"] - 7), "score")
    assert_allclose(scaled.thresholds, 1000 * rule.thresholds - 7)
    assert_allclose(scaled.remaining.estimate, rule.remaining.estimate)
    coded = table.assign(sex=(table["sex"] == "m").astype(int))
    of_ints = equalize(Disparity("approved", "sex", "equal opportunity", "repaid", versus=1), coded, "score")
    assert_allclose(of_ints.thresholds.to_numpy(), rule.thresholds.to_numpy())


KINDS = {
    "unused level": {"sex": lambda t: pd.Categorical(t["sex"], ["f", "m", "x"])},
    "truth values": {"approved": lambda t: t["approved"] > 0, "repaid": lambda t: t["repaid"].astype("boolean")},
    "objects": {"repaid": lambda t: t["repaid"].map({0: False, 1: True})},
}


@pytest.mark.parametrize("kind", [*KINDS, "nullable", "pyarrow"])
def test_how_columns_are_kept_does_not_matter(kind):
    table, rule = loans(0), equalize(disparity(), loans(0), "score")
    other = (
        table.assign(**KINDS[kind])
        if kind in KINDS
        else table.convert_dtypes(dtype_backend={"nullable": "numpy_nullable"}.get(kind, kind))
    )
    same = equalize(disparity(), other, "score")
    assert_allclose(same.thresholds, rule.thresholds)
    assert same.summary() == rule.summary()
    assert list(rule.decide(other)) == list(rule.decide(table))


def test_decisions_that_were_not_known_are_counted_apart():
    table = loans(0).assign(approved=lambda t: t["approved"].mask(t.index % 50 == 0))
    said = equalize(disparity("demographic parity"), table, "score").summary()
    assert "588 rows with a decision, and of all 612 rows" in said


def test_what_is_doubtful_about_what_remains_is_said():
    """Everybody of one group who repays is decided for, so that nothing shows how that varies."""
    table = loans(1).assign(
        score=lambda t: np.where(t["sex"] == "f", t["repaid"].where(t["repaid"].notna(), t["x"] > 0), t["score"])
    )
    rule = equalize(disparity(), table, "score", costs=(1, 9))
    assert "add nothing to the interval" in rule.summary()


def test_the_rule_says_when_it_cannot_decide_and_what_it_shows():
    table = loans(4)
    rule = equalize(disparity(), table, "score", bound=0.9)
    assert rule.is_shown() and "lie within the bound" in rule.summary()
    assert not equalize(disparity(), table, "score", bound=0.0).is_shown()
    assert set(rule.decide(table)) == {0, 1} and list(rule.decide(table).index) == list(table.index)
    with pytest.raises(ValueError, match="no threshold was chosen"):
        rule.decide(table.assign(sex="x"))
    with pytest.raises(ValueError, match="missing in 3 rows"):
        rule.decide(table.assign(score=table["score"].mask(table.index < 3)))
    ax = rule.plot()
    assert ax.get_xlabel() == "difference in equal opportunity"
    assert list(rule.to_frame().columns[:2]) == ["term", "before"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"disparity": Mean("repaid")}, "pass Disparity"),
        ({"bound": 1.5}, "bound got 1.5"),
        ({"share": 0}, "share got 0"),
        ({"costs": (0, 0)}, "costs got"),
        ({"costs": (1, -1)}, "costs got"),
        ({"score": "nothing"}, "nothing"),
        ({"design": Design(probability="x")}, "random sample of all rows"),
        ({"predictions": np.zeros(3)}, "name of a column"),
        ({"table": loans(5, 30, 10)}, "needs 10"),
        *(({"bound": v}, "bound got") for v in ("0.1", None, float("nan"), [0.1])),
        *(({"costs": v}, "costs got") for v in (5, None, ("a", 1), (np.nan, 1), (1, 2, 3), "12")),
        *(({"seed": v}, "seed got") for v in (-1, None, 0.5)),
        *(({"score": v}, "name of a column") for v in (["score"], loans(5)["score"])),
        ({"table": loans(5).assign(repaid=lambda t: t["repaid"].map({0: "no", 1: "yes"}))}, "holds str values"),
        ({"table": loans(5).assign(repaid=lambda t: t["repaid"] + 1)}, "must be 0 and 1"),
        ({"table": loans(5).assign(sex=lambda t: t["sex"].mask(t.index % 50 == 0))}, "missing in 24 rows"),
        ({"table": loans(5).assign(sex=lambda t: t["sex"].mask(t.index > 1150, "x"))}, "'x': 0"),
        ({"table": loans(5).assign(sex=lambda t: t["sex"].mask(t["repaid"].notna(), "m"))}, "'f': 0"),
        ({"table": loans(5).assign(repaid=np.nan)}, "'f': 0|'m': 0"),
        ({"table": loans(5, N=0).assign(score=lambda t: t["repaid"])}, "add the same"),
        ({"costs": (1000, 1), "table": against(5)}, "decide against everybody"),
        ({"costs": (1, 1000), "table": against(5)}, "decide for everybody"),
        ({"disparity": disparity("demographic parity"), "predictor": LogisticRegression()}, "pass no predictor"),
    ],
)
def test_refusals_say_what_to_do(change, said):
    asked = {"disparity": disparity(), "table": loans(5), "score": "score"} | change
    with pytest.raises(ValueError, match=said):
        equalize(**asked)


def test_the_command_prints_rule_and_remains_and_writes_them(tmp_path, capsys, monkeypatch):
    from icl.commands.main import main

    monkeypatch.chdir(tmp_path)
    loans(6).to_csv("loans.csv", index=False)
    line = "disparity: equal opportunity: approved by sex, outcome=repaid"
    asked = ["estimate", "loans.csv", "--estimand", line, "--predictions", "x", "--level", "0.8"]
    assert main([*asked, "--equalize", "score", "--bound", "0.05", "--output", "left.csv"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    rule = equalize(line, pd.read_csv("loans.csv"), "score", bound=0.05, predictions="x", level=0.8)
    assert " ".join(rule.summary().split()) in shown
    assert_allclose(pd.read_csv("left.csv")["estimate"], rule.remaining.estimate)
    assert (
        main(["estimate", "loans.csv", "--estimand", "mean: repaid", "--equalize", "score", "--predictor", "none"]) == 1
    )
    assert "--equalize is for a disparity" in " ".join(capsys.readouterr().err.split())
    for wrong, said in (
        (["--weight", "0.5"], "takes no --weight"),
        (["--folds", "3"], "no --folds"),
        (["--predictor", "none,rf"], "say none alone"),
    ):
        known = [] if "--predictor" in wrong else ["--predictions", "x"]
        asked = ["estimate", "loans.csv", "--estimand", line, *known, "--equalize", "score", *wrong]
        assert main(asked) == 1 and said in " ".join(capsys.readouterr().err.split())
