"""What a model is validated on: held-out tasks of the training mixture, of each family alone, and real tables.

The items are the same at every check, on any number and any type of devices: they are made once, on the CPU.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from icl.network.cells import target_scale
from icl.network.metrics import auc, density_losses, number_scores, predictive, query_losses
from icl.network.model import TabularTransformer
from icl.network.reader import Model
from priors import CompanionColumns, MixturePrior, Prior, ShapeSampler, TaskBatch
from priors.stream import at_step, one_thread, seeded_generator

_LAST_STEP = 2**62  # curricula are validated where they end
_FAMILY, _MIXTURE, _COMPANIONS = 0, 1, 2
_MAX_CONTEXT, _MAX_QUERY = 300, 200  # rows of a real table: enough to rank models, seconds on a CPU


@dataclass(frozen=True)
class ValidationItem:
    """One batch and the prefix under which its metrics are logged; without a name it counts nowhere."""

    name: str
    batch: TaskBatch
    is_real: bool = False

    def to(self, device: torch.device | str, **kwargs) -> ValidationItem:
        return replace(self, batch=self.batch.to(device, **kwargs))


KINDS = ("classification", "regression")
"""Kinds of target."""


def kind_of(batch: TaskBatch) -> str:
    return "regression" if batch.n_classes is None else "classification"


def families(priors: list[Prior]) -> dict[str, Prior]:
    """Every component of every mixture among `priors`, alone, by kind and name; other priors as they are.

    Returns:
        names such as "scm" (once per kind of target) to priors, in order of first appearance.
    """
    found: dict[str, Prior] = {}
    for prior in priors:
        prior = at_step(prior, _LAST_STEP)
        if not isinstance(prior, MixturePrior):
            found.setdefault(f"{_short(prior)} {getattr(prior, 'task', '')}", prior)
            continue
        assert prior.components is not None  # resolved when it was made
        for component in prior.components:
            alone = replace(prior, components=[component], weights=[1.0], final_weights=None)
            found.setdefault(f"{_short(component)} {getattr(component, 'task', '')}", alone)
    return found


def _short(prior: Prior) -> str:
    """SCMPrior -> scm, GaussianProcessPrior -> gaussian_process."""
    name = re.sub(r"Prior$", "", type(prior).__name__) or type(prior).__name__
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def held_out_tasks(
    priors: list[Prior],
    shapes: ShapeSampler,
    seed: int,
    n_mixture_steps: int,
    n_family_batches: int,
    companions: CompanionColumns | None = None,
) -> Iterator[ValidationItem]:
    """Batches of the mixture (`val`), then of its families (`val/scm`, ...), none of which any training step sees.

    Where training shows companions, also the batches of the mixture that have room for them, with their columns
    (`val/companions`).

    Args:
        priors, shapes: as for training; curricula count as finished.
        seed: of validation; not that of training.
        n_mixture_steps: batches from each of `priors`.
        n_family_batches: batches from each family and kind of target.
    """
    shapes = at_step(shapes, _LAST_STEP)

    def draw(prior: Prior, *key: int) -> TaskBatch:
        shape = shapes.sample(seeded_generator(seed, *key, 0))
        with one_thread():
            return prior.sample(shape, seeded_generator(seed, *key, 1))

    for step in range(n_mixture_steps):
        for k, prior in enumerate(priors):
            batch = draw(at_step(prior, _LAST_STEP), _MIXTURE, step, k)
            yield ValidationItem("val", batch)
            if companions is None:
                continue
            g = seeded_generator(seed, _COMPANIONS, step, k)
            kinds = replace(companions, share=1.0, as_by_default=1.0).drawn(batch.n_context, g)
            if kinds:
                with one_thread():
                    yield ValidationItem("val/companions", companions.shown(batch, kinds, g))
    for number in range(n_family_batches):
        # The shapes are the same for every family, so that families can be compared.
        for label, prior in families(priors).items():
            shape = shapes.sample(seeded_generator(seed, _FAMILY, number, 0))
            with one_thread():
                batch = prior.sample(shape, seeded_generator(seed, _FAMILY, number, 1))
            yield ValidationItem(f"val/{label.split()[0]}", batch)


def real_tables() -> Iterator[ValidationItem]:
    """Eight small tasks from the tables that scikit-learn carries: four with classes, four with amounts.

    Three of the amounts are columns of tables whose usual target is a class. One fixed split each.
    """
    from sklearn import datasets

    iris, wine = datasets.load_iris(as_frame=True).frame, datasets.load_wine(as_frame=True).frame
    cancer, digits = datasets.load_breast_cancer(as_frame=True).frame, datasets.load_digits(as_frame=True).frame
    for name, frame, target, is_class in (
        ("iris", iris, "target", True),
        ("wine", wine, "target", True),
        ("breast_cancer", cancer, "target", True),
        ("digits", digits, "target", True),
        ("diabetes", datasets.load_diabetes(as_frame=True).frame, "target", False),
        ("iris_petal_width", iris.drop(columns="target"), "petal width (cm)", False),
        ("wine_alcohol", wine.drop(columns="target"), "alcohol", False),
        ("cancer_smoothness", cancer.drop(columns="target"), "mean smoothness", False),
    ):
        yield ValidationItem(f"val/real/{name}", _split(frame, target, is_class), is_real=True)


def _split(frame, target: str, is_class: bool) -> TaskBatch:
    import numpy as np

    from icl.tables.encoder import TableEncoder

    order = np.random.default_rng(0).permutation(len(frame))
    n_context = min(_MAX_CONTEXT, 2 * len(frame) // 3)
    frame = frame.iloc[order[: n_context + _MAX_QUERY]].reset_index(drop=True)
    X, y = frame.drop(columns=target), frame[target].to_numpy(copy=True)
    encoder = TableEncoder().fit(X.iloc[:n_context])
    cells = torch.from_numpy(encoder.transform(X))[None]
    flags = torch.from_numpy(encoder.is_categorical_)[None]
    if is_class:
        return TaskBatch(cells, torch.from_numpy(y).long()[None], n_context, flags, torch.tensor([int(y.max()) + 1]))
    return TaskBatch(cells, torch.from_numpy(y).float()[None], n_context, flags)


def fits(model: TabularTransformer, batch: TaskBatch) -> bool:
    """Whether the model was made for tables as wide, and with as many classes."""
    n_classes = 0 if batch.n_classes is None else int(batch.n_classes.max())
    return batch.shape.n_features <= model.config.max_features and n_classes <= model.config.max_classes


@torch.no_grad()
def real_metrics(model: Model, batch: TaskBatch) -> dict[str, float]:
    """AUC (one class against the rest, averaged) and log loss in nats, or R2 and the log score per query row.

    The log score is that of the target in context standard deviations, so that tables can be averaged.
    """
    scores = model(batch.X, batch.y_context, batch.is_categorical, batch.n_classes).float()
    truth = batch.y_query[0].cpu().numpy()
    if batch.n_classes is None:
        distribution = predictive(scores, batch.y_context, None)
        r2 = number_scores(distribution.mean[0].cpu().numpy(), truth)["r2"]
        nll = density_losses(distribution, batch.y_query, float(target_scale(batch.y_context).scale)).mean()
        return {"r2": r2, "nll": float(nll)}
    scores = scores[..., : int(batch.n_classes[0])]
    probs = predictive(scores, batch.y_context, batch.n_classes).probs[0].double().cpu().numpy()
    losses = query_losses(scores, batch.y_context, batch.y_query, batch.n_classes)
    return {"auc": auc(probs, truth), "log_loss": float(losses.mean())}
