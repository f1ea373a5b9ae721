"""The scripts behind the numbers: pairing, intervals, calibration counts, files that resume, oracles that agree."""

import shutil
import textwrap

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t

from benchmarks import calibration, compare, evaluate, quality, small_tables, tables

FAMILIES = pd.Series({"a": "one", "b": "one", "c": "two", "d": "three"})


def frame(model: str, auc: dict, logloss: float = 0.5, seed: int = 0) -> pd.DataFrame:
    rows = [
        {"dataset": d, "task": "clf", "model": model, "seed": seed, "error": np.nan, "auc": v, "acc": v, "brier": 1 - v,
         "logloss": logloss, "ece": 0.1}
        for d, v in auc.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_models_meet_on_the_cells_that_all_answered():
    ours = pd.concat([frame("ours", dict.fromkeys("abcd", 0.9)), frame("ours", dict.fromkeys("ab", 0.8), seed=1)])
    other = frame("other", dict.fromkeys("abcd", 0.7))
    few = frame("few", {"a": 0.1})
    failed = frame("other", {"a": np.nan}, seed=1).assign(error="ValueError()")
    scores = compare.common_cells(pd.concat([ours, other, few, failed]), "ours", "clf", share=0.5)
    cells = {
        m: set(part[["dataset", "seed"]].itertuples(index=False, name=None)) for m, part in scores.groupby("model")
    }
    assert cells == {m: {(d, 0) for d in "abcd"} for m in ("ours", "other")}


def test_a_family_counts_once():
    scores = pd.concat(
        [frame("ours", {"a": 1.0, "b": 0.8, "c": 0.6, "d": 0.6}), frame("x", dict.fromkeys("abcd", 0.7))]
    )
    table = compare.score_table(scores, "ours", "clf", FAMILIES)
    assert table.loc["ours", "auc"] == pytest.approx((0.9 + 0.6 + 0.6) / 3)
    assert table.loc["ours", "auc, each table"] == pytest.approx(0.75)
    assert table.loc["x", "ours better on"] == "50%"


def test_a_gain_is_positive_where_ours_is_better_and_changes_sign_with_the_roles():
    rng = np.random.default_rng(0)
    names = [f"t{i}" for i in range(30)]
    families = pd.Series(names, names)
    a, b = (frame(m, dict(zip(names, rng.uniform(0.6, 0.9, 30))), loss) for m, loss in (("a", 0.4), ("b", 0.5)))
    scores = pd.concat([a, b])
    of_a = compare.difference_table(scores, "a", "clf", families)
    of_b = compare.difference_table(scores, "b", "clf", families)
    assert of_a.loc["b", "logloss"] == "+0.1000 [+0.1000, +0.1000] *"
    assert of_b.loc["a", "logloss"] == "-0.1000 [-0.1000, -0.1000] *"
    gain = (a.auc.to_numpy() - b.auc.to_numpy()).mean()
    assert of_a.loc["b", "auc"].startswith(f"{gain:+.4f}") and of_b.loc["a", "auc"].startswith(f"{-gain:+.4f}")


def test_bootstrap_interval_covers_at_its_nominal_rate(monkeypatch):
    monkeypatch.setattr(compare, "N_RESAMPLES", 400)
    rng, n_reps, n = np.random.default_rng(0), 1_000, 30
    hits = 0
    for _ in range(n_reps):
        _, low, high = compare.bootstrap_mean(rng.normal(0.3, 1, n), level=0.9)
        hits += low <= 0.3 <= high
    # The percentile interval takes a normal quantile for Student's and n for n - 1: 88.0 % for 30 normal units.
    expected = 1 - 2 * t.sf(norm.ppf(0.95) * np.sqrt((n - 1) / n), n - 1)
    assert abs(hits / n_reps - expected) < 4 * np.sqrt(expected * (1 - expected) / n_reps)


def test_fewer_context_rows_are_a_subset_with_every_class():
    y = np.repeat([0, 1, 2], [500, 95, 5])
    rows = np.random.default_rng(1).permutation(600)[:400]
    few, more = (tables.restrict(rows, y, n, 0, True) for n in (10, 50))
    assert set(few) < set(more) < set(rows) and len(set(more)) == 50
    assert set(y[few]) == set(y[rows])
    assert set(tables.restrict(rows, y, 400, 0, True)) == set(rows)


def test_coverage_of_a_distribution_that_is_too_narrow_is_the_closed_form():
    y = 2 * np.random.default_rng(0).standard_normal(20_000)
    counts = [calibration.pit_counts(norm.cdf(y / s))["pit"] for s in (1, 2)]
    pit = calibration._numbers(pd.Series(counts, index=["narrow", "right"]))
    observed = calibration.coverage(pit)
    for level in calibration.LEVELS:
        error = 4 * np.sqrt(0.25 / len(y))
        assert abs(observed.loc["right", level] - level) < error
        assert abs(observed.loc["narrow", level] - (1 - 2 * norm.sf(norm.ppf((1 + level) / 2) / 2))) < error


def test_calibration_error_of_right_probabilities_is_what_chance_gives():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(4), 3_000)
    y = (rng.random(3_000)[:, None] > proba.cumsum(1)).sum(1)
    rows = pd.DataFrame([calibration.reliability_counts(p, y) for p in (proba, proba[:, ::-1])])
    n, p, hit = (calibration._numbers(rows[f"top_{what}"]).to_numpy() for what in ("n", "p", "hit"))
    right, wrong = calibration.expected_error(n, p, hit)
    assert 0.3 < right / calibration.chance_error(n, p)[0] < 2
    assert wrong > 0.2
    # Every (row, class) pair is counted once, and each row hits one class.
    n, p, hit = (calibration._numbers(rows[f"class_{what}"]).to_numpy().sum(1) for what in ("n", "p", "hit"))
    assert n.tolist() == [12_000, 12_000] and hit.tolist() == [3_000, 3_000]
    assert p == pytest.approx(3_000, rel=1e-4)


