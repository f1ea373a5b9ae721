"""What is estimated. Each estimand knows its columns, its design and its estimating equation."""

from icl.inference.estimands.base import Estimand, as_numbers
from icl.inference.estimands.glm import Logistic, Multinomial, Poisson
from icl.inference.estimands.linear import OLS, Mean

__all__ = ["OLS", "Estimand", "Logistic", "Mean", "Multinomial", "Poisson", "as_numbers"]
