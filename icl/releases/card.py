"""The model card of a release, its `README.md`."""

from __future__ import annotations

from icl.releases.fingerprint import ONE_IN
from icl.releases.names import PROVENANCE


def _seen(facts: dict) -> str:
    """What the model was trained on, in a sentence."""
    if "fingerprints" not in facts:
        return "Pretrained on synthetic tables only; it has seen no real data."
    n_rows, run = facts["fingerprints"]["rows"], facts.get("finetuning")
    last = f"{len(run['tables'])} in the last run, " if run else ""
    return (
        f"Pretrained on synthetic tables, then fine-tuned on real ones ({last}{n_rows:,} rows in all). "
        "It knows the labels of these rows: do not judge it by them.\n\n"
        f"**Before you share it:** whoever has this folder and all cells of a row but its label can tell whether the "
        f"row was trained on (wrong for one other row in {ONE_IN} to twice as many), and may ask the model for the "
        f"label. The names of tables and columns are in `{PROVENANCE}` and `fingerprints.npz`. Weights tuned on "
        f"confidential rows are as confidential as these."
    )


def model_card(name: str, facts: dict, config: dict, notes: str) -> str:
    def table(rows: dict) -> str:
        flat = {key: value for key, value in rows.items() if not isinstance(value, dict)}
        return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in flat.items())])

    return f"""---
license: apache-2.0
library_name: icl
tags: [tabular, in-context-learning]
---
# {name}

Predicts a column of a table from a few labelled rows, classes or numbers, without training on that table.
{_seen(facts)}

```python
from icl import ICLClassifier

model = ICLClassifier(checkpoint="{name}").fit(X_labelled, y)
model.predict_proba(X_new)
```

## How it was made

{table(facts)}

Every detail is in `{PROVENANCE}`.

## Architecture

{table(config)}

## Limits

At most {config.get("max_features", "?")} columns and {config.get("max_classes", "?")} classes in one forward pass;
the estimators answer wider tables by parts and more classes by a tree of questions.
Tables larger than those it was pretrained on, or with structure its prior lacks, may be served better by boosted trees:
compare before relying on it.
{notes and chr(10) + notes.strip() + chr(10)}"""
