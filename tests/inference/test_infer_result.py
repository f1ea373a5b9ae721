"""The result object: what it prints, draws and refuses."""

import io
import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from icl.inference import OLS, Mean, infer

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def result(table):
    return infer(OLS("y_lin ~ x1 + x2"), table, predictions="f_lin", level=0.9)


def test_estimates_are_labeled_pandas_objects(result):
    assert list(result.estimate.index) == ["Intercept", "x1", "x2"]
    assert list(result.covariance.columns) == list(result.covariance.index) == list(result.estimate.index)
    assert_allclose(np.sqrt(np.diag(result.covariance)), result.std_error)
    assert list(result.interval().columns) == ["lower", "upper"]
    assert result.n_labeled == 400 and result.n_unlabeled == 4_000
    assert 390 < result.df < 397  # 400 rows, three coefficients; the tuned weight makes their levers uneven


def test_to_frame_has_the_columns_of_broom(result):
    frame = result.to_frame()
    names = ["term", "estimate", "std.error", "statistic", "p.value", "conf.low", "conf.high"]
    assert list(frame.columns) == names
    assert_allclose(frame["statistic"], result.estimate / result.std_error)
    assert_allclose(frame[["conf.low", "conf.high"]], result.interval(0.9))


def test_effective_sample_size_is_the_ratio_of_variances_and_below_its_bound(table):
    result = infer(Mean("y_lin"), table, predictions="f_lin")
    classical = infer(Mean("y_lin"), table)
    assert_allclose(result.n_effective, 400 * (classical.std_error / result.std_error) ** 2)
    assert_allclose(result.gain, result.n_effective / 400)
    bound = 400 / (1 - result.correlation**2 * 4_000 / 4_400)
    assert (result.n_effective < 1.02 * bound).all() and (result.n_effective > 500).all()
    assert_allclose(classical.gain, 1)


def test_compare_lists_every_method_and_marks_the_imputed_one(result, table, inputs):
    comparison = result.compare()
    methods = list(comparison.index.get_level_values("method").unique())
    assert methods == ["classical", "imputed", "ppi", "ppi++", "synsurr", "shrunk"]
    assert list(comparison["valid"].groupby(level="method", sort=False).all()) == [True, False, True, True, True, True]
    assert comparison.loc["imputed", "note"].str.startswith("INVALID").all()
    for name, weight in (("classical", 0), ("ppi", 1), ("ppi++", "ppi++"), ("synsurr", "synsurr")):
        alone = infer(OLS("y_lin ~ x1 + x2"), table, predictions="f_lin", weight=weight, level=0.9)
        assert_allclose(comparison.loc[name, "estimate"], alone.estimate)
        assert_allclose(comparison.loc[name, ["lower", "upper"]].to_numpy(), alone.interval())
    labeled = inputs["labeled"] == 1
    filled = pd.DataFrame(inputs).assign(y_lin=np.where(labeled, inputs["y_lin"], inputs["f_lin"]))
    as_if_real = infer(OLS("y_lin ~ x1 + x2"), filled, level=0.9)
    assert_allclose(comparison.loc["imputed", ["lower", "upper"]].to_numpy(), as_if_real.interval())


def test_compare_keeps_a_weight_of_the_users_own(table):
    result = infer(Mean("y_lin"), table, predictions="f_lin", weight=0.25)
    assert_allclose(result.compare().loc[("weight 0.25", "y_lin"), "estimate"], result.estimate.iloc[0])
    assert "synsurr" not in infer(Mean("y_lin"), table, predictions="f_lin", compat="ppi_py").compare().index


def test_without_predictions_only_the_classical_answer_is_compared(table):
    result = infer(Mean("y_lin"), table)
    assert list(result.compare().index.get_level_values("method")) == ["classical"]
    assert "no predictions were used" in result.summary()


def test_summary_states_method_assumption_and_level(result):
    text = result.summary()
    for words in ("OLS y_lin ~ x1 + x2", "400 labeled, 4,000 unlabeled", "shrunk, weight 0.827 (tuned)", "90% low",
                  "missing completely at random", "397 degrees of freedom", "n effective"):  # fmt: skip
        assert words in text.replace("\n", " "), words
    assert "80% low" in result.summary(level=0.8)
    assert max(map(len, text.splitlines())) <= 100
    assert repr(result) == text


def test_summary_lists_the_diagnostics(table):
    text = infer(Mean("y_lin"), table, predictions=np.zeros(4_400)).summary()
    assert "[no_information]" in text


