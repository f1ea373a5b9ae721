"""The forward pass: contexts and the rows to answer from them, batched, spread over threads, within a memory limit.

A context is read once into the keys and values of every block (`TabularTransformer.read_context`); a query row then
costs no more than itself. What was read stays in memory as long as its `Context` does, if it fits.
"""

from __future__ import annotations

import threading
import warnings
import weakref
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from icl.network.model import ContextCache
from icl.network.reader import Model, ReaderCache
from icl.prediction.memory import Footprint, slice_tokens
from icl.prediction.workers import Job, keep_heap, n_threads_of, spread

FIT_MODES = ("auto", "cache", "low_memory")
# Share of `memory_gb` that fit_mode="auto" lets caches keep between predictions.
_CACHE_SHARE = 0.5


@dataclass(frozen=True, eq=False)
class Context:
    """Labelled rows as the model shall see them. Compares by identity, so that work done on one may be kept for it.

    Args:
        X_NF: float32 cells; NaN is missing, categories are integer codes.
        y_N: int64 classes, or float64 standardised targets.
        is_categorical_F: bool.
        n_classes: None for regression.
    """

    X_NF: np.ndarray
    y_N: np.ndarray
    is_categorical_F: np.ndarray
    n_classes: int | None


def answer(
    model: Model,
    contexts: Sequence[Context],
    rows: Sequence[np.ndarray],
    memory_gb: float = 2.0,
    fit_mode: str = "auto",
) -> list[torch.Tensor]:
    """Scores of the query rows (M, F) of each context: (M, max_classes) or (M, K), on the CPU in float64.

    Args:
        model: in evaluation mode, on any device.
        contexts: those of one shape share forward passes.
        rows: float32, for each context; M may be 0 and may differ between contexts.
        memory_gb: what caches and passes may take on the model's device, as `Footprint` estimates it.
        fit_mode: "auto" keeps what was read of the contexts for later calls if all of it takes at most half of
            `memory_gb`; "cache" if it takes at most `memory_gb`, else warns; "low_memory" keeps nothing.
    """
    check_fit_mode(fit_mode)
    keep_heap()
    alike = defaultdict(list)
    for i, context in enumerate(contexts):
        alike[(*context.X_NF.shape, context.n_classes is None, len(rows[i]))].append(i)
    sizes = [Footprint.of(model, key[0], key[1], len(indices)) for key, indices in alike.items()]
    kept = sum(size.cache for size in sizes)
    keep = fit_mode != "low_memory" and kept <= memory_gb * 1e9 * (1 if fit_mode == "cache" else _CACHE_SHARE)
    if fit_mode == "cache" and not keep:
        _warn_too_large(kept, memory_gb)
    free = memory_gb * 1e9 - (kept if keep else 0)

    answers: list = [None] * len(contexts)
    state = _state(model)
    jobs = []
    for (n_context, n_features, _, n_query), indices in alike.items():
        for batch in _batches(model, n_context, n_features, indices):
            asked = [contexts[i] for i in batch]
            read = 0 if keep and _CACHES.find(state, asked) is not None else n_context
            cost = len(batch) * model.n_tokens(n_features) * (read + n_query)
            need = Footprint.of(model, n_context, n_features, len(batch)).one_pass(n_query, keep)

            def work(share: float, batch: list[int] = batch, asked: list[Context] = asked) -> None:
                X_BMF = np.stack([rows[i] for i in batch])
                for i, scores_MK in zip(batch, _answer_batch(model, state, asked, X_BMF, keep, share)):
                    answers[i] = scores_MK

            jobs.append(Job(cost, need, work))
    spread(jobs, free, model.device)
    return answers


def check_fit_mode(fit_mode: str) -> None:
    """Raise a ValueError unless `fit_mode` is one of FIT_MODES."""
    if fit_mode not in FIT_MODES:
        raise ValueError(f"fit_mode must be one of {', '.join(map(repr, FIT_MODES))}, got {fit_mode!r}.")


def prepare(model: Model, contexts: Sequence[Context], memory_gb: float = 2.0) -> None:
    """Read the contexts now (fit_mode "cache"), so that the first `answer` is as fast as the later ones.

    Warns, and reads nothing, if the caches would take more than `memory_gb`.
    """
    answer(model, contexts, [c.X_NF[:0] for c in contexts], memory_gb, "cache")


