"""In-context learning for tables: predict zero-shot, and turn predictions into valid confidence intervals.

Names load on first use, so that `import icl` is cheap and `import icl.inference` never imports torch.
"""

from importlib import import_module

from icl.auto import register as _register

__version__ = "0.1.0"

_HOME = {
    "ICLClassifier": "icl.estimators.classifier",
    "ICLRegressor": "icl.estimators.regressor",
    "BetterBaselineWarning": "icl.estimators.baseline",
    "FinetuneConfig": "icl.finetuning.config",
    "FinetuneRefusedWarning": "icl.finetuning.one_table",
    "OutOfPriorWarning": "icl.estimators.prior_limits",
    "SchemaWarning": "icl.tables.schema",
    "available_checkpoints": "icl.releases.names",
    "compare_checkpoints": "icl.estimators.compare",
    "finetune": "icl.finetuning.run",
    "load_release": "icl.releases.folder",
    "read_table": "icl.tables.reader",
    "save_release": "icl.releases.folder",
}
__all__ = [
    "BetterBaselineWarning",
    "FinetuneConfig",
    "FinetuneRefusedWarning",
    "ICLClassifier",
    "ICLRegressor",
    "OutOfPriorWarning",
    "SchemaWarning",
    "__version__",
    "available_checkpoints",
    "compare_checkpoints",
    "finetune",
    "load_release",
    "read_table",
    "save_release",
]


_register()  # `AutoModel` of transformers reads release folders


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'icl' has no attribute {name!r}; it offers {', '.join(__all__)}.")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
