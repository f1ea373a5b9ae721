"""Rates and moments of what turns clean columns into tables, against what was asked for."""

import math

import jsonargparse
import pytest
import torch
import yaml
from torch.testing import assert_close

from priors import (
    FunctionPrior,
    Prior,
    SCMPrior,
    ShapeSampler,
    TargetConfig,
    TaskBatch,
    TaskShape,
    columns,
    missing,
    noise,
    shift,
    targets,
)
from priors.class_effects import ClassEffects
from priors.columns import discretise
from priors.draw import log_uniform, student_t
from priors.missing import mask_cells
from priors.table import TableEffects
from priors.targets import class_target
from priors.transform import Messy, Sometimes, Transformed, is_constant
from priors.tree import draw_trees

X_ONLY = [
    missing.MissingCompletelyAtRandom(rate=0.3),
    missing.MissingAtRandom(rate=0.3),
    missing.MissingNotAtRandom(rate=0.3),
    missing.MissingBlocks(rate=0.3, columns=0.6),
    missing.CodedGaps(columns=0.8),
    noise.CellOutliers(rate=0.1),
    noise.MeasurementError(std=0.3),
    columns.Categories(columns=0.5),
    columns.DuplicateColumns(rate=0.4),
    columns.CollinearColumns(rate=0.4),
    columns.IrrelevantColumns(rate=0.4),
]
Y_ONLY = [
    noise.SymmetricLabelNoise(rate=0.5),
    noise.InstanceDependentLabelNoise(rate=0.5),
    noise.ClassConditionalLabelNoise(rate=0.5),
    noise.HeteroskedasticNoise(),
    noise.HeavyTailedNoise(),
    noise.HeavyTailedNoise(shape="pareto"),
    noise.TargetOutliers(rate=0.1),
    targets.RoundedTarget(),
    targets.CensoredTarget(),
    targets.CountTarget(),
    targets.ZeroInflatedTarget(),
    targets.BoundedTarget(),
    targets.LevelEffects(),
]
BOTH = [
    shift.CovariateShift(strength=2.0),
    shift.LabelShift(strength=2.0),
    shift.ClassImbalance(share=0.05),
    TableEffects(amount=3.0, missing=0.5),
    ClassEffects(several=1.0, two=1.0),
    Sometimes(noise.MeasurementError(), 0.5),
]
AT_ZERO = [
    missing.MissingCompletelyAtRandom(rate=0.0),
    missing.MissingAtRandom(rate=0.0),
    missing.MissingNotAtRandom(rate=0.0),
    missing.MissingBlocks(rate=0.0),
    missing.CodedGaps(columns=0.0),
    noise.CellOutliers(rate=0.0),
    noise.MeasurementError(std=0.0),
    noise.SymmetricLabelNoise(rate=0.0),
    noise.InstanceDependentLabelNoise(rate=0.0),
    noise.ClassConditionalLabelNoise(rate=0.0),
    noise.HeteroskedasticNoise(std=0.0),
    noise.HeavyTailedNoise(scale=0.0, tail=1.0),
    noise.HeavyTailedNoise(scale=0.0, tail=1.0, shape="pareto"),
    noise.TargetOutliers(rate=0.0),
    columns.Categories(columns=0.0),
    columns.DuplicateColumns(rate=0.0),
    columns.CollinearColumns(rate=0.0),
    columns.IrrelevantColumns(rate=0.0),
    targets.RoundedTarget(step=0.0),
    targets.CensoredTarget(lower=0.0, upper=0.0),
    targets.ZeroInflatedTarget(rate=0.0),
    targets.LevelEffects(std=0.0),
    shift.CovariateShift(strength=0.0),
    shift.LabelShift(strength=0.0),
    TableEffects(amount=0.0),
    ClassEffects(several=0.0, two=0.0),
    Sometimes(noise.MeasurementError(), 0.0),
]


