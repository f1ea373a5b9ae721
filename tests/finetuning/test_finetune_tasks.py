"""Tasks from tables: what the model trains on is what an estimator shows it."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.testing import assert_close

from icl import ICLClassifier, ICLRegressor
from icl.finetuning import FinetuneConfig
from icl.finetuning.held_out import row_losses
from icl.finetuning.stream import task_stream
from icl.finetuning.tables import encode_tables
from icl.finetuning.tasks import TablesPrior, batch_of, draw_rows, make_task
from icl.training.pretraining import task_loss
from priors import TaskShape

TASKS = ("classification", "regression")


def make_frame(task: str, n: int = 90) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, n))
    b[rng.random(n) < 0.2] = np.nan
    y = np.where(a > 0.3, "yes", np.where(a > -1, "no", "never")) if task == "classification" else np.exp(a)
    return pd.DataFrame({"a": a, "b": b, "c": rng.choice(["u", "v", "w"], n, p=[0.1, 0.3, 0.6]), "y": y})


@pytest.fixture(scope="module", params=TASKS)
def encoded(request):
    [table] = encode_tables({"t": make_frame(request.param)}, FinetuneConfig(target="y", task=request.param), 5)
    return table


@pytest.mark.parametrize("guise", [0, 1, 3])
def test_a_task_shows_what_an_estimator_would(encoded, tiny_model, guise):
    """The loss of the task is that of the estimator's member, in every guise."""
    target = encoded.targets[0]
    rows = draw_rows(target, 90, np.random.default_rng(1))
    context, query = rows[:60], rows[60:]
    task = make_task(encoded, target, context, query, tiny_model.config, np.random.default_rng(2), guise)
    ours = float(task_loss(tiny_model, batch_of([task], 60)).detach())
    kind = ICLClassifier if target.n_classes else ICLRegressor
    frame = encoded.frame.drop(columns="y")
    # The seed that make_task draws its guises with.
    seed = int(np.random.default_rng(2).integers(2**31))
    labels = target.y
    estimator = kind(tiny_model, n_estimators=4, random_state=seed, companions=("ridge",)).fit(
        frame.iloc[context], labels[context]
    )
    member = estimator._members[guise]
    view = torch.from_numpy(member.views(estimator._encode_rows(frame.iloc[query]))[0])[None]
    [shown] = member.contexts
    X = torch.cat([torch.from_numpy(shown.X_NF)[None], view], 1)
    assert task.X.shape == X.shape[1:] and task.X.shape[1] >= 3 + (guise == 0)  # a ridge regression adds a column
    with torch.no_grad():
        y = torch.from_numpy(shown.y_N)[None]
        y = y if target.n_classes else y.float()
        scores = tiny_model(X, y, torch.from_numpy(shown.is_categorical_F)[None], target.n_classes)
    log_probs = torch.log_softmax(scores[0], -1)
    answers = torch.from_numpy(task.y[60:])
    if target.n_classes is None:
        from icl.network.cells import target_scale
        from icl.network.distribution import HistogramPredictive, histogram_edges

        s, edges = target_scale(y), histogram_edges(tiny_model.config.n_bins)
        answers = HistogramPredictive(scores[0], edges, s.loc[0], s.scale[0]).bin_of(answers)
    theirs = float(-log_probs.gather(1, answers[:, None]).mean())
    assert ours == pytest.approx(theirs, rel=1e-3)


