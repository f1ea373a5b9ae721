"""Structural causal models: graphs, mechanisms that read nothing but parents, and interventions."""

import pytest
import torch
from torch.testing import assert_close

from priors.graphs import KINDS, descendants, draw_edges, draw_levels
from priors.mechanisms import MECHANISMS, draw_style
from priors.scm import NOISES, StructuralCausalModel

SIZES = [2, 3, 1, 4]
LEVEL = torch.tensor([0, 0, 1, 1, 1, 2, 3, 3, 3, 3])


@pytest.mark.parametrize("kind", KINDS)
def test_edges_lead_to_later_levels_only(kind, seeded):
    edges = draw_edges(500, SIZES, seeded(0), kind)
    step = LEVEL - LEVEL[:, None]
    assert not edges[:, step <= 0].any()
    n_parents = edges.sum(1)
    if kind in ("tree", "chain"):
        assert n_parents.max() == 1
    if kind in ("layered", "chain"):
        assert not edges[:, step != 1].any()
    # All but the first level have parents, unless they are further roots (7.5 % of nodes on average).
    orphans = (n_parents[:, LEVEL > 0] == 0).double().mean()
    assert 0.05 < orphans < 0.10


def test_growing_networks_have_old_hubs_and_erdos_renyi_graphs_have_none(seeded):
    n = 4_000
    sizes = [1] * 12
    children = {kind: draw_edges(n, sizes, seeded(1), kind).sum(2).double().mean(0) for kind in KINDS}
    # With one node a level, node i could have 11 - i children; compare the share of possible edges.
    share = {kind: children[kind][:8] / (11 - torch.arange(8)) for kind in KINDS}
    assert share["growing"][0] > 2 * share["growing"][4]
    assert share["erdos-renyi"][0] < 1.5 * share["erdos-renyi"][4]


def test_levels_add_up(seeded):
    for seed in range(20):
        sizes = draw_levels(9, 4, seeded(seed))
        assert sum(sizes) == 9 and len(sizes) == 4 and min(sizes) >= 1
    with pytest.raises(ValueError, match="n_levels=10"):
        draw_levels(9, 10, seeded(0))


def test_descendants_are_sums_of_matrix_powers(seeded):
    edges = draw_edges(50, SIZES, seeded(2))
    paths = sum(torch.linalg.matrix_power(edges.double(), k) for k in range(1, 10))
    assert torch.equal(descendants(edges), paths > 0)


@pytest.mark.parametrize("name", MECHANISMS)
def test_mechanisms_read_parents_and_nothing_else(name, seeded):
    B, P, W, D, R = 40, 6, 3, 2, 60
    draw, _ = MECHANISMS[name]
    parents = torch.zeros(B, P, W)
    parents[:, :2, 0] = parents[:, 2:4, 1] = parents[:, 1:5, 2] = 1
    mechanism = draw(parents, D, draw_style(B, P, 1, seeded(3)), seeded(4))
    V = torch.randn(B, P, R, generator=seeded(5))
    before = mechanism(V)
    assert before.shape == (B, W * D, R) and before.isfinite().all()
    assert torch.equal(mechanism(V), before), "a mechanism is one function"
    for column in range(P):
        changed = V.clone()
        changed[:, column] = 3 * torch.randn(B, R, generator=seeded(6))
        after = mechanism(changed).view(B, W, D, R)
        is_parent = parents[0, column].bool()
        assert torch.equal(after[:, ~is_parent], before.view(B, W, D, R)[:, ~is_parent])
        moved = (after != before.view(B, W, D, R)).flatten(2).any(2)[:, is_parent]
        assert moved.double().mean() > 0.5 or not is_parent.any()


@pytest.mark.parametrize("k", range(len(NOISES)))
def test_noises_have_mean_zero_and_variance_one(k, seeded):
    n = 400_000
    draws = NOISES[k](torch.randn(n, generator=seeded(7)).double())
    squares = draws.square()
    assert abs(draws.mean()) < 4 / n**0.5
    assert abs(squares.mean() - 1) < 4 * squares.std() / n**0.5


@pytest.fixture(params=[1, 3], ids=["scalar nodes", "nodes of three columns"])
def model(request, seeded) -> StructuralCausalModel:
    return StructuralCausalModel.draw(60, seeded(8), n_nodes=10, n_levels=5, n_dims=request.param)


def test_samples_repeat_with_the_generator_and_keep_the_scale(model, seeded):
    first, again, other = (model.sample(800, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == (60, 800, 10, model.n_dims)
    # The scale was set by other rows; heavy tails and small centres make single columns stray.
    assert abs(first.std(1).median() - 1) < 0.05
    assert first.mean(1).abs().median() < 0.06


@pytest.mark.parametrize("node", [0, 4, 9])
def test_an_intervention_cuts_incoming_edges_and_nothing_else(model, node, seeded):
    observed = model.sample(300, seeded(9))
    intervened = model.sample(300, seeded(9), do={node: 1.7})
    assert (intervened[:, :, node] == 1.7).all()

    changed = (observed != intervened).flatten(3).any(3).any(1)  # (B, H)
    below = descendants(model.edges)[:, node]
    others = ~below
    others[:, node] = False
    # Parents, siblings and everything else upstream or aside: bit for bit as without the intervention.
    assert not changed[others].any()
    if below.any():
        # Steps and centres may not notice, and a parent's weight may be small: most descendants change.
        assert changed[below].double().mean() > 0.7
    # The outgoing mechanisms are kept: an intervention that repeats what was observed changes nothing at all.
    assert torch.equal(model.sample(300, seeded(9), do={node: observed[:, :, node]}), observed)


def test_the_intervened_node_no_longer_follows_its_parents(seeded):
    """Randomising a node by `do` makes it independent of its parents; observed, they are dependent."""
    model = StructuralCausalModel.draw(200, seeded(10), n_nodes=2, n_levels=2, node_noise=(0.1, 0.2))
    has_edge = model.edges[:, 0, 1]
    value = torch.randn(200, 500, 1, generator=seeded(11))

    def dependence(rows):
        bins = (rows[:, :, 0, 0, None] > torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])).sum(-1)
        one_hot = torch.nn.functional.one_hot(bins, 6).float()
        effect = rows[..., 1, 0] - rows[..., 1, 0].mean(1, keepdim=True)
        means = torch.einsum("brk,br->bk", one_hot, effect) / one_hot.sum(1).clamp_min(1)
        return ((means.square() * one_hot.sum(1)).sum(1) / effect.square().sum(1))[has_edge]

    assert dependence(model.sample(500, seeded(12))).mean() > 0.4
    # Under independence the share of variance between 6 bins is 5 / 499 on average.
    assert dependence(model.sample(500, seeded(12), do={1: value})).mean() < 0.02


def test_unknown_nodes_are_refused(model, seeded):
    with pytest.raises(ValueError, match=r"nodes \[10\].*0 to 9"):
        model.sample(5, seeded(0), do={10: 0.0})


def test_do_accepts_numbers_and_tensors(model, seeded):
    rows = torch.linspace(-1, 1, 7)[None, :, None]
    assert_close(model.sample(7, seeded(1), do={2: rows})[:, :, 2], rows.expand(60, 7, model.n_dims))
