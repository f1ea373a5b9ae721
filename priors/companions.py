"""A batch of tasks as prediction shows them: with components of the numbers and answers of classical models as columns.

The network is shown out-of-context answers of ridge regression, kernel ridge regression and trees when it predicts
(`icl.prediction.companions`). Only tasks that carry such columns teach it when to trust them: how much of the target
they explain, where they bend, and that they are a little worse in the context than they look. Every second member of
an ensemble also sees principal components of the numbers (`priors.components`), between the columns and the answers.

Dimension key: B tasks, R rows = N context + M query, F columns of the table, T targets of a companion, S columns made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from priors import leave_out
from priors.components import components_of
from priors.draw import choice, permutation
from priors.extra_trees import extra_trees
from priors.task import TaskBatch

KINDS = ("ridge", "kernel", "trees")
"""In the order in which prediction shows their columns."""

COMPONENTS = "components"
"""What a batch may show before those of companions."""

# As in `icl.prediction.companions`, whose tests hold the two together: from how many rows on there are companions at
# all, then trees too, then kernel too; the share of the squared error of the mean that one must remove; the least share
# of a class that log-odds tell apart.
FEWEST_ROWS, SOME_ROWS, MANY_ROWS = 30, 80, 250
LEAST_GAIN, LEAST_SHARE = 0.02, 1 / 75
# Tasks of so many classes lie in one batch; each shows a column for every class and companion.
_CLASS_GROUPS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3])


@dataclass(frozen=True)
class CompanionColumns:
    """Which batches show companions, and which; and which show components of the numbers.

    Args:
        share: of the batches with at least 30 context rows.
        as_by_default: share of those that show the companions of the estimators' default; the others any of them.
        n_trees: of one ensemble; prediction grows 200.
        max_features: batches that companions would make wider stay as they are; components take what room is left.
        components: share of all batches that show components.
    """

    share: float = 0.5
    as_by_default: float = 0.75
    n_trees: int = 24
    max_features: int = 100
    components: float = 0.0

    def __post_init__(self):
        for name in ("share", "as_by_default", "components"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share of batches in [0, 1], got {getattr(self, name)}.")
        if self.max_features < 1:
            raise ValueError(f"max_features must be at least 1, got {self.max_features}.")
        if self.n_trees < 4:
            raise ValueError(f"n_trees must be at least 4, so that each row is left out; got {self.n_trees}.")

    def drawn(self, n_context: int, generator: torch.Generator) -> tuple[str, ...]:
        """What a batch of so many context rows shows beside its own columns: often nothing."""
        chance, default = torch.rand(2, generator=generator, device=generator.device).tolist()
        some = 1 + int(choice([1.0] * (2 ** len(KINDS) - 1), (), generator))
        companions = self._companions(n_context, chance, default, some)
        # Drawn last, so that the companions of a stream do not depend on it.
        with_components = self.components > torch.rand((), generator=generator, device=generator.device).item()
        return (COMPONENTS, *companions) if with_components else companions

    def _companions(self, n_context: int, chance: float, default: float, some: int) -> tuple[str, ...]:
        if n_context < FEWEST_ROWS or chance >= self.share:
            return ()
        if default < self.as_by_default:
            if n_context >= MANY_ROWS:
                return KINDS
            return ("ridge",) if n_context < SOME_ROWS else ("ridge", "trees")
        return tuple(kind for k, kind in enumerate(KINDS) if some >> k & 1)

    def shown(self, batch: TaskBatch, kinds: tuple[str, ...], generator: torch.Generator) -> TaskBatch:
        """The batch with the columns of `kinds` after its own, and as many of its tasks as keep the number of cells.

        Of tasks with classes it keeps those with about as many classes as one of them, drawn at random: a column for
        each class would leave most of the room of the others empty.
        """
        if not kinds:
            return batch
        companions = tuple(kind for kind in kinds if kind in KINDS)
        if companions and batch.n_classes is not None:
            groups_B = _CLASS_GROUPS.to(batch.X.device)[batch.n_classes.clamp_max(len(_CLASS_GROUPS) - 1)]
            drawn = torch.randint(len(groups_B), (), generator=generator, device=generator.device)
            batch = part_of(batch, (groups_B == groups_B[drawn]).nonzero()[:, 0])
        n_targets = _n_targets(batch)
        n_answers = n_targets * len(companions) + (n_targets == 1 and "ridge" in companions)
        n_tasks, _, n_features = batch.X.shape
        room = self.max_features - n_features - n_answers
        if room < 0:
            return batch
        parts, n_components = [], 0
        if COMPONENTS in kinds:
            components_BRK = components_of(batch, min(n_features, room))
            # As many as one of the tasks has, drawn at random, of those that have so many: prediction shows no column
            # without a component.
            count_B = components_BRK.ne(0).any(1).sum(1)
            drawn = torch.randint(len(count_B), (), generator=generator, device=generator.device)
            n_components = int(count_B[drawn])
            kept_I = (count_B >= n_components).nonzero()[:, 0]
            batch, parts = part_of(batch, kept_I), [components_BRK[kept_I, :, :n_components]]
        n_kept = max(1, round(n_tasks * n_features / (n_features + n_components + n_answers)))
        batch = part_of(batch, torch.arange(min(n_kept, len(batch.X)), device=batch.X.device))
        parts = [part_BRK[:n_kept] for part_BRK in parts]
        if companions:
            parts.append(self._answers(batch, companions, _n_targets(batch), generator))
        made_BRS = torch.cat(parts, 2) if parts else batch.X[..., :0]
        made_BRS = made_BRS[..., made_BRS.ne(0).any(1).any(0)]
        flags_BS = torch.zeros_like(made_BRS[:, 0], dtype=torch.bool)
        return replace(
            batch,
            X=torch.cat([batch.X, made_BRS.to(batch.X.dtype)], 2),
            is_categorical=torch.cat([batch.is_categorical, flags_BS], 1),
        )

    def _answers(self, batch: TaskBatch, kinds: tuple[str, ...], n_targets: int, generator: torch.Generator) -> Tensor:
        """(B, R, S); a column is 0 in tasks where its companion explains nothing."""
        g = generator
        Y_BNT = _targets(batch, n_targets, g)
        mean_B1T = Y_BNT.mean(1, keepdim=True)
        centred_BNT = Y_BNT - mean_B1T
        parts = []
        if "ridge" in kinds or "kernel" in kinds:
            A_BRP = leave_out.design_of(batch)
        if "ridge" in kinds:
            found = [leave_out.ridge(A_BRP, centred_BNT), leave_out.waves(A_BRP, centred_BNT, g)]
            # A column for each class is enough.
            found = found if n_targets == 1 else [leave_out.best_of(found)]
            parts += [answers.rows_BRT * (answers.gain_B > LEAST_GAIN)[:, None, None] for answers in found]
        if "kernel" in kinds:
            rows_BRT = leave_out.kernel(A_BRP, centred_BNT, g).rows_BRT + mean_B1T
            parts.append(_gated(rows_BRT, Y_BNT, batch))
        if "trees" in kinds:
            n_features = batch.X.shape[2]
            n_tried = n_features if batch.n_classes is None else max(1, round(math.sqrt(n_features)))
            rows_BRT = extra_trees(batch.X, Y_BNT.float(), n_tried, self.n_trees, g)
            parts.append(_gated(rows_BRT.double(), Y_BNT, batch))
        return torch.cat(parts, 2)


def _n_targets(batch: TaskBatch) -> int:
    """One for numbers and for two classes, else one for each class."""
    n_classes = 2 if batch.n_classes is None else int(batch.n_classes.max())
    return 1 if n_classes == 2 else n_classes


def _targets(batch: TaskBatch, n_targets: int, generator: torch.Generator) -> Tensor:
    """(B, N, T) float64: standardised numbers, or indicators of the classes in an order that is no class's own.

    Members of an ensemble see the same columns and other names of the classes, so no column belongs to a slot.
    """
    if batch.n_classes is None:
        y_BN1 = batch.y_context.double()[..., None]
        std_B11, mean_B11 = torch.std_mean(y_BN1, 1, correction=0, keepdim=True)
        return (y_BN1 - mean_B11) / torch.where(std_B11 > 0, std_B11, 1.0)
    n_slots = max(2, n_targets)
    order_C = permutation((n_slots,), generator)
    return torch.nn.functional.one_hot(batch.y_context, n_slots)[..., order_C][..., :n_targets].double()


def _gated(rows_BRT: Tensor, Y_BNT: Tensor, batch: TaskBatch) -> Tensor:
    """Answers as the network shall see them; 0 in tasks where they do not beat the mean of the other rows.

    By 2 % of its squared error, and by more than a standard error.
    """
    N = Y_BNT.shape[1]
    if batch.n_classes is not None:
        rows_BRT = rows_BRT.clamp(0, 1)
    without_BN = ((Y_BNT - Y_BNT.mean(1, keepdim=True)) * N / (N - 1)).square().sum(2)
    removed_BN = without_BN - (Y_BNT - rows_BRT[:, :N]).square().sum(2)
    total_B = without_BN.sum(1).clamp_min(1e-12)
    gain_B = removed_BN.sum(1) / total_B
    spread_B = (removed_BN - gain_B[:, None] * without_BN).std(1, correction=0)
    error_B = spread_B / math.sqrt(N) / (total_B / N)
    if batch.n_classes is not None:
        rows_BRT = torch.log(rows_BRT + LEAST_SHARE) - torch.log(1 - rows_BRT + LEAST_SHARE)
    return rows_BRT * (gain_B > error_B.clamp_min(LEAST_GAIN))[:, None, None]


def part_of(batch: TaskBatch, index_I: Tensor) -> TaskBatch:
    """Some of the tasks of a batch."""
    n_classes = None if batch.n_classes is None else batch.n_classes[index_I]
    return replace(
        batch,
        X=batch.X[index_I],
        y=batch.y[index_I],
        is_categorical=batch.is_categorical[index_I],
        n_classes=n_classes,
    )
