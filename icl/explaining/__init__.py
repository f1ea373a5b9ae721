"""Why a prediction is what it is: Shapley values, attended rows, partial dependence."""
