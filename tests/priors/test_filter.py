"""The learnability filter: how much noise it removes, how much signal it keeps, and that it changes nothing else."""

from dataclasses import dataclass

import pytest
import torch

from priors import FunctionPrior, MixturePrior, Prior, SCMPrior, TargetConfig, TaskBatch, TaskShape
from priors.additive import AdditivePrior
from priors.filter import Learnable, dependence, noise_only
from priors.tree import TreePrior

CLEAN = TargetConfig(noise=(0.01, 0.1), max_label_noise=0.0, min_class_share=0.2)
SHAPE = TaskShape(120, 200, 140, 5)


@dataclass(frozen=True)
class HalfNoise:
    """Signal in every task, but in every second one the targets are shuffled."""

    task: str = "regression"

    def sample(self, shape: TaskShape, generator: torch.Generator) -> TaskBatch:
        batch = AdditivePrior(task=self.task, target=CLEAN, missing=0.0).sample(shape, generator)
        shuffled = noise_only(batch, generator)
        odd = (torch.arange(shape.n_tasks) % 2 == 1)[:, None]
        y = torch.where(odd, shuffled.y, batch.y)
        return TaskBatch(batch.X, y, batch.n_context, batch.is_categorical, batch.n_classes)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("family", [AdditivePrior, TreePrior])
def test_signal_is_kept_and_noise_removed(family, task, seeded):
    batch = family(task=task, target=CLEAN, missing=0.0).sample(SHAPE, seeded(0))
    kept = (dependence(batch, seeded(1)).t > 1).double().mean()
    noise = (dependence(noise_only(batch, seeded(2)), seeded(1)).t > 1).double().mean()
    assert kept > 0.75  # measured: .8 to 1; some classes are rare, some trees are deep
    assert noise < 0.15  # measured: about .05


def test_gaps_codes_and_tiny_tables_are_no_obstacle(seeded):
    for shape in (TaskShape(5, 24, 12, 2), TaskShape(3, 9, 4, 7), TaskShape(2, 40, 20, 1)):
        for task in ("classification", "regression"):
            batch = FunctionPrior(task=task, missing=1.0).sample(shape, seeded(3))
            assert dependence(batch, seeded(4)).t.isfinite().all()


def test_nominal_codes_are_read_as_names(seeded):
    """Levels whose effects jump from code to code: a line through the codes sees nothing, hashed levels do."""
    codes = torch.randint(0, 12, (60, 300, 1), generator=seeded(5))
    effects = torch.randn(60, 12, generator=seeded(6))
    y = effects.gather(1, codes[..., 0]) + 0.1 * torch.randn(60, 300, generator=seeded(7))
    batch = TaskBatch(codes.float(), y, 200, torch.ones(60, 1, dtype=torch.bool))
    assert (dependence(batch, seeded(8)).t > 1).double().mean() > 0.9


def test_failed_tasks_are_redrawn_and_the_others_kept(seeded):
    plain = HalfNoise().sample(SHAPE, seeded(9))
    filtered = Learnable(HalfNoise(), sure_skill=0, rounds=1).sample(SHAPE, seeded(9))
    same = (filtered.X == plain.X).flatten(1).all(1)
    # Half are noise; of their replacements about half are signal, and signal is hardly ever redrawn.
    assert same[::2].double().mean() > 0.9
    assert same[1::2].double().mean() < 0.15
    passing = (dependence(filtered, seeded(10)).t > 1).double().mean()
    assert passing > (dependence(plain, seeded(10)).t > 1).double().mean() + 0.1
    twice = Learnable(HalfNoise(), sure_skill=0, rounds=3).sample(SHAPE, seeded(9))
    assert (dependence(twice, seeded(10)).t > 1).double().mean() > passing


def test_tasks_pass_in_proportion_to_their_skill(seeded):
    """With one round, a task is kept with probability skill / sure_skill: two-sided, by thirds of the skill."""
    noisy = FunctionPrior(task="regression", target=TargetConfig(noise=(0.3, 2.0)), missing=0.0)
    shape = TaskShape(1500, 100, 60, 4)
    plain = noisy.sample(shape, seeded(12))
    kept = Learnable(noisy, threshold=-torch.inf, sure_skill=0.8, rounds=1).sample(shape, seeded(12)).X == plain.X
    kept = kept.flatten(1).all(1).double()
    # The filter's own random features differ from these, so its skill is this one up to their noise.
    skill = dependence(plain, seeded(13)).skill
    for low, high in ((0.05, 0.3), (0.3, 0.55), (0.55, 0.8)):
        part = (skill > low) & (skill < high)
        assert part.sum() > 100
        expected = (skill[part] / 0.8).mean()
        error = (expected * (1 - expected) / part.sum()).sqrt()
        assert abs(kept[part].mean() - expected) < 4 * error + 0.03


@pytest.mark.parametrize("inner", [SCMPrior(task="regression"), MixturePrior()])
def test_the_wrapper_is_a_prior_of_unchanged_shape(inner, seeded):
    prior = Learnable(inner)
    assert isinstance(prior, Prior)
    batch = prior.sample(TaskShape(7, 60, 40, 4), seeded(11))
    again = prior.sample(TaskShape(7, 60, 40, 4), seeded(11))
    assert batch.shape == TaskShape(7, 60, 40, 4)
    assert torch.equal(batch.X.nan_to_num(), again.X.nan_to_num()) and torch.equal(batch.y, again.y)


def test_impossible_options_are_refused():
    with pytest.raises(ValueError, match="rounds"):
        Learnable(SCMPrior(), rounds=0)
    with pytest.raises(ValueError, match="max_rows"):
        Learnable(SCMPrior(), max_rows=4)