def test_expected_error_by_hand():
    cells = calibration.reliability_counts(np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7]]), np.array([0, 1, 1]))
    n, p, hit = (calibration._numbers(pd.Series([cells[f"top_{what}"]])).to_numpy() for what in ("n", "p", "hit"))
    assert calibration.expected_error(n, p, hit)[0] == pytest.approx((abs(1 - 1.8) + abs(1 - 0.7)) / 3)


def test_results_resume_but_not_across_weights_or_errors(tmp_path):
    path = tmp_path / "r.csv"
    file = tables.ResultFile(path, ["dataset", "seed"])
    for name, error, weights in (("b", "", "12345678"), ("a", "", "12345678"), ("c", "Boom", "12345678")):
        file.add({"dataset": name, "seed": 0, "weights": weights, "error": error, "auc": 1 / 3})
    file.save()
    again = tables.ResultFile(path, ["dataset", "seed"], {"weights": "12345678"})
    assert ("a", 0) in again and ("b", 0) in again and ("c", 0) not in again
    assert again.frame().dataset.tolist() == ["a", "b"]
    assert not tables.ResultFile(path, ["dataset", "seed"], {"weights": "00000000"}).rows
    assert not tables.ResultFile(path, ["dataset", "seed"], fresh=True).rows


PROTOCOL = textwrap.dedent('''
    """A protocol as small as can be, of the layout that the scripts expect."""
    import os
    import numpy as np, pandas as pd
    HERE = os.path.dirname(__file__)
    PREP = {}
    class Prep:
        def __init__(self, kind): pass
        def fit(self, X): return self
        def transform(self, X): return X
    def load(row):
        D = pd.read_csv(os.path.join(HERE, row["file"])); y = D.pop("target"); return D, y
    def split(y, task, seed):
        order = np.random.default_rng(seed).permutation(len(y)); half = len(y) // 2
        return order[:half], order[half:]
    def clf_metrics(p, y, k):
        loss = -np.log(p[np.arange(len(y)), y].clip(1e-7)).mean()
        return dict(auc=.5, acc=(p.argmax(1) == y).mean(), logloss=loss, brier=0., ece=0.)
    def reg_metrics(est, X, y, mu, ys):
        est.predict_quantiles(X, [.1, .9])
        return dict(r2=1 - ((y - mu) ** 2).mean() / y.var(), nrmse=1., nll=-est.logpdf(X, y).mean(), crps=1.)
''')


