"""The address that YAML files of earlier versions name; the callbacks live in `icl.training.callbacks`."""

from icl.training.callbacks import FinishStepOnInterrupt, StepProgressBar, WriteRelease

__all__ = ["FinishStepOnInterrupt", "StepProgressBar", "WriteRelease"]
