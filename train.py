"""Pretrain a model: `python train.py fit --config configs/nano.yaml`.

Every option of the YAML is also a flag: `--trainer.devices 2 --trainer.strategy ddp`, `--data.seed 1`, ...
A second `--config` overrides the first. `--ckpt_path last` continues an interrupted run exactly; `last_or_new` begins
one where there is none, for launchers that repeat a command (configs/base-2nodes.yaml).
`python train.py export --ckpt_path CHECKPOINT --out FOLDER` writes the weights of a run, finished or not, as a release.
`python train.py average --releases '[A, B]' --out FOLDER` writes the mean of the weights of several releases.
`python train.py distill --config configs/reader.yaml` trains the reader of a release (`icl.network.reader`), for fast
queries.
"""

import atexit
import gc
import os
import sys
from typing import Any

if __name__ == "__main__":  # what is imported is no garbage: looking for some took 1.8 of the 5.7 s to begin and to end
    gc.set_threshold(20_000, 10, 10)
    atexit.register(gc.freeze)
# Set before torch loads OpenMP: threads that spin at barriers lose everything when another job shares the cores
# (measured on 2 shared cores: 6.5 s a step spinning, 0.7 s passive).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import lightning as L
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from icl.training.callbacks import StepProgressBar, last_checkpoint
from icl.training.checkpoint_io import with_whole_checkpoints
from icl.training.pretraining import PretrainingModule
from icl.training.stream import TaskDataModule


class TrainCLI(LightningCLI):
    """Lightning's command, with a progress bar that counts steps and checkpoints that are whole."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Without `test` and `predict`, for which there are no data: the parser of each takes a tenth of a second."""
        known = LightningCLI.subcommands()
        return {name: known[name] for name in ("fit", "validate")}

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        parser = super().init_parser(**kwargs)
        parser.epilog = (
            "Three more: `train.py distill --config configs/reader.yaml` trains the reader of a release; "
            "`train.py export --ckpt_path CHECKPOINT --out FOLDER` writes a run's weights as a release; "
            "`train.py average --releases '[A, B]' --out FOLDER` the mean of several releases."
        )
        return parser

    def instantiate_trainer(self, **kwargs) -> L.Trainer:
        options = self._get(self.config_init, "trainer")
        callbacks = list(options["callbacks"] or [])
        # Not a default callback: Lightning refuses any bar beside --trainer.enable_progress_bar=false.
        if options["enable_progress_bar"] is not False and not any(isinstance(c, ProgressBar) for c in callbacks):
            callbacks.append(StepProgressBar())
        plugins = with_whole_checkpoints(options["plugins"])
        return super().instantiate_trainer(**kwargs, callbacks=callbacks, plugins=plugins)

    def before_fit(self) -> None:
        """With nothing to go on from, `--ckpt_path last` would start anew and end by replacing the release.

        `--ckpt_path last_or_new` says that this is meant: torchrun and SLURM repeat one command after a failure.
        """
        path = last_checkpoint(self.trainer)
        wanted = self._get(self.config_init, "ckpt_path")
        if wanted == "last_or_new":
            # Every process looks at the same file, so that all begin alike.
            known = path is not None and path.is_file()
            self.config_init[self.subcommand]["ckpt_path"] = "last" if known else None
        elif wanted == "last" and (path is None or not path.is_file()):
            raise FileNotFoundError(
                f"--ckpt_path last, but there is no checkpoint {path or 'callback'}: nothing was interrupted there. "
                f"Leave the option out to start a run, or name the checkpoint to go on from."
            )


def main(args: list[str] | None = None, callbacks: list[Callback] | None = None) -> TrainCLI | None:
    """Run the command; `callbacks` are added to those of the configuration."""
    words = sys.argv[1:] if args is None else args
    if words[:1] in (["export"], ["average"]):
        from jsonargparse import auto_cli

        from icl.training.average import average_releases
        from icl.training.export import export_checkpoint

        command = export_checkpoint if words[0] == "export" else average_releases
        print(auto_cli(command, args=words[1:], as_positional=False, prog=f"train.py {words[0]}"))
        return None
    module: type[L.LightningModule] = PretrainingModule
    if words[:1] == ["distill"]:
        from icl.training.distillation import DistillationModule

        module, args = DistillationModule, ["fit", *words[1:]]
    return TrainCLI(
        module,
        TaskDataModule,
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        trainer_defaults={"callbacks": callbacks or []},
        args=args,
    )


if __name__ == "__main__":
    if sys.argv[1:2] in (["export"], ["average"]):  # a sentence is enough where a run wants its traceback
        try:
            main()
        except (ValueError, OSError) as error:
            sys.exit(f"train.py {sys.argv[1]}: {error}")
    else:
        main()