@pytest.fixture
def folder(tmp_path):
    """Six tiny tables with baselines, in the layout of the benchmark."""
    rng, index, baselines = np.random.default_rng(0), [], []
    for i in range(6):
        task, name, n = ("clf", "reg")[i % 2], f"t{i}", 40 + 10 * i
        X = pd.DataFrame(rng.normal(size=(n, 3)), columns=list("uvw"))
        target = np.where(X.u > 0, "yes", "no") if task == "clf" else X.u + 0.1 * X.v
        X.assign(target=target).to_csv(tmp_path / f"{name}.csv", index=False)
        facts = {"n_classes": 2.0, "minority_frac": 0.5} if task == "clf" else {}
        index.append({"name": name, "task": task, "n": n, "p": 3, "n_categorical": 0, "n_missing_cells": 0, "tier": 1,
                      "file": f"{name}.csv", "family": name, **facts})  # fmt: skip
        for model in ("linear", "rf"):
            score = {"auc": 0.6, "acc": 0.6, "logloss": 0.6, "brier": 0.4, "ece": 0.1} if task == "clf" else {"r2": 0.1}
            baselines.append({"dataset": name, "task": task, "model": model, "seed": 0, "error": None, **score})
    pd.DataFrame(index).to_csv(tmp_path / "index.csv", index=False)
    pd.DataFrame(baselines).assign(nrmse=1.0, nll=np.nan, crps=np.nan).to_csv(tmp_path / "baselines.csv", index=False)
    (tmp_path / "bench.py").write_text(PROTOCOL)
    return tmp_path


def test_quality_scores_reports_and_does_nothing_twice(folder, tiny_release, tmp_path, monkeypatch):
    out = tmp_path / "out"
    arguments = ["--tables", str(folder), "--checkpoint", str(tiny_release), "--n_estimators", "1", "--jobs", "1",
                 "--out", str(out), "--only", "quality,calibration"]  # fmt: skip
    evaluate.main(arguments)
    written = ("results.csv", "calibration.csv", "results.md", "results-calibration.md")
    files = {name: (out / name).read_bytes() for name in written}
    rows = pd.read_csv(out / "results.csv")
    assert sorted(rows.dataset) == [f"t{i}" for i in range(6)] and rows.error.isna().all()
    pit = pd.read_csv(out / "calibration.csv").set_index("dataset").loc["t1", "pit"]
    assert sum(map(int, pit.split())) == rows.set_index("dataset").loc["t1", "n_test"]
    assert (out / "results-calibration.png").read_bytes()[:4] == b"\x89PNG"

    monkeypatch.setattr(quality, "score_cell", lambda *_: pytest.fail("scored a cell again"))
    evaluate.main(arguments)
    assert files == {name: (out / name).read_bytes() for name in written}
    with pytest.raises(SystemExit, match="no stage qualty"):
        evaluate.main([*arguments[:-1], "qualty"])


def test_a_table_that_fails_is_reported_and_tried_again(folder):
    record = tables.read_index(folder).to_dict("records")[0]

    class Broken:
        def fit(self, X, y):
            raise ValueError("no such luck")

    row, _, _ = tables.score_cell(folder, record, lambda task: Broken(), "raw", 0)
    assert "no such luck" in row["error"]