def assert_same(first: TaskBatch, second: TaskBatch):
    for name in ("X", "y", "is_categorical"):
        assert_close(getattr(first, name), getattr(second, name), rtol=0, atol=0, equal_nan=True)
    assert (first.n_classes is None) == (second.n_classes is None)
    assert first.n_classes is None or torch.equal(first.n_classes, second.n_classes)


@pytest.fixture(scope="module", params=["classification", "regression"])
def batches(request, seeded):
    """Tables of a prior with categories, gaps and up to ten classes, small and larger."""
    prior = SCMPrior(task=request.param, missing=0.5)
    shapes = [TaskShape(40, 24, 12, 2), TaskShape(20, 100, 60, 9), TaskShape(1, 9, 4, 1)]
    return [prior.sample(shape, seeded(20 + k)) for k, shape in enumerate(shapes)]


@pytest.mark.parametrize("transform", [*X_ONLY, *Y_ONLY, *BOTH], ids=lambda t: type(t).__name__)
def test_a_transform_keeps_the_contract(transform, batches, seeded):
    for k, batch in enumerate(batches):
        before = torch.random.get_rng_state()
        out, again = transform(batch, seeded(30 + k)), transform(batch, seeded(30 + k))
        assert torch.equal(before, torch.random.get_rng_state())
        assert_same(out, again)
        assert out.shape == batch.shape and out.X.dtype == torch.float32 and out.y.dtype == batch.y.dtype
        assert not out.X.isinf().any() and out.y.isfinite().all()
        assert not (is_constant(out.X) & ~is_constant(batch.X)).any()
        codes = out.X.mT[out.is_categorical].nan_to_num()
        assert torch.equal(codes, codes.round()) and (codes >= 0).all()
        if batch.n_classes is None:
            assert (out.y.amax(1) > out.y.amin(1)).all()
        else:
            for y_context, y, n_classes in zip(out.y_context, out.y, out.n_classes):
                assert y_context.unique().tolist() == list(range(n_classes)) and y.max() < n_classes


@pytest.mark.parametrize("transform", X_ONLY, ids=lambda t: type(t).__name__)
def test_what_touches_x_leaves_y(transform, batches, seeded):
    changed = 0
    for batch in batches:
        out = transform(batch, seeded(40))
        assert torch.equal(out.y, batch.y)
        changed += not torch.equal(out.X.nan_to_num(-7.0), batch.X.nan_to_num(-7.0))
    assert changed


@pytest.mark.parametrize("transform", Y_ONLY, ids=lambda t: type(t).__name__)
def test_what_touches_y_leaves_x(transform, batches, seeded):
    for batch in batches:
        out = transform(batch, seeded(41))
        assert_same(TaskBatch(out.X, batch.y, batch.n_context, out.is_categorical, out.n_classes), batch)


@pytest.mark.parametrize("transform", AT_ZERO, ids=lambda t: type(t).__name__)
def test_rate_zero_is_the_identity(transform, batches, seeded):
    for batch in batches:
        assert_same(transform(batch, seeded(42)), batch)


def test_sometimes_takes_its_share_of_the_tasks_and_leaves_the_others_alone(seeded):
    n = 2_000
    batch = SCMPrior(task="regression", missing=0.0).sample(TaskShape(n, 12, 6, 3), seeded(43))
    out = Sometimes(noise.HeteroskedasticNoise(), 0.3)(batch, seeded(44))
    changed = (out.y != batch.y).any(1)
    assert abs(changed.double().mean() - 0.3) < 4 * math.sqrt(0.21 / n)
    assert (out.y != batch.y)[changed].all()


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_messy_keeps_each_share_and_makes_dirt_come_together(correlation, seeded):
    n, p = 4_000, (0.1, 0.4)
    y = torch.randn(n, 10, generator=seeded(45))
    batch = TaskBatch(y[..., None].clone(), y, 5, torch.zeros(n, 1, dtype=torch.bool))
    messy = Messy([noise.MeasurementError(), noise.HeteroskedasticNoise()], list(p), correlation)
    out = messy(batch, seeded(46))
    hit = torch.stack([(out.X != batch.X).flatten(1).any(1), (out.y != batch.y).any(1)], 1).double()
    for k in (0, 1):
        assert abs(hit[:, k].mean() - p[k]) < 4 * math.sqrt(p[k] * (1 - p[k]) / n)
    together = hit.prod(1).mean()
    if correlation:
        assert together > 0.08  # nearly every task of the rarer kind
    else:
        assert abs(together - 0.04) < 4 * math.sqrt(0.04 * 0.96 / n)


