"""Shapley values of a game whose players are the columns of a table: exact, or from random orders with their error.

A game gives each coalition (the columns that are known) a worth. A column's value is what it adds to the columns before
it, averaged over all orders in which columns may become known; the values of a row sum to the worth of all columns less
that of none.

Dimension key: M rows, K coalitions, P players, C outputs, Q pairs of orders.

Source:
    Castro, Gomez & Tejada (2009), doi:10.1016/j.cor.2008.04.004 (sampling orders); Mitchell et al. (2022),
    arXiv:2104.12199 (an order together with its reverse, which cancels part of the error).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import numpy as np

Game = Callable[[np.ndarray], np.ndarray]
"""From (K, P) bool, which columns are known, to the worth (M, K, C) for each row."""

LEAST_PAIRS = 2  # fewer pairs of orders have no standard error


@dataclass(frozen=True)
class Shares:
    """What each player is worth.

    Attributes:
        values: (M, P, C).
        std_errors: (M, P, C) of sampling orders; None if the values are exact.
        empty, whole: (M, C) worth of no column and of all.
        n_coalitions: how many were asked for.
    """

    values: np.ndarray
    std_errors: np.ndarray | None
    empty: np.ndarray
    whole: np.ndarray
    n_coalitions: int


def shapley(game: Game, n_players: int, budget: int, seed: int) -> Shares:
    """Exact if all 2^P coalitions are within the budget, else from as many random orders as it allows.

    Args:
        budget: coalitions asked for each row, about.
        seed: of the orders; the same ones for every row.
    """
    if n_players < 63 and 2**n_players <= budget:
        return exact(game, n_players)
    return sampled(game, n_players, max(LEAST_PAIRS, budget // (2 * n_players)), seed)


def exact(game: Game, n_players: int) -> Shares:
    """From all 2^P coalitions."""
    masks_KP = (np.arange(2**n_players)[:, None] >> np.arange(n_players)) % 2 == 1
    worth_MKC = game(masks_KP)
    size_K = masks_KP.sum(1)
    # Of a coalition with the player: 1 / (P (P-1 choose others)); of one without it, the same with the player added.
    weight = np.array([1 / (n_players * comb(n_players - 1, others)) for others in range(n_players)])
    weight_KP = np.where(
        masks_KP,
        weight[np.maximum(size_K - 1, 0)][:, None],
        -weight[np.minimum(size_K, n_players - 1)][:, None],
    )
    values_MPC = np.einsum("mkc,kp->mpc", worth_MKC, weight_KP)
    return Shares(values_MPC, None, worth_MKC[:, 0], worth_MKC[:, -1], len(masks_KP))


def sampled(game: Game, n_players: int, n_pairs: int, seed: int) -> Shares:
    """From `n_pairs` random orders and their reverses."""
    rng = np.random.default_rng(seed)
    forward_QP = np.stack([rng.permutation(n_players) for _ in range(n_pairs)])
    orders = np.concatenate([forward_QP, forward_QP[:, ::-1]])
    # rank of each player in its order; known after s steps are those of rank below s
    rank = np.argsort(orders, axis=1)
    chains = rank[:, None, :] < np.arange(n_players + 1)[None, :, None]
    masks_KP, where = np.unique(chains.reshape(-1, n_players), axis=0, return_inverse=True)
    worth_MKC = game(masks_KP)
    where = where.reshape(len(orders), n_players + 1)
    # What was added at each step of an order, put back to the player that came in then.
    steps = np.diff(worth_MKC[:, where], axis=2)
    gains = np.take_along_axis(steps, rank[None, :, :, None], axis=2)
    pairs_MQPC = (gains[:, :n_pairs] + gains[:, n_pairs:]) / 2
    std_errors = pairs_MQPC.std(axis=1, ddof=1) / np.sqrt(n_pairs)
    empty, whole = worth_MKC[:, where[0, 0]], worth_MKC[:, where[0, -1]]
    return Shares(pairs_MQPC.mean(axis=1), std_errors, empty, whole, len(masks_KP))
