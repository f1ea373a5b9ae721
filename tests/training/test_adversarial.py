"""Weights of families follow the network's weak spots, and a resumed run follows the same ones."""

import pytest
import torch
from training_runs import SINGLE, TINY, assert_same_state, run, state_of, write_config

from icl.training.adversarial import SHAPE, AdversarialWeights, Decisions, Weighed, gap
from icl.training.stream import TaskDataModule
from priors import MixturePrior, RulesPrior, TaskShape, TreePrior

pytestmark = [
    # lightning 2.6 calls functions that jsonargparse 4.49 and torch 2.13 have deprecated.
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]


class Oracle:
    """A network that answers as it is told, with certainty."""

    def __init__(self, y_query, n_classes, right: bool):
        self.y, self.n_classes, self.right = y_query, n_classes, right

    def __call__(self, X, y_context, is_categorical, n_classes):
        answer = self.y if self.right else (self.y + 1) % self.n_classes
        return 20.0 * torch.nn.functional.one_hot(answer, 10).float()


def test_the_gap_is_negative_where_the_network_knows_and_positive_where_it_errs(seeded):
    batch = MixturePrior(task="classification", components=[TreePrior(missing=0.0)]).sample(SHAPE, seeded(0))
    knows, errs = (gap(Oracle(batch.y_query, 2, right), batch, seeded(1)) for right in (True, False))
    assert knows < 0 < errs


def test_weights_follow_gaps_within_bounds_from_the_step_decided():
    mixture = MixturePrior(components=[TreePrior(), RulesPrior()], weights=[2.0, 1.0])
    decisions = Decisions([(5, {"tree-classification-0": -0.5, "rules-classification-1": 0.05})])
    prior = Weighed(mixture, decisions, strength=10.0)
    assert prior.at_step(4).weights == [2.0, 1.0] == prior.at_step(2**62).weights
    assert prior.at_step(5).weights == pytest.approx([2 / 3, 2.718281828**0.5])
    decisions.made.append((9, {"rules-classification-1": 9.0}))
    assert prior.at_step(8).weights == prior.at_step(5).weights and prior.at_step(9).weights == [2.0, 3.0]


def test_options_that_cannot_work_are_refused():
    for options in ({"every": 1}, {"memory": 1.0}, {"strength": -1.0}):
        with pytest.raises(ValueError, match="got"):
            AdversarialWeights(**options)
    data = TaskDataModule(num_workers=2)
    with pytest.raises(ValueError, match="num_workers 0"):
        AdversarialWeights().setup(type("Trainer", (), {"datamodule": data})(), None, "fit")


@pytest.mark.parametrize("stop", [4, 5])
def test_a_resumed_run_draws_the_tasks_of_an_uninterrupted_one(stop, whole, tmp_path):
    """Stopped where a check is due, or after it, before its decision counts."""
    train(tmp_path, f"--trainer.max_steps={stop}")
    rest = train(tmp_path, "--trainer.max_steps=7", "--ckpt_path=last")
    folder, decisions = whole
    assert_same_state(state_of(tmp_path), state_of(folder))
    assert rest.decisions == decisions
    first, gaps = decisions.made[-1]
    assert first == 8 and len(gaps) == 2 and any(abs(gap) > 0.01 for gap in gaps.values())


def train(folder, *options) -> AdversarialWeights:
    """Steps of a tiny run, weights moved every second one."""
    adversarial = AdversarialWeights(every=2, strength=30.0)
    prior = "{class_path: priors.MixturePrior, init_args: {components: [{class_path: priors.TreePrior}, "
    prior += "{class_path: priors.RulesPrior}], learnable: false}}"
    schedule = ["--model.optim.decay_share=0", "--trainer.limit_val_batches=0"]
    run(
        ["fit", "--config", str(write_config(folder)), *TINY, *SINGLE, *schedule, f"--data.priors=[{prior}]", *options],
        [adversarial],
    )
    return adversarial


@pytest.fixture(autouse=True, scope="module")
def small_trials():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("icl.training.adversarial.SHAPE", TaskShape(2, 60, 40, 3))
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, train(folder, "--trainer.max_steps=7").decisions
