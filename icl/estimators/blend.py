"""Shares of network and companions, from what both say about a part of the labelled rows out of context.

Companions answer every labelled row out of context already; the network is asked once more, as one member that has all
but a quarter of the rows as context. A row's label chooses shares that answer for query rows, never for itself.

The same answers choose a temperature of classes, about a usual one that is below 1 (`icl.prediction.blend`), and where
they are many what is added to each class.

Dimension key: N context rows, F columns, H held-out rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from icl.estimators.folds import deal
from icl.estimators.weights import Worth
from icl.network.distribution import histogram_edges
from icl.network.reader import Model
from icl.prediction.atoms import in_bins
from icl.prediction.blend import (
    OF_CLASSES,
    OF_FEW_NUMBERS,
    OF_LONG,
    OF_MIXTURES,
    OF_NUMBERS,
    Blend,
    class_shares,
    number_shares,
)
from icl.prediction.companions.columns import SOME_ROWS, Columns
from icl.prediction.companions.voice import Voice
from icl.prediction.forward import answer
from icl.prediction.guise import Guise
from icl.prediction.member import Member

_N_FOLDS = 4
# A member that reads more rows is asked as one that reads so many: enough to choose two numbers by.
_MOST_ROWS = 3_000
# Fewer held-out rows say too little about each class: log loss was no better with offsets chosen by them.
_MANY_HELD = 400


@dataclass(frozen=True)
class HeldOut:
    """Rows that one member lacks.

    Args:
        shown: what a `Member` takes beside its guise: cells, targets, flags, companions' columns, atoms.
        worth: of the rows.
        classify: whether targets are classes.
        seed: of who is held out.
    """

    shown: tuple[np.ndarray, np.ndarray, np.ndarray, Columns, np.ndarray]
    worth: Worth
    classify: bool
    seed: int

    def blend(
        self, model: Model, guises: Sequence[Guise], voices: Sequence[Voice], n_passes: int, memory_gb: float
    ) -> Blend:
        """Shares of the network and of these voices, of classes a temperature and offsets too.

        By so many of four folds, each asked of another member.
        """
        y_N, atoms, apart = self.shown[1], self.shown[4], guises[0].apart
        folds, said = [], []
        for k, held in enumerate(self._folds(guises[0])[:n_passes]):
            folds.append(held)
            asked = self._ask(model, guises[k % len(guises)], held, memory_gb)
            said.append([asked, *(voice.context[held] for voice in voices)])
        rows = np.concatenate(folds)
        of_voice = [np.concatenate(parts) for parts in zip(*said)]
        weight = self.worth.weights(len(y_N))[rows] / self.worth.total_and_unit(np.arange(len(y_N)))[1]
        temperature, offsets = OF_MIXTURES, np.empty(0)
        if self.classify:
            prior = OF_LONG if apart else OF_CLASSES
            said_HVC, many = np.stack(of_voice, 1), len(rows) >= _MANY_HELD
            shares, temperature, offsets = class_shares(said_HVC, y_N[rows], weight, prior, many)
        else:
            edges = histogram_edges(of_voice[0].shape[1] - len(atoms)).numpy()
            in_atoms = np.searchsorted(edges, atoms)
            said_in_bins = [in_bins(masses, in_atoms) for masses in of_voice]
            prior = OF_LONG if apart else OF_NUMBERS if len(y_N) >= SOME_ROWS else OF_FEW_NUMBERS
            shares = number_shares(said_in_bins, edges, y_N[rows], weight, prior)
        names = ("network", *(voice.name for voice in voices))
        return Blend(tuple(shares.tolist()), names, temperature, tuple(offsets.tolist()))

    def _folds(self, guise: Guise) -> list[np.ndarray]:
        y_N = self.shown[1]
        # Where companions learnt from other rows than the network is shown, they speak of those alone.
        rows = np.unique(guise.rows) if guise.apart and guise.rows is not None else np.arange(len(y_N))
        group = None if self.worth.group_n is None else self.worth.group_n[rows]
        return [rows[fold] for fold in deal(y_N[rows], _N_FOLDS, self.seed, self.classify, group)]

    def _ask(self, model: Model, guise: Guise, held: np.ndarray, memory_gb: float) -> np.ndarray:
        """(H, C) or (H, K + A) what a member without the rows `held` says about them."""
        context_NF, _, _, made, _ = self.shown
        rows = np.arange(len(context_NF)) if guise.rows is None else guise.rows
        kept = rows[~np.isin(rows, held)]
        if len(kept) > _MOST_ROWS:
            kept = np.sort(np.random.default_rng(self.seed).permutation(kept)[:_MOST_ROWS])
        member = Member(replace(guise, rows=kept), *self.shown)
        views = member.views(context_NF[held], made.context_NS[held])
        return member.log_probs(answer(model, member.contexts, views, memory_gb, "low_memory")).numpy()
