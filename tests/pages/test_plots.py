"""Figures show the numbers they were given."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from icl.pages.figures import (
    plot_calibration,
    plot_learning_curve,
    plot_pit,
    plot_predictive_band,
    plot_reliability,
    plot_scores,
    plot_training_curve,
)


def axes(n=1):
    return Figure(layout="constrained").subplots(1, n)


def test_calibration_draws_the_diagonal_and_the_points():
    nominal, observed = np.array([0.5, 0.9]), np.array([0.4, 0.95])
    ax = plot_calibration(nominal, observed, axes())
    diagonal, points = ax.get_lines()
    assert np.array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    assert np.array_equal(points.get_xydata(), np.column_stack([nominal, observed]))


def test_band_keeps_rows_together_when_it_orders_them():
    median = np.array([3.0, 1.0, 2.0])
    ax = plot_predictive_band(median + 0.5, median, median - 1, median + 1, axes(), unit="kg")
    line, truth = ax.get_lines()
    assert line.get_ydata().tolist() == [1.0, 2.0, 3.0]
    assert truth.get_ydata().tolist() == [1.5, 2.5, 3.5]
    assert ax.get_ylabel() == "kg"


@pytest.mark.parametrize("base", [0.0, 0.5])
def test_bars_end_at_the_scores(base):
    means = pd.DataFrame({"ours": [0.9, -0.2], "other": [0.8, 0.1]}, index=["a", "b"])
    ax = plot_scores(means, means * 0 + 0.05, axes(), "score", base=base, highlight="ours")
    ends = [[bar.get_x() + bar.get_width() for bar in bars] for bars in ax.containers if hasattr(bars, "patches")]
    assert np.allclose(ends, means.to_numpy().T)
    low, high = ax.get_xlim()
    assert low < -0.25 and high > 0.95
    assert {text.get_text() for text in ax.texts} == {"0.900", "-0.200", "0.800", "0.100"}


def test_training_curve_reads_a_log_with_gaps():
    # Validation rows carry no training loss and no count of tasks, as Lightning writes them.
    steps = np.arange(0, 1000, 10)
    log = pd.DataFrame({"step": steps, "tasks_seen": 5.0 * steps})
    for task in ("classification", "regression"):
        log[f"train/{task}_loss"] = 1 / (1 + steps)
        log[f"val/{task}_loss"] = np.nan
    check = {"step": [500], "tasks_seen": [np.nan], "val/classification_loss": [0.5], "val/regression_loss": [0.7]}
    log = pd.concat([log, pd.DataFrame(check)], ignore_index=True)
    for ax, value in zip(plot_training_curve(log, axes(2)), (0.5, 0.7)):
        assert ax.get_lines()[-1].get_xydata().tolist() == [[2500.0, value]]
        assert ax.get_xlabel() and ax.get_ylabel()


def test_training_curve_says_what_is_missing():
    with pytest.raises(ValueError, match="tasks_seen"):
        plot_training_curve(pd.DataFrame({"step": [1]}), axes(2))


def test_pit_bars_are_the_density_and_the_line_is_at_one():
    density = np.array([0.5, 1.5, 1.0, 1.0])
    ax = plot_pit(density, axes(), np.full(4, 0.1))
    assert [bar.get_height() for bar in ax.patches] == density.tolist()
    assert [bar.get_x() for bar in ax.patches] == [0, 0.25, 0.5, 0.75]
    assert ax.get_lines()[-1].get_ydata() == [1, 1]
    assert ax.get_ylim()[1] >= 1.6


def test_reliability_shows_points_and_leaves_out_empty_bins():
    predicted, observed = np.array([0.2, np.nan, 0.9]), np.array([0.1, np.nan, 1.0])
    ax = plot_reliability(predicted, observed, np.array([3, 0, 1]), axes(), np.array([0.05, np.nan, 0.0]))
    diagonal, points = ax.get_lines()[:2]
    assert np.array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    assert np.array_equal(points.get_xydata(), np.column_stack([predicted, observed]), equal_nan=True)
    assert [bar.get_height() for bar in ax.patches] == pytest.approx([0.3, 0, 0.1])


def test_learning_curve_is_in_order_of_tasks_and_others_are_level():
    ax = plot_learning_curve([400, 100, 200], [0.9, 0.7, 0.8], {"forest": 0.75}, axes(), "ROC AUC")
    line, level = ax.get_lines()
    assert line.get_xydata().tolist() == [[100, 0.7], [200, 0.8], [400, 0.9]]
    assert set(level.get_ydata()) == {0.75} and [text.get_text() for text in ax.texts] == ["forest"]
    assert ax.get_xscale() == "log"


def test_the_address_of_before_holds_the_same_figures():
    import icl.plots
    from icl.pages import figures

    own = {name for name in vars(figures) if name.startswith("plot_")}
    assert own == set(icl.plots.__all__)
    assert all(getattr(icl.plots, name) is getattr(figures, name) for name in own)
