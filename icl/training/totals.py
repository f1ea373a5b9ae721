"""Sums and weights of validation metrics, added up over processes before they become means."""

from __future__ import annotations

import torch

# How many batches a mean rests on, and their sum: what processes add up before they divide.
Totals = dict[str, tuple[float, float]]


def averages(totals: Totals) -> dict[str, float]:
    """Means by name, and over the real tables: `val/real/auc` and its like."""
    means = {name: total / weight for name, (weight, total) in totals.items()}
    by_metric: dict[str, list[float]] = {}
    for name, mean in means.items():
        if name.startswith("val/real/"):
            by_metric.setdefault(name.rsplit("/", 1)[1], []).append(mean)
    return means | {f"val/real/{metric}": sum(values) / len(values) for metric, values in by_metric.items()}


def gathered(totals: Totals, world_size: int) -> Totals:
    """Totals of all processes, each item counted once; a collective call."""
    parts: list[Totals] = [totals]
    if world_size > 1:
        parts = [{} for _ in range(world_size)]
        torch.distributed.all_gather_object(parts, totals)
    joined: Totals = {}
    for part in parts:
        for name, (weight, total) in part.items():
            add(joined, name, total / weight, weight)
    return joined


def add(totals: Totals, name: str, value: float, weight: float) -> None:
    before = totals.get(name, (0.0, 0.0))
    totals[name] = (before[0] + weight, before[1] + weight * value)
