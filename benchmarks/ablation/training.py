"""A variant trained for a fixed number of tasks and scored on real tables, by the code of the race."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from benchmarks.ablation.ingredients import INGREDIENTS
from benchmarks.race.candidates import CANDIDATES, Candidate
from benchmarks.race.scoring import MAX_ROWS, score
from benchmarks.race.training import WARM_UP_S, Recipe, Run, rate_at
from benchmarks.tables import read_index
from benchmarks.talent import is_development
from icl.network.model import TabularTransformer
from icl.releases.folder import load_release

ROOT = Path(__file__).parents[2]
KEPT = ["dataset", "task", "development", "auc", "logloss", "r2", "crps"]
# The race's schedule is one of seconds, whose warm-up is a tenth of this many.
_SPAN = 10 * WARM_UP_S


def choose_tables(folder: Path, max_cells: int) -> list[dict]:
    """Real tables with at most `max_cells` cells after the protocol's cut, public benchmarks or not, one a family."""
    index = read_index(folder)
    small = index[index.n.clip(upper=MAX_ROWS) * index.p <= max_cells]
    return small.drop_duplicates("family").to_dict("records")


def start_from(weights: str) -> Candidate:
    """The network that every variant starts with: untrained ("scratch"), or the weights of a release."""
    if weights == "scratch":
        return CANDIDATES["alternating"]
    trained = load_release(weights)

    def load(model: TabularTransformer) -> None:
        model.load_state_dict(trained.state_dict())

    return Candidate(f"goes on from {weights}", patch=load)


def read_recipe(config: Path, batch_cells: int, most_cells: int, rate_factor: float) -> Recipe:
    """That of `config` with smaller batches, no task above `most_cells`, and its peak rates times `rate_factor`.

    A few large tasks would take most of the time of a short run, and trained weights need lower rates than new ones.
    """
    recipe = Recipe.read(config, batch_cells)
    optim, shapes = recipe.optim, replace(recipe.shapes, most_cells=most_cells)
    optim = replace(optim, lr_muon=rate_factor * optim.lr_muon, lr_adamw=rate_factor * optim.lr_adamw)
    return replace(recipe, shapes=shapes, optim=optim)


def train_variant(
    name: str, seed: int, recipe: Recipe, start: Candidate, n_tasks: int, log: Callable[[str], None] = print
) -> Run:
    """The variant after `n_tasks` tasks, or the few more that the last step makes; all variants see the same shapes."""
    tasks = [prior.task for prior in recipe.priors]
    own = replace(recipe, priors=[INGREDIENTS[name].build(task) for task in tasks])
    run = Run(name, start, own, seed)
    while run.n_tasks < n_tasks:
        run.step(rate_at(_SPAN * run.n_tasks / n_tasks, _SPAN))
        if len(run.losses) % 20 == 0:
            log(f"{name} seed {seed}: {run.n_tasks} tasks, {run.cpu_s:.0f} s, {sum(run.losses[-20:]) / 20:.3f}")
    run.model.eval()
    return run


def score_variant(run: Run, folder: Path, tables: list[dict]) -> pd.DataFrame:
    """A row for each table: its name and kind, whether it is of the development half, and its scores."""
    scores = score(run.model, run.name, folder, tables)
    development = {table["name"]: int(is_development(table["family"])) for table in tables}
    scores.insert(2, "development", scores.dataset.map(development))
    return scores[KEPT]
