"""What is estimated. Each estimand knows its columns, its design and its estimating equation."""

from icl.inference.estimands.base import Estimand, as_numbers
from icl.inference.estimands.composition import Shares
from icl.inference.estimands.custom import MEstimand
from icl.inference.estimands.disparity import Disparity
from icl.inference.estimands.distribution import Distribution
from icl.inference.estimands.effect import Effect
from icl.inference.estimands.glm import Logistic, Multinomial, Poisson
from icl.inference.estimands.instrument import TwoStage
from icl.inference.estimands.linear import OLS, Mean
from icl.inference.estimands.linked import Cloglog, Gamma, NegativeBinomial, Probit
from icl.inference.estimands.quantile import Quantile
from icl.inference.estimands.statistic import Statistic
from icl.inference.estimands.survival import Cox, Survival

__all__ = [
    "OLS",
    "Cloglog",
    "Cox",
    "Disparity",
    "Distribution",
    "Effect",
    "Estimand",
    "Gamma",
    "Logistic",
    "MEstimand",
    "Mean",
    "Multinomial",
    "NegativeBinomial",
    "Poisson",
    "Probit",
    "Quantile",
    "Shares",
    "Statistic",
    "Survival",
    "TwoStage",
    "as_numbers",
]
