"""Classes made of what rules decide: against the codes themselves, and rows alike against each other."""

import pytest
import torch

from priors import DecisionsPrior, RulesPrior, TargetConfig, TaskShape
from priors.decisions import _any, _fires
from priors.outcomes import Outcomes, classes_of

B, R, S = 400, 600, 7


def drawn(seeded, in_order, seed=1):
    """Outcomes of uneven shares; in every tenth task all rows have the same."""
    weight = torch.rand(B, S, generator=seeded(seed)) ** 3
    code = torch.multinomial(weight, R, replacement=True, generator=seeded(seed + 1))
    code[::10] = 3
    return Outcomes(code, S, torch.full((B, 1), in_order))


@pytest.mark.parametrize("in_order", [False, True])
def test_classes_are_outcomes_or_several_of_them(in_order, seeded):
    outcomes = drawn(seeded, in_order)
    n_wanted = torch.randint(2, 6, (B, 1), generator=seeded(3))
    y, can = classes_of(outcomes, n_wanted, seeded(4))
    n_occurring = (outcomes.shares() > 0).sum(1)
    assert torch.equal(can, n_occurring > 1) and not can[::10].any()
    followed = 0
    for i in can.nonzero()[:, 0].tolist():
        table = torch.zeros(S, 6).index_put((outcomes.code[i], y[i]), torch.ones(R), accumulate=True)
        occurs = table.sum(1) > 0
        stray = 1 - table.amax(1).sum() / R
        assert stray < 0.2
        followed += int(stray == 0)
        if stray == 0 and table.sum(1)[occurs].min() > 8:  # rarer ones may all have strayed
            of_code = table.argmax(1)[occurs]
            assert len(of_code.unique()) == min(int(n_wanted[i]), int(n_occurring[i]))
            if in_order:
                assert torch.equal(of_code, of_code.sort().values) and (of_code.diff() <= 1).all()
    assert 0.4 < followed / can.sum() < 0.75


def test_every_outcome_can_be_a_class_of_its_own_and_the_common_ones_mostly_are(seeded):
    """Of two classes, the smaller has a twentieth of the rows and more in most tasks."""
    outcomes = drawn(seeded, False, seed=5)
    y, can = classes_of(outcomes, torch.full((B, 1), 2), seeded(6))
    minority = torch.minimum((y == 0).float().mean(1), (y == 1).float().mean(1))[can]
    assert (minority > 0.05).float().mean() > 0.8 and (minority < 0.3).float().mean() > 0.2


@pytest.mark.parametrize("family", [DecisionsPrior, RulesPrior])
@pytest.mark.parametrize("max_classes", [2, 10])
def test_rows_alike_have_the_same_label(family, max_classes, seeded):
    """Without noise hardly a task leaves labels to chance: rows that agree in three coarse columns agree in the label.

    A fifth of the tasks is cut at quantiles or takes the largest of several scores, and strays are up to .15 in half.
    """
    target = TargetConfig(
        max_classes=max_classes, noise=(1e-6, 1e-6), sharpness=(1e4, 1e4), max_label_noise=0.0, offsets=(0.0, 0.0)
    )
    options = {"coarse": 1.0} if family is DecisionsPrior else {"rule_noise": 0.0}
    wrong = []
    for seed in range(40):
        batch = family(target=target, missing=0.0, **options).sample(TaskShape(8, 400, 200, 3), seeded(seed))
        for X, y in zip(batch.X, batch.y, strict=True):
            if max(len(column.unique()) for column in X.T) > 5:
                continue
            cell = X.unique(dim=0, return_inverse=True)[1]
            table = torch.zeros(int(cell.max()) + 1, 10).index_put((cell, y), torch.ones(len(y)), accumulate=True)
            most = y.bincount().max()
            wrong.append(float((len(y) - table.amax(1).sum()) / (len(y) - most)))
    wrong = torch.tensor(wrong)
    assert len(wrong) > 20
    assert (wrong == 0).float().mean() > 0.35, wrong.sort().values
    assert (wrong > 0.5).float().mean() < 0.25 and wrong.mean() < 0.25


def test_rules_hold_somewhere_and_alternatives_split_the_rows(seeded):
    V = torch.randint(0, 3, (300, 500, 9), generator=seeded(7)).float()
    n_void, n_rules, shares = 0, 0, []
    for seed in range(12):
        fires = _fires(V, 12, 3, seeded(seed))
        rate = fires.float().mean(1)
        n_void, n_rules = n_void + int((rate == 0).sum()), n_rules + rate.numel()
        shares.append(_any(fires, seeded(100 + seed)).float().mean(1))
    assert n_void / n_rules < 0.03
    share = torch.cat(shares)
    assert ((share > 0.1) & (share < 0.9)).float().mean() > 0.7
    assert (share < 0.4).float().mean() > 0.15 and (share > 0.6).float().mean() > 0.15