@pytest.fixture(scope="module")
def shifted():
    """Labels from one side only, which the test of labeled against unlabeled rows must see."""
    rng = np.random.default_rng(0)
    x = np.sort(rng.normal(size=400))
    table = pd.DataFrame({"x": x, "y": x + rng.normal(size=400), "f": x})
    table.loc[100:, "y"] = np.nan
    return infer(OLS("y ~ x"), table, predictions="f")


def test_a_shift_is_said_before_the_numbers_everywhere(result, shifted):
    from html.parser import HTMLParser

    from rich.console import Console

    warned = [d for d in shifted.diagnostics if d.severity == "warning"]
    assert [d.code for d in warned] == ["shift"]
    assert shifted.summary().startswith("WARNING [shift] labeled and unlabeled rows differ in x")
    assert shifted.summary().count("labeled and unlabeled rows differ") == 1
    assert shifted.to_markdown().splitlines()[2].startswith("> **Warning, shift**: labeled")
    assert (shifted.to_frame()["warning"] == "shift").all()
    assert {d["code"]: d["severity"] for d in shifted.to_dict()["diagnostics"]}["shift"] == "warning"
    console = Console(width=100, file=io.StringIO())
    console.print(shifted.to_console())
    assert console.file.getvalue().startswith("WARNING shift: labeled and unlabeled rows differ")
    for page in (shifted.to_html(), shifted._repr_html_()):
        parser = HTMLParser()
        text = []
        parser.handle_data = text.append
        parser.feed(page[page.index("</style>") :])
        said = "".join(text)
        assert 0 < said.index("shift: labeled and unlabeled rows differ") < said.index("std.error")
    assert "WARNING" not in result.summary() and 'class="warning"' not in result.to_html()
    assert "warning" not in result.to_frame()


def test_statsmodels_names_are_aliases(result):
    from numpy.testing import assert_array_equal

    for ours, theirs in (
        (result.estimate, result.params),
        (result.std_error, result.bse),
        (result.p_value(), result.pvalues),
        (result.to_frame()["statistic"], result.tvalues),
        (result.covariance, result.cov_params()),
        (result.interval(), result.conf_int()),
        (result.interval(0.99), result.conf_int(alpha=0.01)),
    ):
        assert_allclose(ours, theirs, rtol=1e-15)
    assert result.nobs == 400 and result.df_resid == result.df
    assert list(result.conf_int().columns) == [0, 1]  # as statsmodels calls them
    with pytest.raises(ValueError, match=r"write 0.05 for 95%"):
        result.conf_int(5)
    assert result.wald_test(["x1", "x2"]) == result.wald(["x1", "x2"])
    assert result.wald_test("x1 = 0, x2 = 0.5") == result.wald(["x1", "x2"], [0, 0.5])
    assert result.wald_test("x1 - x2") == result.wald([[0, 1, -1]]) and result.wald_test("x1") == result.wald("x1")
    by_text, by_matrix = result.t_test("x1 - x2 = 0.5, 2 * x1"), result.t_test([[0, 1, -1], [0, 2, 0]], [0.5, 0])
    assert list(by_text.index) == ["x1 - x2 = 0.5", "2 * x1"]
    assert_array_equal(by_text, by_matrix)
    both = result.wald([[0, 1, -1]], 0.5)
    assert_allclose(by_text["p.value"].iloc[0], both.p_value, rtol=1e-9)


@pytest.mark.parametrize("text", ["age", "x1 ** 2", "__import__('os').system('id')", "", "x1 = x2 =", "1 / 0 * x1"])
def test_text_that_is_no_linear_combination_is_refused(result, text):
    with pytest.raises(ValueError, match="no linear combination of the terms"):
        result.t_test(text)


def test_statsmodels_agrees_with_the_aliases(table):
    import statsmodels.formula.api as smf

    labeled = table.dropna(subset=["y_lin"])
    theirs = smf.ols("y_lin ~ x1 + x2", labeled).fit(cov_type="HC3", use_t=True)
    ours = infer(OLS("y_lin ~ x1 + x2"), table)
    for name in ("params", "bse", "tvalues", "pvalues"):
        assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-9)
    assert_allclose(ours.conf_int(0.1), theirs.conf_int(0.1), rtol=1e-9)
    assert_allclose(ours.t_test("x1 = x2")["p.value"], theirs.t_test("x1 = x2").pvalue, rtol=1e-9)


