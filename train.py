"""Pretrain a model: `python train.py fit --config configs/nano.yaml`.

Every option of the YAML is also a flag: `--trainer.devices 2 --trainer.strategy ddp`, `--data.seed 1`, ...
`--ckpt_path last` continues an interrupted run exactly.
"""

import os

# Set before torch loads OpenMP: threads that spin at barriers lose everything when another job shares the cores
# (measured on 2 shared cores: 6.5 s a step spinning, 0.7 s passive).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningCLI

from icl.data import TaskDataModule
from icl.module import PretrainingModule


def main(args: list[str] | None = None, callbacks: list[Callback] | None = None) -> LightningCLI:
    """Run the command; `callbacks` are added to those of the configuration."""
    return LightningCLI(
        PretrainingModule,
        TaskDataModule,
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        trainer_defaults={"callbacks": callbacks or []},
        args=args,
    )


if __name__ == "__main__":
    main()
