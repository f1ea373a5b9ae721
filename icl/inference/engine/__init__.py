"""theta = beta + W (eta_elsewhere - eta_labeled), with its covariance: the one engine behind all estimands."""
