"""What each family of tables is made of, by laws that its target must obey."""

import pytest
import torch

from priors import TargetConfig, TaskShape
from priors.additive import draw_additive, draw_pairs
from priors.clusters import ClustersPrior
from priors.contrasts import ContrastsPrior
from priors.crossed import CrossedPrior
from priors.decisions import DecisionsPrior, draw_coarse_columns, draw_decisions
from priors.draw import standardise
from priors.features import as_columns, draw_columns, vary
from priors.fine import FinePrior
from priors.mlp import MLPPrior, dense_layer, draw_mlp
from priors.rules import RulesPrior, draw_rules
from priors.tree import TreePrior

SHAPE = TaskShape(40, 60, 40, 6)


def test_columns_never_are_constant(seeded):
    for seed in range(30):
        columns = draw_columns(TaskShape(20, 9, 4, 5), seeded(seed))
        assert columns.X.ne(columns.X[:, :1]).any(1).all()
        codes = columns.X[columns.is_categorical[:, None].expand_as(columns.X)]
        assert torch.equal(codes, codes.round()) and (codes >= 0).all()


def test_only_constant_columns_are_split(seeded):
    Z = torch.randn(3, 20, 4, generator=seeded(0))
    X = Z.clone()
    X[1, :, 2] = 5.0
    varied = vary(X, Z, seeded(1))
    assert set(varied[1, :, 2].tolist()) == {5.0, 6.0}
    varied[1, :, 2] = 5.0
    assert torch.equal(varied, X)


def test_a_column_shows_one_effect_per_value_unless_it_is_rounded(seeded):
    """The target reads effects, the table shows cells: cells of a categorical column tell their effect."""
    Z = standardise(torch.randn(30, 50, 4, generator=seeded(2)), 1)
    columns = as_columns(Z, seeded(3))
    for task, column in columns.is_categorical.nonzero().tolist():
        pairs = torch.stack([columns.X[task, :, column], columns.effect[task, :, column]], 1)
        # A column split because it was constant has one effect under two codes.
        assert len(pairs.unique(dim=0)) == len(pairs[:, 0].unique())


def test_additive_outputs_have_no_interactions(seeded):
    """f(a, b) - f(a, b') - f(a', b) + f(a', b') = 0 on a product grid, and not so with pairs."""
    side = torch.linspace(-1.5, 1.5, 7)
    grid = torch.cartesian_prod(side, side).expand(50, 49, 2).contiguous()

    def interaction(outputs):
        table = outputs.view(50, 7, 7)
        centred = table - table.mean(1, keepdim=True) - table.mean(2, keepdim=True) + table.mean((1, 2), keepdim=True)
        return centred.square().mean((1, 2)) / outputs.flatten(1).var(1).clamp_min(1e-6)

    assert interaction(draw_additive(grid, 1, seeded(4))).max() < 1e-6
    assert interaction(draw_pairs(grid, 1, seeded(5))).median() > 0.05


def test_rules_follow_few_columns(seeded):
    """Without noise, at most `max_columns` columns matter: changing the others leaves every output as it was."""
    V = torch.randn(200, 50, 8, generator=seeded(6))
    before = draw_rules(V, 2, seeded(7), max_columns=3, rule_noise=0.0)[0]
    n_read = torch.zeros(200)
    for column in range(8):
        changed = V.clone()
        changed[..., column] = torch.randn(200, 50, generator=seeded(8))
        after = draw_rules(changed, 2, seeded(7), max_columns=3, rule_noise=0.0)[0]
        n_read += (after != before).flatten(1).any(1)
    assert n_read.max() <= 3 and n_read.min() >= 1


def test_rules_have_few_outcomes_and_noise_breaks_them(seeded):
    V = torch.randn(300, 200, 4, generator=seeded(9))
    clean = draw_rules(V, 2, seeded(10), max_columns=2, rule_noise=0.0)[0][..., 1]
    assert max(len(row.unique()) for row in clean) <= 4
    noisy = draw_rules(V, 2, seeded(10), max_columns=2, rule_noise=0.15)[0][..., 1]
    moved = (noisy != clean).double().mean(1)
    # Half of the tasks have noise of up to 15 %, and a stray row may draw the outcome it had.
    assert 0.3 < (moved > 0).double().mean() < 0.7
    assert moved.max() < 0.15 + 4 * (0.15 * 0.85 / 200) ** 0.5


def test_parity_needs_all_of_its_columns(seeded):
    """A task of two random bits: some rules are invisible to any single column, as exclusive-or is."""
    V = torch.randint(0, 2, (400, 256, 2), generator=seeded(11)).float()
    output = draw_rules(V, 2, seeded(12), max_columns=2, rule_noise=0.0)[0][..., 1]
    y = standardise(output, 1)
    bits = standardise(V, 1)
    single = torch.einsum("brf,br->bf", bits, y).div(256).square().sum(1)
    joint = (bits.prod(-1) * y).mean(1).square()
    assert ((joint > 0.9) & (single < 0.1)).double().mean() > 0.1