def test_no_transforms_is_the_prior_itself(seeded):
    shape = TaskShape(3, 30, 20, 4)
    assert_same(Transformed(SCMPrior(), []).sample(shape, seeded(47)), SCMPrior().sample(shape, seeded(47)))


def test_an_option_of_one_transform_changes_nothing_else(seeded):
    """Label flips are the same whatever the noise before them draws; the clean tasks are those of the bare prior."""
    shape = TaskShape(5, 60, 40, 4)
    flips = noise.SymmetricLabelNoise(rate=0.2)
    batches = [
        Transformed(SCMPrior(), [first, flips]).sample(shape, seeded(48))
        for first in (noise.MeasurementError(), noise.MeasurementError(std=1.0), columns.IrrelevantColumns(rate=0.9))
    ]
    assert not torch.equal(batches[0].y, SCMPrior().sample(shape, seeded(48)).y)
    for batch in batches[1:]:
        assert torch.equal(batch.y, batches[0].y)
        assert not torch.equal(batch.X.nan_to_num(), batches[0].X.nan_to_num())


YAML = """
class_path: priors.transform.Transformed
init_args:
  prior: {class_path: priors.SCMPrior, init_args: {task: regression}}
  transforms:
    - {class_path: priors.noise.HeavyTailedNoise, init_args: {scale: 0.2, tail: [1.5, 6]}}
    - class_path: priors.transform.Sometimes
      init_args:
        transform: {class_path: priors.missing.MissingAtRandom, init_args: {rate: [0.01, 0.3]}}
        probability: 0.3
    - class_path: priors.transform.Messy
      init_args:
        transforms: [{class_path: priors.shift.CovariateShift}, {class_path: priors.table.TableEffects}]
        probabilities: [0.5, 0.5]
"""


def test_a_yaml_builds_transforms_of_any_depth(seeded):
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--prior", type=Prior)
    built = parser.instantiate(parser.parse_object({"prior": yaml.safe_load(YAML)})).prior
    sometimes = Sometimes(missing.MissingAtRandom(rate=(0.01, 0.3)), 0.3)
    messy = Messy([shift.CovariateShift(), TableEffects()], [0.5, 0.5])
    assert built == Transformed(
        SCMPrior(task="regression"), [noise.HeavyTailedNoise(scale=0.2, tail=(1.5, 6.0)), sometimes, messy]
    )
    assert built.sample(TaskShape(2, 30, 20, 3), seeded(49)).y.isfinite().all()
    wrong = yaml.safe_load(YAML.replace("priors.shift.CovariateShift", "priors.TaskShape"))
    with pytest.raises(jsonargparse.ArgumentError, match="TaskShape"):
        parser.parse_object({"prior": wrong})


@pytest.mark.parametrize(
    "make",
    [
        lambda: noise.SymmetricLabelNoise(rate=1.5),
        lambda: noise.MeasurementError(std=(0.5, 0.1)),
        lambda: missing.MissingAtRandom(rate=-0.1),
        lambda: shift.ClassImbalance(share=2.0),
        lambda: columns.Categories(levels=(1, 5)),
        lambda: targets.CensoredTarget(lower=0.7),
        lambda: Sometimes(noise.MeasurementError(), 2.0),
        lambda: Messy([noise.MeasurementError()], [0.1, 0.2]),
        lambda: TableEffects(amount=9.0),
    ],
)
def test_rates_out_of_range_are_refused(make):
    with pytest.raises(ValueError, match="got"):
        make()


