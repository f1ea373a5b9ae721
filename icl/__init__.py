"""In-context learning for tables: predict zero-shot, and turn predictions into valid confidence intervals.

Names load on first use, so that `import icl` is cheap and `import icl.inference` never imports torch.
"""

from importlib import import_module

from icl.auto import register as _register

__version__ = "0.1.0"

_HOME = {
    "ICLClassifier": "icl.estimators.classifier",
    "ICLImputer": "icl.joint.imputer",
    "ICLRegressor": "icl.estimators.regressor",
    "ImputationWarning": "icl.joint.impute",
    "BetterBaselineWarning": "icl.estimators.baseline",
    "FinetuneConfig": "icl.finetuning.config",
    "FinetuneRefusedWarning": "icl.finetuning.one_table",
    "OutOfPriorWarning": "icl.estimators.prior_limits",
    "SchemaWarning": "icl.tables.schema",
    "audit": "icl.joint.audit.run",
    "augment": "icl.joint.augmenting.augment",
    "available_checkpoints": "icl.releases.names",
    "compare_augmentation": "icl.joint.augmenting.compare",
    "compare_checkpoints": "icl.estimators.compare",
    "finetune": "icl.finetuning.run",
    "generate": "icl.joint.synthetic.generate",
    "generation_time": "icl.joint.cost",
    "imputation_time": "icl.joint.cost",
    "impute": "icl.joint.impute",
    "inspect_table": "icl.tables.reader",
    "load": "icl.estimators.saved",
    "load_release": "icl.releases.folder",
    "log_density": "icl.joint.synthetic.density",
    "monitor": "icl.inference.results.monitor",
    "outlier_scores": "icl.joint.synthetic.density",
    "predict_many": "icl.estimators.many",
    "read_table": "icl.tables.reader",
    "save_release": "icl.releases.folder",
    "tipping_point": "icl.joint.tipping",
}
__all__ = [
    "BetterBaselineWarning",
    "FinetuneConfig",
    "FinetuneRefusedWarning",
    "ICLClassifier",
    "ICLImputer",
    "ICLRegressor",
    "ImputationWarning",
    "OutOfPriorWarning",
    "SchemaWarning",
    "__version__",
    "audit",
    "augment",
    "available_checkpoints",
    "compare_augmentation",
    "compare_checkpoints",
    "finetune",
    "generate",
    "generation_time",
    "imputation_time",
    "impute",
    "inspect_table",
    "load",
    "load_release",
    "log_density",
    "monitor",
    "outlier_scores",
    "predict_many",
    "read_table",
    "save_release",
    "tipping_point",
]

_PARTS = {"inference"}  # `icl.inference.infer(...)` after `import icl` alone

_register()  # `AutoModel` of transformers reads release folders


def __getattr__(name: str):
    if name in _PARTS:
        return import_module(f"icl.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'icl' has no attribute {name!r}; it offers {', '.join(__all__)}.")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_PARTS})