def _batches(model: Model, n_context: int, n_features: int, indices: list[int]) -> list[list[int]]:
    """Contexts of one shape in batches that fill a slice of tokens each, or so many that every thread has one.

    Whatever is asked of them, so that a cache meets the same batch again.
    """
    n_tokens = (n_context + model.config.n_thinking_rows) * model.n_tokens(n_features)
    n_together = max(1, slice_tokens(model.device) // n_tokens)
    n_batches = max(-(-len(indices) // n_together), min(n_threads_of(model.device), len(indices)))
    return [part.tolist() for part in np.array_split(indices, n_batches)]


def _answer_batch(
    model: Model, state: tuple, contexts: list[Context], X_BMF: np.ndarray, keep: bool, free: float
) -> Iterator[torch.Tensor]:
    """(M, C) or (M, K) scores for each context; all of one shape."""
    n_context, n_features = contexts[0].X_NF.shape
    size = Footprint.of(model, n_context, n_features, len(contexts))
    with torch.inference_mode():
        cache = _CACHES.find(state, contexts)
        inputs = () if cache is not None else _tensors(model, contexts)
        if cache is None and keep:
            cache = model.read_context(*inputs)
            _CACHES.keep(state, contexts, cache)
        parts = []
        step = size.n_query(free, keep=cache is not None)
        for start in range(0, X_BMF.shape[1], step):
            part_BMF = torch.from_numpy(X_BMF[:, start : start + step]).to(device=model.device, dtype=model.dtype)
            if cache is not None:
                scores_BMK = model.answer(part_BMF, cast(Any, cache))  # of the model that made it
            else:
                X_BNF, *rest = inputs
                scores_BMK = model(torch.cat([X_BNF, part_BMF], 1), *rest)
            parts.append(scores_BMK.cpu().double())
        n_scores = model.config.n_bins if contexts[0].n_classes is None else model.config.max_classes
        return iter(torch.cat(parts, 1) if parts else torch.empty(len(contexts), 0, n_scores, dtype=torch.double))


def _tensors(model: Model, contexts: list[Context]) -> tuple:
    """What the model takes of the contexts: X, y, is_categorical, n_classes."""
    X_BNF, y_BN, flags_BF = (
        torch.from_numpy(np.stack([getattr(c, name) for c in contexts])).to(model.device)
        for name in ("X_NF", "y_N", "is_categorical_F")
    )
    if contexts[0].n_classes is None:
        return X_BNF.to(model.dtype), y_BN.to(model.dtype), flags_BF, None
    return X_BNF.to(model.dtype), y_BN, flags_BF, torch.tensor([c.n_classes for c in contexts], device=model.device)


class _Caches:
    """What was read of contexts, until the first context of its batch is forgotten; in no pickle, shared by threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._kept: weakref.WeakKeyDictionary[Context, tuple] = weakref.WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, state: tuple, contexts: list[Context]) -> ContextCache | ReaderCache | None:
        """What a model in this `_state` read of these contexts."""
        with self._lock:
            others, found, cache = self._kept.get(contexts[0], (None, None, None))
        same = others is not None and [other() for other in others] == contexts[1:] and found == state
        return cache if same else None

    def keep(self, state: tuple, contexts: list[Context], cache: ContextCache | ReaderCache) -> None:
        with self._lock:
            self._kept[contexts[0]] = ([weakref.ref(c) for c in contexts[1:]], state, cache)

    def forget(self, contexts: Sequence[Context]) -> None:
        """Drop what was read of these contexts."""
        with self._lock:
            for context in contexts:
                self._kept.pop(context, None)


_CACHES = _Caches()


def _state(model: Model) -> tuple:
    """Differs if the model is another one, has moved, or its weights were written to (fine-tuned, loaded)."""
    versions = tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in model.parameters())
    return id(model), model.device, model.dtype, versions


def _warn_too_large(n_bytes: int, memory_gb: float) -> None:
    warnings.warn(
        f'fit_mode="cache" needs {n_bytes / 1e9:.1f} GB to keep this context, memory_gb is {memory_gb:g}: it will be '
        f"read again at every prediction. Raise memory_gb, or lower n_estimators or max_rows.",
        UserWarning,
        stacklevel=4,
    )
