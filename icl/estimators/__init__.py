"""scikit-learn estimators around the network: point predictions, distributions, intervals that hold."""
