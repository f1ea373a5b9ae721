"""Companions: classical models beside the network, whose out-of-context predictions it sees as columns.

One file each: `ridge`, `kernel`, `trees`, `crossfit` (boosting, any estimator of scikit-learn). `protocol` says what
they are given and answer, `columns` which of them are shown, `voice` and `points` what they say by themselves.
"""
