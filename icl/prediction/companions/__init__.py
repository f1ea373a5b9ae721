"""Companions: classical models beside the network, whose out-of-context predictions it sees as columns.

One file each: `kernel`, `trees`, `crossfit` (boosting, and any scikit-learn estimator). `protocol` says what they are
given and answer, `columns` which of them are shown.
"""
