"""The mean of several releases' weights as one release: `python train.py average`.

Branches of one run that each ended by a fall of the rate lie in one valley; their mean often answers better than any
of them, and costs what one costs.

Source:
    Wortsman et al. (2022), Model soups: averaging weights of multiple fine-tuned models improves accuracy without
    increasing inference time, arXiv:2203.05482.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from icl.network.config import FIELDS, TabularConfig, own_fields
from icl.network.model import TabularTransformer
from icl.releases.folder import load_release, save_release
from icl.releases.names import CheckpointError, resolve_checkpoint
from icl.releases.provenance import origin_of, read_provenance
from icl.releases.seen import FILE, described, read_seen, to_bytes, united

# What a release may do without having weights of its own for it.
_FREE = ("least_groups", "max_features", "max_context")


def average_releases(releases: Sequence[str], out: str) -> Path:
    """Write the mean of the weights of several releases, each counting alike, as a release.

    Args:
        releases: names or folders, two at least, of one size; of what has no weights (`least_groups`, limits) the mean
            has the largest that one of them has.
        out: folder to write.
    Returns:
        the folder.
    Raises:
        ValueError: for fewer than two releases, one named twice, or sizes that differ.
        CheckpointError: if a release cannot be read.
    """
    if len(releases) < 2 or len({resolve_checkpoint(name).resolve() for name in releases}) < len(releases):
        raise ValueError(f"the mean is of two releases or more, each named once; got {', '.join(releases) or 'none'}.")
    models = [load_release(name) for name in releases]
    first, *others = (own_fields(model.config) for model in models)
    for name, fields in zip(releases[1:], others):
        differs = [f"{k} {first[k]} and {fields[k]}" for k in FIELDS if k not in _FREE and fields[k] != first[k]]
        if differs:
            raise ValueError(f"{releases[0]} and {name} are not of one size: {'; '.join(differs)}.")
    config = TabularConfig(**first | {k: max(fields[k] for fields in (first, *others)) for k in _FREE})
    mean = TabularTransformer(config)
    states = [model.state_dict() for model in models]
    mean.load_state_dict({k: torch.stack([state[k].double() for state in states]).mean(0).float() for k in states[0]})
    origins = [origin_of(name) for name in releases]
    facts: dict[str, Any] = {"average_of": origins}
    try:
        runs = dict(run for origin in origins for run in _runs(origin))
    except (TypeError, AttributeError) as error:
        raise CheckpointError(
            f"the provenance of {' or '.join(releases)} is not as train.py writes it ({error}), so it cannot be said "
            "what the mean was trained on."
        ) from error
    if all(isinstance(tasks, int) for tasks in runs.values()):
        facts["tasks_seen_in_all"] = sum(runs.values())
    told = {str(read_provenance(name).get("data")) for name in releases}
    if len(told) == 1 and "None" not in told:
        facts["data"] = told.pop()
    files = {}
    if seen := united([read_seen(resolve_checkpoint(name)) for name in releases]):  # what one of them knows, it knows
        files = {FILE: to_bytes(seen)}
        facts |= {"fingerprints": described(seen, files[FILE]), "data": "synthetic tasks and real tables"}
    return save_release(mean, out, facts, files=files)


def _runs(origin: dict[str, Any]) -> Iterator[tuple[tuple, int | None]]:
    """Every run behind a release, so that what branches share counts once: what tells it from others, and its tasks."""
    inside = [*origin.get("average_of", ()), *([origin["init_from"]] if origin.get("init_from") else ())]
    if "tasks_seen" in origin or not inside:
        yield tuple(origin.get(k) for k in ("git_commit", "seed", "steps", "tasks_seen")), origin.get("tasks_seen")
    for earlier in inside:
        yield from _runs(earlier)