def test_comparison_prints_whole_and_is_a_frame(result):
    comparison = result.compare()
    text = repr(comparison)
    assert "..." not in text and "…" not in text and max(map(len, text.splitlines())) <= 100
    for method in ("classical", "imputed (INVALID)", "ppi", "ppi++", "synsurr"):
        assert text.count(f" {method} ") == 3
    assert result.to_markdown().count("imputed (INVALID)") == 3
    assert isinstance(comparison, pd.DataFrame) and type(comparison.round(2)) is pd.DataFrame
    assert "INVALID" in comparison._repr_html_()
    assert "80% low" in repr(result.compare(0.8))


def test_wald_takes_terms_and_matrices_and_refuses_the_rest(result):
    by_name, by_matrix = result.wald(["x1", "x2"]), result.wald([[0, 1, 0], [0, 1, 1]])
    assert_allclose(by_name.statistic, by_matrix.statistic)  # the same plane in other coordinates
    assert by_name.df == 2 and by_name.df_residual == result.df_terms[["x1", "x2"]].min() and by_name.p_value < 1e-10
    assert result.wald("x1", float(result.estimate["x1"])).p_value == pytest.approx(1)
    for bad, words in ((["age"], "no terms"), ([[1, 0]], "expected 3 columns"), ([[0, 1, 0], [0, 2, 0]], "repeat")):
        with pytest.raises(ValueError, match=words):
            result.wald(bad)


@pytest.mark.parametrize("call", [lambda r: r.interval(95), lambda r: r.interval(0), lambda r: r.compare(1.0)])
def test_levels_are_fractions(result, call):
    with pytest.raises(ValueError, match=r"write 0.95 for 95%"):
        call(result)


@pytest.mark.parametrize("call", [lambda r: r.interval(alternative="greater"), lambda r: r.p_value(0, "less")])
def test_unknown_alternatives_are_refused(result, call):
    with pytest.raises(ValueError, match="known are 'two-sided', 'larger', 'smaller'"):
        call(result)


def test_plot_draws_every_method_and_the_truth_on_the_given_axes(result):
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    assert result.plot(ax, truth={"x1": 0.4, "x2": -0.25}) is ax
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["classical", "imputed (INVALID)", "ppi", "ppi++", "synsurr", "shrunk"] * 2
    drawn = {tuple(line.get_xdata()) for line in ax.lines}
    assert tuple(result.interval().loc["x1"]) in drawn and (0.4, 0.4) in drawn
    with pytest.raises(ValueError, match="the terms are"):
        result.plot(ax, terms=["age"])
    panels = result.plot(truth=0.0)
    assert [panel.get_xlabel().split()[0] for panel in panels] == ["x1", "x2"]
    plt.close("all")


@pytest.mark.parametrize(
    ("x", "null", "is_drawn"),
    [((1, 3), 0.0, False), ((0.4, 3), 0.0, True), ((-1, 3), 0.0, True), ((-1, 3), None, True), ((0.4, 3), None, False)],
)
def test_zero_line_is_drawn_where_it_is_near_and_means_something(x, null, is_drawn):
    from matplotlib.figure import Figure

    from icl.inference.results.forest import forest_plot

    index = pd.MultiIndex.from_tuples([("classical", "x")], names=["method", "term"])
    row = pd.DataFrame({"estimate": np.mean(x), "lower": x[0], "upper": x[1], "valid": True}, index)
    ax = forest_plot(row, "classical", "it", Figure().subplots(), null=null)
    assert [line.get_xdata() for line in ax.lines if line.get_gid() == "null"] == ([[0, 0]] if is_drawn else [])


def test_means_have_no_zero_line_and_slopes_have(result, table):
    import matplotlib.pyplot as plt

    def has_line(of):
        axes = np.ravel(np.asarray(of.plot(), dtype=object))
        return any(line.get_gid() == "null" for ax in axes for line in ax.lines)

    far = infer(Mean("y"), table.assign(y=table["y_lin"] + 3, f=table["f_lin"] + 3), predictions="f")
    slope = infer(OLS("y ~ x2"), table.assign(y=table["y_lin"] - 0.2 * table["x2"]), predictions="f_lin")
    assert not has_line(far) and has_line(slope)
    plt.close("all")


