"""How long a fit and a prediction will take here: what is to be computed, times the pace of this machine.

The pace is measured once a process, on two small pieces of work of a few hundredths of a second: a forward pass of the
network on a table of 256 rows; twenty trees and a decomposition. The network's time is then its floating-point
operations at that pace: on four shapes between 500 x 10 and 5,000 x 20 a core took 9 to 17 ms for each billion.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.tree import ExtraTreeRegressor

from icl.network.cost import forward_flops
from icl.network.reader import Model
from icl.prediction.alone import config_by_itself
from icl.prediction.companions.columns import FEWEST_ROWS, KINDS
from icl.prediction.hierarchy import class_questions
from icl.prediction.workers import keep_heap, n_threads_of

_PROBE_ROWS, _PROBE_FEATURES, _REPEATS = 256, 10, 3
# What `_companions_probe` took on the machine that the companions' estimates were fitted on.
_PROBED = 0.031
# Of fit and predict where nothing is computed: encoding, copying; of a cell.
_FIXED, _CELL = 0.03, 4e-7
# Rows that the last blend looks at (`icl.estimators.blend`).
_BLENDED = 4_000


class LongWorkWarning(UserWarning):
    """Fit and prediction will take more than a minute, or more than the budget whatever is left out."""


@dataclass(frozen=True)
class Work:
    """What a fit and a prediction compute.

    Args:
        n_rows: labelled.
        n_features: columns of the table.
        n_classes: None for a number.
        n_queries: rows to predict.
        n_members: of the ensemble.
        n_shown: labelled rows that a member sees at most.
        n_made: columns that companions add.
        companions: names, or estimators of the user's, which are taken for as fast as boosting.
        apart: whether companions learn only from the rows that the network is not shown, and once.
        n_held_out: quarters of the rows that one member answers from the others.
        n_learnt: of these rows, how many they learn from; None for all.
    """

    n_rows: int
    n_features: int
    n_classes: int | None
    n_queries: int
    n_members: int
    n_shown: int
    n_made: int
    companions: tuple[str | BaseEstimator, ...]
    apart: bool
    n_held_out: int = 0
    n_learnt: int | None = None


@dataclass(frozen=True)
class Pace:
    """Of this machine, one thread: seconds a floating-point operation; times that of the companions' own estimates."""

    network: float
    companions: float
    n_threads: int


NOMINAL = Pace(1.1e-11, 1.0, 1)
"""Of one core of the machine that the companions' estimates were fitted on."""


@dataclass(frozen=True)
class Seconds:
    """Expected seconds on the wall, of an otherwise idle machine."""

    companions: float
    network: float
    rest: float

    @property
    def total(self) -> float:
        return self.companions + self.network + self.rest

    def times(self, factor: float) -> Seconds:
        return Seconds(self.companions * factor, self.network * factor, self.rest)


def expected(work: Work, config, pace: Pace) -> Seconds:
    """Seconds that `work` takes at a `pace`; `config`: of the network."""
    if not work.companions:
        config = config_by_itself(config)
    own = [companion_seconds(companion, work) * pace.companions for companion in work.companions]
    beside = max(1, min(len(own), pace.n_threads))
    # Every second member sees components of the columns too.
    n_turned = work.n_members // 2
    passes = [
        (n_members, forward_flops(config, 1, round(share * n), work.n_queries, width, work.n_classes is None))
        for n_members, n_columns in ((work.n_members - n_turned, 1), (n_turned, 2))
        for share, n, width in _questions(work, config, n_columns)
    ]
    jobs = sum(n_members for n_members, _ in passes)
    network = sum(n * flops for n, flops in passes) * pace.network / max(1, min(pace.n_threads, jobs))
    if work.n_held_out:
        held = [
            forward_flops(config, 1, round(0.75 * share * n), round(0.25 * n), width, work.n_classes is None)
            for share, n, width in _questions(replace(work, n_shown=min(work.n_shown, _BLENDED)), config)
        ]
        network += work.n_held_out * sum(held) * pace.network
    cells = (work.n_rows + work.n_queries) * work.n_features
    return Seconds(max(max(own, default=0.0), sum(own) / beside), network, _FIXED + _CELL * cells)


def companion_seconds(companion: str | BaseEstimator, work: Work) -> float:
    """Of one core of the machine that the companions' estimates were fitted on."""
    kind = KINDS[companion if isinstance(companion, str) else "boosting"]
    n_rows = work.n_rows
    if work.apart:
        n_rows = min(n_rows - work.n_shown, work.n_learnt or n_rows)
    if n_rows < FEWEST_ROWS:
        return 0.0
    return kind.seconds(n_rows, work.n_features, work.n_classes, not work.apart) + work.n_queries * kind.seconds_a_query


def _questions(work: Work, config, times: int = 1) -> list[tuple[float, int, int]]:
    """Share of the rows shown, their number, and columns shown, of each context of a member.

    `times`: how often a member shows the table's columns, 2 with as many components as columns.
    """
    n_shown = min(work.n_rows, work.n_shown)
    width = min(times * work.n_features, config.max_features - work.n_made) + work.n_made
    shares = [1.0]
    if work.n_classes is not None and work.n_classes > config.max_classes:
        questions_QC = class_questions(np.arange(work.n_classes), config.max_classes)
        shares = (questions_QC >= 0).mean(1).tolist()
    return [(share, n_shown, width) for share in shares]


def pace_of(model: Model, clock: Callable[[], float] = time.perf_counter) -> Pace:
    """The pace of this machine, measured; the best of three, for what disturbs only slows."""
    network = _network_probe(model)
    flops = forward_flops(model.config, 1, _PROBE_ROWS, _PROBE_ROWS // 4, _PROBE_FEATURES, False)
    threads = n_threads_of(model.device)
    try:
        torch.set_num_threads(1)
        return Pace(_best(network, clock) / flops, _best(_companions_probe, clock) / _PROBED, threads)
    finally:
        if model.device.type == "cpu":
            torch.set_num_threads(threads)


@functools.lru_cache(maxsize=8)
def pace_here(model: Model) -> Pace:
    """`pace_of`, measured once for each model."""
    return pace_of(model)


def _best(work: Callable[[], object], clock: Callable[[], float]) -> float:
    found = []
    for _ in range(_REPEATS):
        start = clock()
        work()
        found.append(clock() - start)
    return min(found)


def _network_probe(model: Model) -> Callable[[], object]:
    keep_heap()
    generator = torch.Generator().manual_seed(0)
    n = _PROBE_ROWS + _PROBE_ROWS // 4
    X = torch.randn(1, n, _PROBE_FEATURES, generator=generator).to(model.device, model.dtype)
    y = (torch.arange(_PROBE_ROWS) % 2)[None].to(model.device)
    flags = torch.zeros(1, _PROBE_FEATURES, dtype=torch.bool, device=model.device)

    def run() -> object:
        with torch.inference_mode():
            return model(X, y, flags, torch.tensor([2], device=model.device)).cpu()

    run()  # what is allocated and compiled first is no pace
    return run


def _companions_probe() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, _PROBE_FEATURES)).astype("f4")
    for seed in range(20):
        ExtraTreeRegressor(random_state=seed).fit(X, X[:, 0] + X[:, 1] ** 2, check_input=False)
    torch.linalg.eigh(torch.from_numpy(X[:300] @ X[:300].T).double())
