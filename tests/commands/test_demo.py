"""The demonstration: its numbers are what the library and NumPy compute, its page needs nothing but itself."""

import base64
import io
import re
import time

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from icl.commands.demo import hidden, scores, tables
from icl.commands.demo.run import run_demo
from icl.inference import OLS, Mean

LEVEL = 0.9
FIGURES = ("scores", "predictions", "estimates")


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """A tiny random model that takes the 30 columns of the widest table."""
    import torch

    from icl.network.config import TabularConfig
    from icl.network.model import TabularTransformer
    from icl.releases.folder import save_release

    config = TabularConfig(d_embed=8, n_layers=1, n_heads=1, n_thinking_rows=1, n_bins=16, max_classes=3)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = TabularTransformer(config).eval()
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return save_release(model, tmp_path_factory.mktemp("release") / "tiny", {"seed": 0}, dtype=torch.float32)


@pytest.fixture(scope="module")
def run(release, tmp_path_factory):
    """The demonstration, what it printed, and the seconds it took."""
    out = tmp_path_factory.mktemp("demo") / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    console, start = Console(file=io.StringIO(), width=100), time.perf_counter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "N_TREES", 20)
        done = run_demo(out, str(release), 0, LEVEL, True, console)
    return done, console.file.getvalue(), time.perf_counter() - start


@pytest.fixture(scope="module")
def by_name():
    return {table.name: table for table in tables.all_tables()}


def test_full_data_answers_are_numpys(run, by_name):
    y = by_name["diabetes"].y.to_numpy(dtype=float)
    X = by_name["diabetes"].X
    design = np.column_stack([np.ones(len(y)), X["age"], X["sex"]])
    slopes = np.linalg.lstsq(design, y, rcond=None)[0]
    malignant = np.mean(by_name["breast cancer"].y == "malignant")
    mean, ols, share = (answer.full_data for answer in run[0].answers)
    assert mean.tolist() == pytest.approx([y.mean()], rel=1e-12)
    assert ols[["age", "sex"]].tolist() == pytest.approx(slopes[1:].tolist(), rel=1e-9)
    assert share.tolist() == pytest.approx([malignant], rel=1e-12)


def test_labelled_only_is_the_answer_from_the_kept_labels(run, by_name):
    table = hidden.hide_labels(by_name["diabetes"], 60, 0)
    kept = table["progression"].dropna()
    assert len(kept) == 60
    assert kept.equals(by_name["diabetes"].y[kept.index].astype(float))
    row = run[0].answers[0].estimates.set_index("method").loc["classical"]
    assert row["estimate"] == pytest.approx(kept.mean(), rel=1e-12)
    assert row["std_error"] == pytest.approx(kept.std() / np.sqrt(60), rel=1e-9)


def test_estimates_are_those_of_the_result(run):
    for answer in run[0].answers:
        truth = answer.result.compare(LEVEL)
        for _, row in answer.estimates.iterrows():
            assert row["estimate"] == truth.loc[(row["method"], row["term"]), "estimate"]
            assert row["covers"] == (row["lower"] <= answer.full_data[row["term"]] <= row["upper"])
        assert not answer.estimates.set_index("method").loc[["imputed"], "valid"].any()


def test_splits_part_the_table(by_name):
    table = by_name["wine"]
    context, held_out = scores.split_rows(table, 60, 3)
    assert len(context) == 60
    assert sorted([*context, *held_out]) == list(range(len(table.y)))
    assert set(table.y.iloc[context]) == set(table.y)


def test_scores_are_sklearns(run, by_name):
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.preprocessing import StandardScaler

    table = by_name["breast cancer"]
    context, held_out = scores.split_rows(table, 60, 0)
    scaler = StandardScaler().fit(table.X.iloc[context])
    model = LogisticRegression(max_iter=2_000).fit(scaler.transform(table.X.iloc[context]), table.y.iloc[context])
    margin = model.decision_function(scaler.transform(table.X.iloc[held_out]))
    part = run[0].scores.query("table == 'breast cancer' and n_context == 60 and split == 0 and method == 'logistic'")
    assert part["roc_auc"].item() == pytest.approx(roc_auc_score(table.y.iloc[held_out] == "malignant", margin))


def test_every_setting_has_every_method(run):
    counts = run[0].scores.groupby(["table", "n_context"])["method"].value_counts()
    assert set(counts) == {run[0].n_splits}
    assert len(counts) == 6 * 3
    assert run[0].scores["seconds"].min() > 0 and run[0].scores["seconds"].sum() < run[2]  # seconds of this run


def test_band_is_ordered_and_pit_is_a_probability(run):
    band = run[0].band
    assert len(band) == 442 - 200
    assert (band["low"] < band["median"]).all() and (band["median"] < band["high"]).all()
    assert band["pit"].between(0, 1).all()
    inside = (band["low"] <= band["truth"]) & (band["truth"] <= band["high"])
    assert inside.mean() == pytest.approx(scores.central_coverage(band["pit"].to_numpy(), np.array([0.9]))[0])