def test_rows_of_a_cluster_share_their_target(seeded):
    """Rows near each other share their target: the nearest row's value predicts it far better than the mean does."""
    prior = ClustersPrior(task="regression", missing=0.0, target=TargetConfig(noise=(0.01, 0.02)))
    latent = prior.sample_latent(TaskShape(60, 200, 100, 5), 1, seeded(13))
    y = standardise(latent.outputs[..., 0], 1)
    X = standardise(latent.X, 1)
    distance = torch.cdist(X, X) + torch.eye(200) * 1e9
    error = (y - y.gather(1, distance.argmin(2))).square().mean(1)
    assert error.median() < 1.0  # two rows at random would differ by 2


def test_rows_of_a_cell_share_their_target_and_equal_levels_matter_in_some(seeded):
    """Of two factors, the pair of levels decides the output; in some tasks most of it is whether they are equal."""
    latent = CrossedPrior(task="regression", missing=0.0, max_levels=6).sample_latent(
        TaskShape(300, 400, 200, 2), 1, seeded(18)
    )
    cell = latent.X[..., 0].long() * 10 + latent.X[..., 1].long()
    y = standardise(latent.outputs[..., 0], 1)

    def explained(group, n_groups):
        one_hot = torch.nn.functional.one_hot(group, n_groups).float()
        means = torch.einsum("brk,br->bk", one_hot, y) / one_hot.sum(1).clamp_min(1)
        return (means.square() * one_hot.sum(1)).sum(1) / y.square().sum(1)

    assert explained(cell, 100).min() > 0.95
    equal = explained((latent.X[..., 0] == latent.X[..., 1]).long(), 2)
    assert 0.05 < (equal > 0.5).double().mean() < 0.4


def test_networks_ignore_the_order_of_rows(seeded):
    V = torch.randn(5, 40, 3, generator=seeded(14))
    order = torch.randperm(40, generator=seeded(15))
    torch.testing.assert_close(
        draw_mlp(V[:, order], 2, seeded(16)), draw_mlp(V, 2, seeded(16))[:, order], rtol=1e-3, atol=1e-3
    )


def test_every_unit_of_a_layer_has_a_parent(seeded):
    for seed in range(10):
        out = dense_layer(torch.randn(30, 50, 4, generator=seeded(seed)), 6, seeded(100 + seed))
        assert out.isfinite().all() and out.shape == (30, 50, 6)


@pytest.mark.parametrize("causal", [0.0, 1.0])
def test_networks_make_dependent_tables(causal, seeded):
    """Read off a network's nodes, columns correlate; what is asked for comes out."""
    latent = MLPPrior(causal=causal).sample_latent(SHAPE, 10, seeded(17))
    assert latent.outputs.shape == (40, 60, 10) and latent.outputs.isfinite().all()


@pytest.mark.parametrize(
    "family", [TreePrior, RulesPrior, DecisionsPrior, ContrastsPrior, FinePrior, ClustersPrior, CrossedPrior, MLPPrior]
)
@pytest.mark.parametrize("n_outputs", [1, 2, 10])
def test_outputs_vary_in_every_task(family, n_outputs, seeded):
    for seed in range(5):
        latent = family().sample_latent(TaskShape(8, 24, 12, 2), n_outputs, seeded(seed))
        assert latent.outputs.shape == (8, 24, n_outputs)
        assert latent.outputs[..., 0].std(1).min() > 0


@pytest.mark.parametrize(
    ("family", "option", "value"),
    [
        (RulesPrior, "max_columns", 0),
        (RulesPrior, "rule_noise", 1.0),
        (DecisionsPrior, "max_rules", 1),
        (DecisionsPrior, "max_conditions", 0),
        (DecisionsPrior, "coarse", 1.5),
        (ContrastsPrior, "own", (0.0, 1.0)),
        (ContrastsPrior, "max_shared", 0),
        (FinePrior, "max_columns", 0),
        (FinePrior, "rows_per_cell", 0.5),
        (ClustersPrior, "max_clusters", 1),
        (CrossedPrior, "max_levels", 1),
    ],
)
def test_impossible_options_are_refused(family, option, value):
    with pytest.raises(ValueError, match=option):
        family(**{option: value})


def test_decisions_follow_from_the_columns(seeded):
    """Rows alike in every column are decided alike: sorted by what is decided, outputs fall into few values."""
    V = torch.randint(0, 3, (60, 300, 5), generator=seeded(30)).float()
    V[:, 150:] = V[:, :150]
    outputs = draw_decisions(V, 4, seeded(31))[0]
    assert torch.equal(outputs[:, 150:, 1:], outputs[:, :150, 1:])
    n_values = torch.tensor([len(task.unique()) for task in outputs[..., 1].double().round(decimals=4)])
    assert n_values.max() <= 13 and (n_values > 2).float().mean() > 0.4
    # The first output adds .05 of a standardised column to as many.
    bare = outputs[..., 0] - 0.05 * standardise(V[..., 0], 1)
    n_values = torch.tensor([len(task.unique()) for task in bare.double().round(decimals=3)])
    assert n_values.float().median() <= 13


