"""Tasks that are made on the device: the law of the CPU's, never on the host, few waits of the host."""

import warnings

import pytest
import torch

from benchmarks.operations import counted
from icl.training.steps import sample_block
from priors import MixturePrior, ShapeSampler, TaskBatch, TaskShape, draw
from priors.stream import seeded_generator

pytestmark = pytest.mark.gpu
TASKS = ("classification", "regression")
SHAPES = ShapeSampler(n_cells=2_000, rows=(32, 64), features=(2, 8))


@pytest.fixture(autouse=True)
def as_accelerator(device, monkeypatch):
    """On a CPU the ways of an accelerator are taken, so that the rehearsal is about them."""
    monkeypatch.setattr(draw, "AS_ACCELERATOR", device.type == "cpu")


def summary(batch: TaskBatch) -> torch.Tensor:
    """Means over the tasks of a batch: gaps, categories, how large cells are, how far targets follow features."""
    cells = batch.X.nan_to_num()
    size_BF = cells.square().mean(1).sqrt()
    x, y = cells - cells.mean(1, keepdim=True), batch.y.float()[..., None]
    y = y - y.mean(1, keepdim=True)
    together = (x * y).mean(1).abs() / (x.square().mean(1) * y.square().mean(1)).sqrt().clamp_min(1e-6)
    parts = [batch.X.isnan().float().mean(), batch.is_categorical.float().mean(), size_BF.clamp(1e-3, 1e3).log().mean()]
    parts.append(together.amax(1).mean())
    parts.append(batch.y.float().mean() if batch.n_classes is None else batch.n_classes.float().mean())
    return torch.stack(parts).double().cpu()


@pytest.mark.parametrize("task", TASKS)
def test_the_law_is_that_of_the_cpu(task, device, monkeypatch):
    """Not the same draws: means over batches of other seeds, within 4.5 standard errors of their difference."""
    prior, n_batches, found = MixturePrior(task=task), 32, []
    for place, where in enumerate((device, torch.device("cpu"))):
        monkeypatch.setattr(draw, "AS_ACCELERATOR", place == 0 and device.type == "cpu")
        generators = [seeded_generator(place, k, device=where) for k in range(n_batches)]
        found.append(torch.stack([summary(prior.sample(TaskShape(8, 48, 32, 5), g)) for g in generators]))
    gap = found[0].mean(0) - found[1].mean(0)
    error = sum((values.var(0) / n_batches for values in found), torch.zeros(())).sqrt()
    assert ((gap.abs() < 4.5 * error) | (gap.abs() < 1e-9)).all(), (gap / error).tolist()


@pytest.mark.parametrize("task", TASKS)
def test_tasks_stay_on_the_device(task, device):
    batch = MixturePrior(task=task).sample(TaskShape(4, 48, 32, 5), seeded_generator(1, device=device))
    tensors = [value for value in vars(batch).values() if isinstance(value, torch.Tensor)]
    assert {tensor.device.type for tensor in tensors} == {device.type} and len(tensors) >= 3


def test_the_host_waits_for_few_numbers(device):
    """At most ten for a batch where a draw makes those of eight steps; counted by CUDA, or as dispatched on a CPU."""
    priors = [MixturePrior(task=task) for task in TASKS]

    def work(block: int = 0) -> None:
        sample_block(priors, SHAPES, 0, block, device=device, together=8)

    if device.type == "cpu":
        n_waits = counted(work).syncs
    else:
        work(1)  # what happens once
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                work()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        n_waits = sum("synchronizing" in str(warning.message) for warning in said)
    print(f"waits of the host: {n_waits / 128:.1f} a batch")
    assert n_waits / 128 <= 10