def test_a_perfect_forecaster_is_calibrated():
    pit = (np.arange(1000) + 0.5) / 1000
    nominal = np.array([0.1, 0.5, 0.9])
    assert scores.central_coverage(pit, nominal) == pytest.approx(nominal)


def test_redrawn_intervals_cover_at_their_rate_and_imputation_does_not(by_name):
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    predictor = make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 3, 7)))
    n_contexts, n_each = 20, 12
    table = by_name["diabetes"]
    study = hidden.Study("?", table, OLS("progression", covariates=("age", "sex")), ("age", "sex"), predictor)
    rates = hidden.redraw(study, n_contexts, n_each, LEVEL, 1, lambda: None).set_index(["term", "method"])["coverage"]
    error = np.sqrt(LEVEL * (1 - LEVEL) / (n_contexts * n_each))
    for term in study.terms:
        for method in ("classical", "ppi", "ppi++", "synsurr", "shrunk"):
            assert abs(rates[term, method] - LEVEL) < 4 * error, (term, method)
        assert rates[term, "imputed"] < LEVEL - 4 * error


def test_redraw_is_a_function_of_its_seed(by_name):
    from sklearn.linear_model import LinearRegression

    study = hidden.Study("?", by_name["diabetes"], Mean("progression"), ("progression",), LinearRegression())
    first, again, other = (hidden.redraw(study, 2, 3, LEVEL, seed, lambda: None) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert not first["mean_width"].equals(other["mean_width"])


def test_folder_holds_what_it_names_and_nothing_of_ours_is_left_over(run):
    folder = run[0].report.parent
    names = {f"{name}.png" for name in FIGURES} | {"scores.csv", "estimates.csv", "coverage.csv", "report.html"}
    assert {file.name for file in folder.iterdir()} == names | {"mine.txt"}
    assert (folder / "mine.txt").read_text() == "keep"
    saved = pd.read_csv(folder / "coverage.csv")
    assert saved["coverage"].tolist() == pytest.approx(run[0].coverage["coverage"].tolist())


@pytest.mark.parametrize("name", FIGURES)
def test_figures_show_something(run, name):
    from matplotlib.image import imread

    image = imread(run[0].report.parent / f"{name}.png")
    height, width = image.shape[:2]
    assert min(height, width) > 400
    assert 0.01 < np.mean(image[..., :3].min(axis=2) < 0.9) < 0.9  # neither blank nor black
    assert np.abs(image[..., 0] - image[..., 2]).max() > 0.2  # a colour besides grey


def test_page_is_self_contained_and_says_what_is_invalid(run):
    folder, html = run[0].report.parent, run[0].report.read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert [base64.b64decode(s.removeprefix("data:image/png;base64,")) for s in sources] == [
        (folder / f"{name}.png").read_bytes() for name in FIGURES
    ]
    prose = re.sub(r"data:image/png;base64,[^\"]*", "", html)
    assert not re.search(r"https?:|//|@import|url\(|<script", prose)
    assert str(folder.parent) not in prose
    for title in ("Zero-shot classification", "Zero-shot regression", "60 labels shown", "20 draws of 60 labels"):
        assert title in prose
    assert "imputed: INVALID" in prose and "The red rows are INVALID" in prose
    assert re.search(rf">{int(run[0].answers[0].full_data['progression'])}(\.\d+)?</td>", prose)
    assert "90% interval" in prose and "90% wanted" in prose and "95% interval" not in prose


def test_it_says_where_classical_models_win_what_labels_cost_and_how_a_file_is_read(run):
    """On the terminal and on the page alike; the settings that are named are those where the best mean is not ours."""
    done, text, _ = run
    flat, page = " ".join(text.split()), done.report.read_text(encoding="utf-8")
    means = done.scores.groupby(["table", "n_context", "method"])[["roc_auc", "r2"]].mean().max(axis=1).unstack()
    lost = [f"{table} from {n} rows (" for (table, n), row in means.iterrows() if row.idxmax() != scores.OURS]
    assert all(said in flat and said in page for said in lost)
    for said in ("people on file:", "numbers with decimal comma, in EUR", "say which with --dates dmy"):
        assert said in flat and said in page


def test_terminal_shows_every_table_within_100_columns(run):
    text = run[1]
    for title in ("Zero-shot classification", "Zero-shot regression", "60 labels shown", "20 draws of 60 labels"):
        assert title in text
    assert str(run[0].report) in text
    lines = [line for line in text.splitlines() if str(run[0].report) not in line]
    assert max(map(len, lines)) <= 100
    assert "…" not in text  # a cell that did not fit