def test_row_losses_average_to_the_task_loss(encoded, tiny_model):
    batch = TablesPrior([encoded], tiny_model.config, 60, 500).sample(TaskShape(1, 8, 4, 1), seeded(3))
    with torch.no_grad():
        assert_close(row_losses(tiny_model, batch).mean(), task_loss(tiny_model, batch))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_batch_is_a_function_of_seed_step_and_rank(encoded, tiny_model):
    config = FinetuneConfig(target="y", replay=0.0, max_rows=60, n_cells=400, seed=5)
    at = lambda step, rank, seed=5: task_stream(
        [encoded], FinetuneConfig(**vars(config) | {"seed": seed}), tiny_model.config, rank=rank
    ).at(step)
    first = at(3, 0)
    assert len(first) == config.batch_tables
    for one, two in zip(first, at(3, 0), strict=True):
        assert_close(one.X, two.X, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(one.y, two.y)
    for other in (at(4, 0), at(3, 1), at(3, 0, seed=6)):
        assert other[0].X.shape != first[0].X.shape or not torch.equal(other[0].X.nan_to_num(), first[0].X.nan_to_num())


def test_batches_keep_their_promises(encoded, tiny_model):
    """Every class is among the context, categories are codes from 0 on, levels unknown to the context are gaps."""
    prior = TablesPrior([encoded], tiny_model.config, 60, 500)
    for seed in range(40):
        batch = prior.sample(TaskShape(1, 8, 4, 1), seeded(seed))
        shape = batch.shape
        # Three columns, up to three of a ridge regression, two components of the two numbers.
        assert 3 <= shape.n_features <= 8 and shape.n_rows <= 60 and shape.n_tasks * shape.n_rows * 3 <= 500
        for X, y, flags in zip(batch.X, batch.y, batch.is_categorical, strict=True):
            context, query = X[: batch.n_context], X[batch.n_context :]
            codes = context[:, flags].ravel()
            known = codes[~codes.isnan()].unique().tolist()
            assert known == list(range(len(known)))
            asked = query[:, flags].ravel()
            assert set(asked[~asked.isnan()].tolist()) <= set(known)
            if batch.n_classes is not None:
                assert set(y.tolist()) == {0, 1, 2} == set(y[: batch.n_context].tolist())
            else:
                assert y.isfinite().all() and y[: batch.n_context].unique().numel() > 1


@pytest.mark.parametrize(
    ("n_context", "companions", "n_made"),
    [(260, "auto", (4, 5)), (200, "auto", (1, 2)), (200, ("trees",), (1, 1)), (260, (), (0, 0))],
)
@pytest.mark.filterwarnings("ignore:the context has 260 rows:UserWarning")
def test_tasks_show_the_columns_that_estimators_show(tiny_model, n_context, companions, n_made):
    """As many as the companions of a context of this length make, the same in a fitted estimator."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(300, 4))).add_prefix("x")
    table["y"] = np.sin(2 * table.x0) + table.x1 * table.x2
    [encoded] = encode_tables({"t": table}, FinetuneConfig(target="y"), 5)
    rows = np.arange(300)
    parts = rows[:n_context], rows[n_context:]
    task = make_task(encoded, encoded.targets[0], *parts, tiny_model.config, np.random.default_rng(0), 0, companions)
    fitted = ICLRegressor(tiny_model, n_estimators=1, companions=companions)
    fitted.fit(table[:n_context].drop(columns="y"), table.y[:n_context])
    assert task.X.shape[1] == fitted._members[0].contexts[0].X_NF.shape[1]
    assert n_made[0] <= task.X.shape[1] - 4 <= n_made[1]


def test_a_numeric_target_may_be_in_any_unit(tiny_model):
    frame = make_frame("regression")
    batches = []
    for scale, shift in ((1.0, 0.0), (1e9, -3e12)):
        table = frame.assign(y=frame.y * scale + shift)
        [encoded] = encode_tables({"t": table}, FinetuneConfig(target="y"), 5)
        batches.append(TablesPrior([encoded], tiny_model.config, 60, 500).sample(TaskShape(1, 8, 4, 1), seeded(0)))
    assert_close(batches[0].y, batches[1].y, rtol=1e-3, atol=1e-3)


def test_wide_tables_are_shown_in_parts(tiny_model):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(60, 30)), columns=[f"x{k}" for k in range(30)]).assign(y=rng.normal(size=60))
    [encoded] = encode_tables({"t": table}, FinetuneConfig(target="y"), 5)
    batch = TablesPrior([encoded], tiny_model.config, 40, 100).sample(TaskShape(1, 8, 4, 1), seeded(0))
    assert 15 <= batch.shape.n_features <= tiny_model.config.max_features == 20
