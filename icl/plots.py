"""The address that figures had before icl.pages.figures; it stays importable."""

from icl.pages.figures import (
    plot_calibration,
    plot_learning_curve,
    plot_pit,
    plot_predictive_band,
    plot_reliability,
    plot_scores,
    plot_training_curve,
)

__all__ = [
    "plot_calibration",
    "plot_learning_curve",
    "plot_pit",
    "plot_predictive_band",
    "plot_reliability",
    "plot_scores",
    "plot_training_curve",
]