@pytest.mark.parametrize("shape", [TaskShape(150, 24, 12, 2), TaskShape(60, 24, 8, 30), TaskShape(2, 1_024, 700, 100)])
@pytest.mark.parametrize("prior", [SCMPrior(), FunctionPrior(task="regression")])
def test_no_column_is_constant_with_all_effects_on(prior, shape, seeded):
    batch = Transformed(prior, [TableEffects(missing=0.3)]).sample(shape, seeded(50))
    assert not is_constant(batch.X).any()


def test_student_t_has_the_variance_of_its_degrees_of_freedom(seeded):
    n, df = 200_000, 8.0
    draws = student_t(torch.tensor(df), (n,), seeded(0))
    squares = draws.square()
    assert abs(squares.mean() - df / (df - 2)) < 4 * squares.std() / math.sqrt(n)


def test_log_uniform_is_uniform_in_the_log(seeded):
    draws = log_uniform(0.01, 1.0, (50_000,), seeded(0)).log()
    assert abs(draws.mean() - math.log(0.1)) < 4 * (math.log(100) / math.sqrt(12)) / math.sqrt(50_000)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_share_of_tasks_with_missing_cells(share, seeded):
    n = 3_000
    X = torch.randn(n, 60, 8, generator=seeded(1))
    affected = mask_cells(X, seeded(2), share).isnan().flatten(1).any(1).double().mean()
    # An affected task may draw rates so low that no cell goes missing: at most that many fewer.
    assert affected <= share + 4 * math.sqrt(share * (1 - share) / n)
    assert affected >= 0.85 * share


def test_missingness_only_blanks(seeded):
    X = torch.randn(50, 30, 4, generator=seeded(1))
    masked = mask_cells(X, seeded(2), 1.0)
    assert torch.equal(masked[~masked.isnan()], X[~masked.isnan()])


def test_missingness_at_random_follows_another_column_and_not_at_random_the_value(seeded):
    """With many tasks, missing cells differ from the others in mean where the mechanism says so."""
    X = torch.randn(2_000, 200, 2, generator=seeded(3))
    masked = mask_cells(X, seeded(4), 1.0).isnan()
    counts = masked.sum(1)
    usable = (counts > 20) & (counts < 180)
    gap = (X * masked).sum(1) / counts.clamp_min(1) - (X * ~masked).sum(1) / (200 - counts).clamp_min(1)
    spread = gap[usable].abs().mean()
    # Completely at random alone would give about sqrt(2 / pi) times a standard error of ~ .2.
    assert spread > 0.25


def test_discrete_columns_hold_few_levels_and_effects_follow_codes(seeded):
    Z = torch.randn(200, 100, 5, generator=seeded(5))
    shown, effect, is_categorical = discretise(Z, seeded(6))
    assert is_categorical.any() and not is_categorical.all()
    numeric = (shown == Z).all(1)
    assert numeric.any() and not (numeric & is_categorical).any()
    assert torch.equal(effect[numeric[:, None].expand_as(Z)], Z[numeric[:, None].expand_as(Z)])
    for task, column in (~numeric).nonzero()[:50].tolist():
        pairs = torch.stack([shown[task, :, column], effect[task, :, column]], 1).unique(dim=0)
        assert len(pairs) == len(pairs[:, 0].unique()) <= 200  # one effect per code


def test_class_shares_reach_down_to_one_per_cent(seeded):
    config = TargetConfig(noise=(0.01, 0.02), max_label_noise=0.0)
    y, n_classes = class_target(torch.randn(4_000, 400, 1, generator=seeded(7)), 300, config, seeded(8))
    binary = n_classes == 2
    share = y[binary].double().mean(1)
    minority = torch.minimum(share, 1 - share)
    assert 0.4 < binary.double().mean() < 0.65
    assert (minority < 0.03).double().mean() > 0.05
    assert (minority > 0.3).double().mean() > 0.2


