"""What is estimated. Each estimand knows its columns, its design and its estimating equation."""

from icl.inference.estimands.base import Estimand, as_numbers
from icl.inference.estimands.custom import MEstimand
from icl.inference.estimands.glm import Logistic, Multinomial, Poisson
from icl.inference.estimands.linear import OLS, Mean
from icl.inference.estimands.quantile import Quantile
from icl.inference.estimands.statistic import Statistic

__all__ = [
    "OLS",
    "Estimand",
    "Logistic",
    "MEstimand",
    "Mean",
    "Multinomial",
    "Poisson",
    "Quantile",
    "Statistic",
    "as_numbers",
]
