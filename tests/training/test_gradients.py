"""The gradient of a step, taken batch by batch, is that of the mean of its losses."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from torch.testing import assert_close

from icl.training.gradients import mean_loss
from icl.training.pretraining import task_loss
from priors import MixturePrior, TaskShape


def batches_of(seeded, tasks=("classification", "regression", "classification")):
    shapes = [TaskShape(3, 24, 16, 4), TaskShape(1, 40, 20, 6), TaskShape(2, 16, 12, 2)]
    return [MixturePrior(task=t).sample(s, seeded(i)) for i, (t, s) in enumerate(zip(tasks, shapes))]


@pytest.mark.parametrize("autocast", [False, True])  # which keeps one copy of a weight for all batches
@pytest.mark.parametrize("tasks", [("classification", "regression", "classification"), ("regression",)])
def test_the_gradient_is_that_of_the_mean(tiny_model, seeded, tasks, autocast):
    ours, whole = copy.deepcopy(tiny_model), copy.deepcopy(tiny_model)
    ours.zero_grad(), whole.zero_grad()
    batches = batches_of(seeded, tasks)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        torch.stack([task_loss(whole, batch) for batch in batches]).mean().backward()
        parameters = list(ours.parameters())
        mean, losses = mean_loss(lambda batch: task_loss(ours, batch), batches, parameters)
    assert all(p.grad is None for p in parameters)
    (2 * mean).backward()  # what is done to the loss afterwards counts
    tolerance = {"rtol": 0.05, "atol": 2e-4} if autocast else {"rtol": 1e-4, "atol": 1e-6}
    for a, b in zip(parameters, whole.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            assert_close(a.grad / 2, b.grad, **tolerance)
    assert float(mean.detach()) == pytest.approx(float(torch.stack(losses).mean()), rel=1e-6)
    assert not any(loss.requires_grad for loss in losses)


def one_gradient_for_two(p, q, x):
    return ((p + q) * x).sum()


def one_number_seen_as_many(p, q, x):
    return (p.sum() + q.sum()) * x.mean()


def one_frozen(p, q, x):
    return ((p + q.detach()) * x).exp().sum()


def one_batch_reads_neither(p, q, x):
    return (p * q * x).sum() if x[0] > 1 else x.sum()


LOSSES = [one_gradient_for_two, one_number_seen_as_many, one_frozen, one_batch_reads_neither]


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("loss_of", LOSSES, ids=lambda loss: loss.__name__)
def test_gradients_are_right_however_autograd_hands_them_out(loss_of, frozen):
    """One tensor for two parameters, one number for all entries, none: as from the whole loss."""
    batches = [torch.full((4,), float(n)) for n in (1, 2, 3)]
    found = []
    for way in (lambda f, p: mean_loss(f, batches, p)[0], lambda f, p: torch.stack([f(x) for x in batches]).mean()):
        p, q = torch.ones(4, requires_grad=True), torch.full((4,), 0.5, requires_grad=not frozen)
        way(lambda x, p=p, q=q: loss_of(p, q, x), [p, q]).backward()
        found.append([p.grad, q.grad])
    for ours, whole in zip(*found, strict=True):
        assert (ours is None) == (whole is None)
        if ours is not None:
            assert_close(ours, whole)


def test_a_step_of_nothing_is_refused_and_one_that_reads_nothing_has_no_gradient():
    with pytest.raises(ValueError, match="at least one batch"):
        mean_loss(lambda x: x.sum(), [], [torch.ones(2, requires_grad=True)])
    mean, _ = mean_loss(lambda x: x.sum(), [torch.ones(2)], [torch.ones(2, requires_grad=True)])
    assert float(mean) == 2 and not mean.requires_grad
    mean, _ = mean_loss(lambda x: x.sum(), [torch.ones(2)], [])
    assert float(mean) == 2


class Kept:
    """What autograd keeps of a tensor, in place of it: alive as long as the graph is."""

    def __init__(self, tensor):
        self.tensor = tensor


def test_what_a_batch_kept_is_gone_before_the_next():
    weight, alive, seen = torch.ones(5, requires_grad=True), weakref.WeakSet(), []

    def pack(tensor):
        kept = Kept(tensor)
        alive.add(kept)
        return kept

    def loss_of(batch):
        gc.collect()
        before = len(alive)
        loss = (weight * batch).exp().sum()
        seen.append((before, len(alive)))
        return loss

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        mean, _ = mean_loss(loss_of, [torch.full((5,), float(n)) for n in range(3)], [weight])
    assert len(seen) == 3 and all(before == 0 and after > 0 for before, after in seen)
    mean.backward()
    expected = sum(n * torch.exp(torch.tensor(float(n))) for n in range(3)) / 3
    assert_close(weight.grad, expected.expand(5))


def test_what_nothing_reads_is_left_alone():
    weight, other = torch.ones(3, requires_grad=True), torch.ones(2, requires_grad=True)
    mean, _ = mean_loss(lambda batch: (weight * batch).sum(), [torch.ones(3)], [weight, other])
    mean.backward()
    assert other.grad is None and torch.equal(weight.grad, torch.ones(3))


def test_a_parameter_named_twice_has_its_gradient_once(seeded):
    p = torch.nn.Parameter(torch.randn(4, generator=seeded(1)))
    mean, _ = mean_loss(lambda x: (p * x).sum(), [torch.ones(4), 3 * torch.ones(4)], [p, p])
    mean.backward()
    assert_close(p.grad, torch.full((4,), 2.0))