def test_labels_are_names_so_slots_are_exchangeable(seeded):
    y, n_classes = class_target(torch.randn(3_000, 50, 4, generator=seeded(9)), 40, TargetConfig(), seeded(10))
    share = y[n_classes == 2].double().mean(1)
    assert abs(share.mean() - 0.5) < 4 * share.std() / math.sqrt(len(share))


def test_trees_are_constant_between_thresholds(seeded):
    V = torch.randn(20, 200, 3, generator=seeded(11))
    outputs = draw_trees(V, 2, seeded(12), max_trees=1)
    for task in range(20):
        assert len(outputs[task].unique(dim=0)) <= 2**6


def test_trees_ignore_the_units_of_a_column(seeded):
    V = torch.randn(4, 50, 3, generator=seeded(13))
    assert torch.equal(draw_trees(V, 1, seeded(14)), draw_trees(V.exp(), 1, seeded(14)))


@pytest.mark.parametrize("prior", [SCMPrior(), FunctionPrior()])
def test_targets_depend_on_the_features(prior, seeded):
    """Across tasks, a nearest-neighbour vote beats the majority class clearly: the tables can be learnt from."""
    batch = prior.sample(TaskShape(300, 200, 150, 4), seeded(15))
    X = batch.X.nan_to_num()
    X = (X - X.mean(1, keepdim=True)) / X.std(1, keepdim=True).clamp_min(1e-6)
    nearest = torch.cdist(X[:, 150:], X[:, :150]).topk(7, largest=False).indices
    votes = batch.y_context.gather(1, nearest.flatten(1)).view_as(nearest).mode(-1).values
    accuracy = (votes == batch.y_query).double().mean(1)
    majority = torch.stack([(batch.y_query == c).double().mean(1) for c in range(10)]).max(0).values
    gain = accuracy - majority
    assert gain.mean() > 4 * gain.std() / math.sqrt(300)


def test_shapes_stay_in_range_and_few(seeded):
    sampler, generator = ShapeSampler(), seeded(16)
    shapes = [sampler.sample(generator) for _ in range(2_000)]
    assert all(24 <= s.n_rows <= 1024 and 2 <= s.n_features <= 100 for s in shapes)
    assert all(s.n_cells <= 6_000 or s.n_tasks == 1 for s in shapes)
    share = torch.tensor([s.n_context / s.n_rows for s in shapes])
    assert share.min() > 0.2 and share.max() < 0.95
    assert len(set(shapes)) < 600
    with pytest.raises(ValueError, match="rows"):
        ShapeSampler(rows=(4, 100))


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_tensor_is_made_on_the_generators_device(task, seeded):
    """A stand-in for a GPU: whatever is made without naming a device lands on `meta`, and mixing devices fails."""
    generator = seeded(60)
    transforms = [*X_ONLY, *Y_ONLY, *BOTH, noise.ClassConditionalLabelNoise(matrix=[[0.9, 0.1], [0.2, 0.8]])]
    latent = torch.randn(4, 60, 5, generator=generator)
    y, n_classes = class_target(latent, 40, TargetConfig(), generator)
    batch = TaskBatch(latent, y, 40, torch.zeros(4, 5, dtype=torch.bool), n_classes)
    if task == "regression":
        batch = TaskBatch(latent, latent[..., 0].clone(), 40, batch.is_categorical)
    with torch.device("meta"):
        for transform in transforms:
            batch = transform(batch, generator)
            assert batch.X.device.type == batch.y.device.type == "cpu"
        shown, effect, flags = discretise(latent, generator)
        y, _ = class_target(latent, 40, TargetConfig(), generator)
        y_regression = targets.regression_target(latent, TargetConfig(), generator)
    assert {t.device.type for t in (shown, effect, flags, y, y_regression)} == {"cpu"}