def test_importing_the_package_loads_numpy_alone():
    code = (
        "import sys, icl.inference\n"
        "heavy = {'torch', 'pandas', 'scipy', 'sklearn', 'formulaic', 'matplotlib', 'rich', 'transformers'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def by_group(table):
    return infer(Mean("y_lin", by="stratum"), table, predictions="f_lin", level=0.9)


def test_contrasts_are_linear_combinations(result):
    named = result.contrast({"sum": {"x1": 1, "x2": 1}, "x1": {"x1": 1}})
    matrix = result.contrast([[0, 1, 1], [0, 1, 0]])
    assert_allclose(named.to_numpy(), matrix.to_numpy())
    V = result.covariance.loc[["x1", "x2"], ["x1", "x2"]].to_numpy()
    assert_allclose(named.loc["sum", "std.error"] ** 2, V.sum())
    assert_allclose(named.loc["x1"], result.to_frame().set_index("term").loc["x1", named.columns].astype(float))
    assert_allclose(result.wald([[0, 1, 1]]).p_value, named.loc["sum", "p.value"])
    for bad, words in (({"a": {"age": 1}}, "the terms are"), ([[1, 0]], "expected 3 columns")):
        with pytest.raises(ValueError, match=words):
            result.contrast(bad)


def test_differences_between_groups(by_group):
    every = by_group.differences()
    first, second, *_ = by_group.estimate.index
    assert len(every) == len(by_group.estimate) * (len(by_group.estimate) - 1) / 2
    assert_allclose(every["estimate"].iloc[0], by_group.estimate[second] - by_group.estimate[first])
    versus = by_group.differences(versus=second)
    assert_allclose(versus.loc[f"{first} - {second}", "estimate"], -every["estimate"].iloc[0])
    plain, holm, bonferroni = (by_group.differences(adjust=how)["p.value"] for how in ("none", "holm", "bonferroni"))
    assert (plain <= holm).all() and (holm <= bonferroni).all() and (bonferroni <= 1).all()
    assert_allclose(holm.min(), min(1, len(every) * plain.min()))
    for options, words in ((dict(versus="x"), "versus got 'x'"), (dict(adjust="fdr"), "known are")):
        with pytest.raises(ValueError, match=words):
            by_group.differences(**options)
    with pytest.raises(ValueError, match="only one term"):
        infer(Mean("y"), {"y": np.arange(9.0)}).differences()


def test_markdown_has_both_tables_and_escapes_the_formula(result):
    text = result.to_markdown()
    assert text.startswith("# OLS y\\_lin ~ x1 + x2")
    header = next(line for line in text.splitlines() if line.startswith("| term | estimate"))
    rows = [line for line in text.splitlines() if line.startswith("| x1 |")]
    assert header.count("|") == rows[0].count("|") and len(rows) == 1 + 6
    assert "imputed (INVALID)" in text and "90% low" in text and "missing completely at random" in text


def test_html_is_well_formed_self_contained_and_escaped(result):
    from html.parser import HTMLParser

    class Checker(HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag not in ("meta", "img"):
                opened.append(tag)
            links.extend(v for k, v in attributes if k in ("src", "href") and not v.startswith("data:"))

        def handle_endtag(self, tag):
            assert opened.pop() == tag

    for text in (result.to_html(), result._repr_html_()):
        opened: list = []
        links: list = []
        Checker().feed(text)
        assert not opened and not links
        assert "shrunk, weight 0.827 (tuned)" in text
    rude = infer(OLS("y ~ Q('<b>')"), {"y": [1.0, 2, 4, 3, 5], "<b>": [1.0, 2, 3, 5, 4]})
    assert "<b>]" not in rude.to_html() and "&lt;b&gt;" in rude.to_html()


def test_pages_of_many_terms_have_them_all_and_a_picture_of_the_first():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(300, 31)), columns=[f"c{j}" for j in range(30)] + ["y"])
    page = infer(OLS("y", covariates=[f"c{j}" for j in range(30)]), table).to_html()
    assert "The first 12 of 30 terms." in page and page.count(">c29<") == 2


def test_dict_is_plain_json(result, table):
    import json

    stored = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert stored["n_labeled"] == 400 and stored["level"] == 0.9
    assert_allclose([row["conf.low"] for row in stored["estimates"]], result.interval()["lower"])
    assert_allclose(stored["covariance"], result.covariance)
    normal = infer(Mean("y_lin"), table, predictions="f_lin", reference="normal", weight="matrix")
    assert json.loads(json.dumps(normal.to_dict(), allow_nan=False))["df"] is None