def test_query_rows_stay_when_context_rows_are_cut(folder):
    from sklearn.dummy import DummyClassifier

    record = next(r for r in tables.read_index(folder).to_dict("records") if r["task"] == "clf")
    (full, _, y), (cut, model, y_cut) = (
        tables.score_cell(folder, record, lambda task: DummyClassifier(), "raw", 0, n) for n in (0, 8)
    )
    assert np.array_equal(y, y_cut) and (full["n_train"], cut["n_train"]) == (record["n"] // 2, 8)
    assert model.class_prior_.sum() == pytest.approx(1) and len(model.classes_) == 2


def test_small_tables_compare_on_the_same_cells(folder, tiny_release, tmp_path, monkeypatch):
    monkeypatch.setattr(small_tables, "installed_baselines", lambda: [])
    out = tmp_path / "out"
    small_tables.main(["--tables", str(folder), "--checkpoint", str(tiny_release), "--n_estimators", "1", "--jobs", "1",
                       "--sizes", "10,40", "--baselines", str(tmp_path / "b.csv"), "--out", str(out)])  # fmt: skip
    rows = pd.read_csv(out / "small_tables.csv")
    assert rows[rows.n_context == 10].dataset.nunique() == 6
    assert rows[rows.n_context == 40].dataset.tolist() == ["t5"]  # the only one with more than 40 context rows
    assert (rows.n_train == rows.n_context).all()


def test_fast_queries_are_compared_with_the_whole_network(folder, tiny_model, tiny_release, tmp_path, seeded):
    from weights import perturbed_reader

    from benchmarks import fast_queries
    from icl.network.reader import ReaderConfig
    from icl.releases.reader_file import save_reader

    release = tmp_path / "nano"  # the one release that is not compared with nano
    shutil.copytree(tiny_release, release)
    save_reader(perturbed_reader(tiny_model, ReaderConfig((0, 1), rows=8), seeded(1)), release, {})
    arguments = ["--tables", str(folder), "--checkpoint", str(release), "--jobs", "1", "--out", str(tmp_path / "out")]
    with pytest.raises(FileNotFoundError):
        fast_queries.main(arguments)
    quality.main(arguments)
    fast_queries.main(arguments)
    whole, fast = (pd.read_csv(tmp_path / "out" / f"results{end}.csv") for end in ("", "-fast"))
    assert fast.dataset.tolist() == whole.dataset.tolist() and (fast.logloss - whole.logloss).abs().max() > 0
    text = (tmp_path / "out" / "results-fast.md").read_text()
    assert "icl-nano, fast" in text and "| linear |" in text and "Most is lost on" in text


def test_learning_curve_leaves_out_cells_that_one_snapshot_lacks():
    from benchmarks import learning

    early, late = frame("1 tasks", {"a": 0.6, "b": 0.6, "c": 0.5}), frame("2 tasks", dict.fromkeys("abcd", 0.8))
    baselines = pd.concat([frame("rf", dict.fromkeys("abcd", 0.7)), frame("knn", dict.fromkeys("abcd", 0.7))])
    table = learning.curve({2: late, 1: early}, baselines, "clf", FAMILIES)
    assert table.index.tolist() == ["1 tasks", "2 tasks", "rf"]
    assert table["auc"].tolist() == pytest.approx([0.55, 0.8, 0.7])
    assert table["auc, each table"].iloc[0] == pytest.approx(1.7 / 3)


def test_a_wrong_folder_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"lacks bench\.py"):
        tables.load_protocol(tmp_path)


def test_peer_losses_and_a_tie(tmp_path, tiny_release):
    from sklearn.metrics import log_loss

    from benchmarks import peer

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)).astype("float32"), np.arange(60) % 3
    arrays = {"Xtrain": X[:40], "ytrain": y[:40].astype("float32"), "Xtest": X[40:], "ytest": y[40:].astype("float32")}
    answer = peer.our_answer(arrays | {"ytrain": y[:40]}, True, str(tiny_release), 1)
    assert peer.row_losses(y[40:], answer).mean() == pytest.approx(log_loss(y[40:], answer), rel=1e-6)
    np.savez(tmp_path / "p.npz", **{f"clf_x_{k}": v for k, v in (arrays | {"tabpfn2": answer}).items()})
    _, sentence = peer.compare_tasks(peer.read_tasks(tmp_path / "p.npz"), str(tiny_release), True)
    assert "1 member +0.0000 ± 0.0000" in sentence
    np.savez(tmp_path / "bad.npz", clf_x_Xtrain=X)
    with pytest.raises(SystemExit, match="clf_x_ytest"):
        peer.read_tasks(tmp_path / "bad.npz")


@pytest.mark.parametrize("name", ["linear", "gp", "changepoint, regression", "changepoint, classification"])
def test_the_exact_answer_has_no_gap_and_a_random_model_has(name, tiny_model):
    import torch

    from benchmarks import oracle
    from priors import TaskBatch

    prior, N = oracle.ORACLES[name], 12

    class Exact:
        def predict_distribution(self, X, y, is_categorical, n_classes=None):
            y = torch.cat([y, y.new_zeros(len(y), X.shape[1] - y.shape[1])], 1)
            self.found = prior.posterior_predictive(TaskBatch(X, y, N, is_categorical))
            return self

        def log_prob(self, y):
            return self.found.log_prob(y.double() if y.is_floating_point() else y)

    gap, _, _ = oracle.gap_to_posterior(Exact(), prior, N, 2, n_tasks=8)
    assert abs(gap) < 1e-9
    gap, error, _ = oracle.gap_to_posterior(tiny_model, prior, N, 2, n_tasks=8)
    assert gap > 2 * error > 0