def test_rules_of_many_columns_are_not_told_by_any_one(seeded):
    """In a part of the tasks no column by itself says half of what is decided, and all of them say everything."""
    V = torch.randint(0, 3, (200, 400, 6), generator=seeded(32)).float()
    y = draw_decisions(V, 2, seeded(33))[0][..., 1]
    total = y.var(1, correction=0)
    best = torch.stack(
        [
            sum(
                (V[..., f] == v).float().mean(1)
                * (y * (V[..., f] == v)).sum(1).div((V[..., f] == v).sum(1)).sub(y.mean(1)).square()
                for v in range(3)
            )
            for f in range(6)
        ]
    ).amax(0)
    assert 0.3 < float((best / total < 0.5).float().mean()) < 0.95


def test_coarse_columns_have_two_to_five_levels(seeded):
    columns = draw_coarse_columns(TaskShape(40, 500, 300, 6), seeded(34))
    n_levels = torch.tensor([[len(columns.X[b, :, f].unique()) for f in range(6)] for b in range(40)])
    assert n_levels.min() >= 2 and n_levels.max() == 5
    assert 0.2 < float(columns.is_categorical.float().mean()) < 0.7
    assert (n_levels == n_levels[:, :1]).all(1).float().mean() > 0.05  # game boards: alike in every column
    for task, column in columns.is_categorical.nonzero()[:40].tolist():
        pairs = torch.stack([columns.X[task, :, column], columns.effect[task, :, column]], 1)
        assert len(pairs.unique(dim=0)) == len(pairs[:, 0].unique())


def test_what_little_tells_columns_apart_is_read(seeded):
    """Columns of one shared factor repeat it; without it as much of the target is left as a regression on all finds."""
    prior = ContrastsPrior(task="regression", missing=0.0, own=(0.05, 0.05), max_shared=1)
    left, found = [], []
    for seed in range(30):
        latent = prior.sample_latent(TaskShape(8, 400, 200, 6), 1, seeded(seed))
        X, y = standardise(latent.X.double(), 1), standardise(latent.outputs.double(), 1)
        size = torch.linalg.svd(X, full_matrices=False).U[..., :1]
        assert X.abs().isfinite().all()
        left.append(1 - (size.mT @ y).square().sum((1, 2)) / 400)
        fitted = X @ torch.linalg.lstsq(X, y).solution
        found.append(1 - (y - fitted).square().mean((1, 2)))
    left, found = torch.cat(left), torch.cat(found)
    assert left.median() > 0.85 and (left < 0.5).double().mean() > 0.01
    assert 0.3 < found.median() < 0.9 and (found > 0.9).double().mean() > 0.05
    correlation = torch.stack([torch.corrcoef(task.T) for task in X]).abs()
    assert correlation.median() > 0.9


def test_fine_structure_is_told_by_neighbours_not_by_lines(seeded):
    """Of one column: what the nearest values say explains most of the target in most tasks, a line little in most."""
    prior = FinePrior(task="regression", missing=0.0, max_columns=1)
    nearest, line = [], []
    for seed in range(20):
        latent = prior.sample_latent(TaskShape(8, 600, 400, 1), 1, seeded(seed))
        x, y = standardise(latent.X.double(), 1)[..., 0], standardise(latent.outputs.double(), 1)[..., 0]
        assert x.isfinite().all() and not latent.is_categorical.any()
        order = x.argsort(1)
        along = y.gather(1, order)
        nearest.append((along[:, 1:] * along[:, :-1]).mean(1))
        line.append((x * y).mean(1).square())
    nearest, line = torch.cat(nearest), torch.cat(line)
    assert nearest.median() > 0.6 and nearest.quantile(0.1) > 0.3
    assert line.median() < 0.1


@pytest.mark.parametrize(("n_rows", "n_features"), [(5, 1), (40, 2), (300, 3), (900, 20)])
def test_fine_cells_are_as_many_as_rows_can_tell(n_rows, n_features, seeded):
    """Of one recorded column there are no more values than cells, one for five rows, eight at least."""
    prior = FinePrior(task="regression", missing=0.0, max_columns=1)
    shape = TaskShape(30, n_rows, max(2, 2 * n_rows // 3), n_features)
    latent = prior.sample_latent(shape, 2, seeded(n_rows))
    assert latent.X.isfinite().all() and latent.outputs.isfinite().all() and latent.outputs.shape == (30, n_rows, 2)
    if n_features == 1:
        return
    counts = [sorted(len(column.unique()) for column in task.T) for task in latent.X]
    most = max(8, n_rows // 5)
    assert sum(count[0] <= most for count in counts) > 5
