"""The tasks of one optimiser step: a pure function of (seed, step, rank)."""

from __future__ import annotations

from dataclasses import replace

import torch

from priors import CompanionColumns, Prior, ShapeSampler, TaskBatch
from priors.companions import part_of
from priors.stream import at_step, one_thread, seeded_generator

_SHAPES, _TASKS, _COMPANIONS, _BLOCKS = 0, 1, 2, 3


def sample_step(
    priors: list[Prior],
    shapes: ShapeSampler,
    seed: int,
    step: int,
    rank: int = 0,
    device: torch.device | str = "cpu",
    companions: CompanionColumns | None = None,
) -> list[TaskBatch]:
    """The batches of one optimiser step, one from each prior, made on `device`.

    Ranks share the shapes of a step, so that none waits for another, but never its tasks. A prior or a sampler with a
    method `at_step` (a curriculum) is asked for its form at this step. Tasks that show `companions` are those of the
    stream without them, widened.
    """
    shape_generator = seeded_generator(seed, step, _SHAPES)
    shapes = at_step(shapes, step)
    step_shapes = [shapes.sample(shape_generator) for _ in priors]
    # The last bit of a sum depends on the number of threads, and worker processes have fewer.
    with one_thread():
        batches = [
            at_step(prior, step).sample(shape, seeded_generator(seed, step, _TASKS, rank, k, device=device))
            for k, (prior, shape) in enumerate(zip(priors, step_shapes, strict=True))
        ]
    return with_companions(batches, companions, seed, step, rank)


def sample_block(
    priors: list[Prior],
    shapes: ShapeSampler,
    seed: int,
    block: int,
    rank: int = 0,
    device: torch.device | str = "cpu",
    together: int = 8,
) -> list[list[TaskBatch]]:
    """The batches of `together`^2 steps, of which each draw of a prior makes `together`, dealt to the steps at random.

    A draw launches as many kernels for many tasks as for few, and the host waits for as many numbers: where that is
    what a step waits for, batches of one draw cost that much less. Steps in a row still see different families and
    shapes. Ranks share the shapes of a step.
    """
    first, own = block * together**2, (block, _BLOCKS)
    sampler = at_step(shapes, first)
    dealt: list[list[TaskBatch]] = []
    with one_thread():
        for k, prior in enumerate(priors):
            g = seeded_generator(seed, *own, k)
            batches: list[TaskBatch] = []
            for draw in range(together):
                shape = sampler.sample(g)
                tasks = seeded_generator(seed, *own, k, rank, draw, device=device)
                many = at_step(prior, first).sample(replace(shape, n_tasks=together * shape.n_tasks), tasks)
                places = torch.arange(len(many.X), device=many.X.device)
                batches += [part_of(many, places[i::together]) for i in range(together)]
            order = torch.randperm(len(batches), generator=g).tolist()
            dealt.append([batches[place] for place in order])
    return [list(step) for step in zip(*dealt, strict=True)]


def with_companions(
    batches: list[TaskBatch], companions: CompanionColumns | None, seed: int, step: int, rank: int
) -> list[TaskBatch]:
    """The batches of a step as they are shown, some of them widened by `companions`."""
    if companions is None:
        return batches
    shown = []
    with one_thread():
        for k, batch in enumerate(batches):
            # Ranks share what decides the cost of a batch, so that none waits for another.
            kinds = companions.drawn(batch.n_context, seeded_generator(seed, step, _COMPANIONS, k))
            g = seeded_generator(seed, step, _COMPANIONS, rank, k, device=batch.X.device)
            shown.append(companions.shown(batch, kinds, g))
    return shown
