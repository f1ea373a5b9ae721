"""Fine-tuning: a checkpoint and the tables of a domain -> a checkpoint that predicts new tables of that domain better.

Names load on first use, as in `icl`.
"""

from importlib import import_module

_HOME = {
    "FinetuneConfig": "icl.finetuning.config",
    "Plan": "icl.finetuning.prepare",
    "dry_run": "icl.finetuning.prepare",
    "finetune": "icl.finetuning.run",
    "plan": "icl.finetuning.prepare",
}
__all__ = ["FinetuneConfig", "Plan", "dry_run", "finetune", "plan"]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'icl.finetuning' has no attribute {name!r}; it offers {', '.join(__all__)}.")
    return getattr(import_module(_HOME[name]), name)
