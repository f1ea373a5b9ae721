"""What left-out rows say of models of bootstrap samples.

From a bootstrap sample of few rows a network says both too much and too little: it believes patterns that copies of
rows suggest, and it leaves room for more spread than there is. `settle` measures both on rows that each sample left
out, over all samples together, and scales what the network says accordingly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from icl.joint.network import NetworkColumn
from icl.joint.noise import fitted_shares

_TINY = 1e-12
_TEMPERATURES = np.geomspace(0.4, 2.5, 23)


@dataclass(frozen=True)
class LeftOut:
    """Rows that know the column and that the sample of a model left out.

    Args:
        X: (k, ...) their other columns.
        numbers: (k,) their numbers or codes.
        rows: (k,) which rows of the table they are.
    """

    X: pd.DataFrame
    numbers: np.ndarray
    rows: np.ndarray


def settle(models: Sequence[NetworkColumn], said: Sequence[Any], left_out: Sequence[LeftOut]) -> None:
    """Scale what several models of one column say by how it fits the rows that their samples left out.

    Args:
        models: of samples of the same rows.
        said: what each says of its own left-out rows.
    """
    if models[0].kind.is_class:
        temperature = _temperature(models, said, left_out)
        for model in models:
            model.temperature = temperature
        return
    of_straight = [i for i, model in enumerate(models) if model.straight is not None]
    if not of_straight:
        return
    models, said = [models[i] for i in of_straight], [said[i] for i in of_straight]
    left_out = [left_out[i] for i in of_straight]
    # In units of the noise, since samples may differ in the scale of the column.
    units = [max(float(np.sqrt(model.straight.part.variance)), _TINY) for model in models if model.straight is not None]
    rest = [(m.warp.there(one.numbers) - m.straight_at(one.X)) / u for m, one, u in zip(models, left_out, units)]
    means = [d.mean.double().numpy() / u for d, u in zip(said, units)]
    r_K, m_K = np.concatenate(rest), np.concatenate(means)
    square = float(m_K @ m_K)
    if square == 0 or len(r_K) < 2:
        return
    slope = float(r_K @ m_K) / square
    # A row that several samples left out is one row.
    scores = np.bincount(np.concatenate([one.rows for one in left_out]), m_K * (r_K - slope * m_K))
    error = float(np.sqrt((scores**2).sum())) / square
    # Believed as far as it is beyond error; the positive part of Stein's factor.
    believed = float(np.clip(slope * max(0.0, 1 - (error / slope) ** 2), 0.0, 1.0)) if slope > 0 else 0.0
    kept = float(((r_K - believed * m_K) ** 2).sum() / (r_K**2).sum())
    logs = []
    for model, distribution, one in zip(models, said, left_out):
        assert model.straight is not None
        variance = float(distribution.variance.double().mean())
        model.believed = believed
        model.widened = float(np.sqrt(min(kept, 1.0) * model.straight.part.variance / max(variance, _TINY)))
        value = model.warp.there(one.numbers)
        logs.append(np.stack([part.log_density(value) for part in model.parts(distribution, one.X)]))
    shares = fitted_shares(np.concatenate(logs, axis=1), len(np.unique(np.concatenate([one.rows for one in left_out]))))
    for model in models:
        model.noise_shares = shares


def _temperature(models: Sequence[NetworkColumn], said: Sequence[Any], left_out: Sequence[LeftOut]) -> float:
    """The temperature at which the levels of left-out rows are likeliest, held back towards 1 by a few rows' worth."""
    held, seen = [], set()
    for model, distribution, one in zip(models, said, left_out):
        place = pd.Index(model.estimator.classes_).get_indexer(one.numbers.astype(np.int64))
        known = place >= 0
        held.append((distribution.log_probs.double()[torch.from_numpy(known)], torch.from_numpy(place[known])))
        seen |= set(one.rows.tolist())
    total = sum(len(place) for _, place in held)
    if not total:
        return 1.0
    worth = len(seen) / total  # a row counts once, however many samples left it out

    def loss(temperature: float) -> float:
        log_probs = [torch.log_softmax(scores / temperature, -1) for scores, _ in held]
        likelihood = sum(float(p.gather(-1, place[:, None]).sum()) for p, (_, place) in zip(log_probs, held))
        return -worth * likelihood + 4.0 * np.log(temperature) ** 2

    return float(min(_TEMPERATURES, key=loss))
