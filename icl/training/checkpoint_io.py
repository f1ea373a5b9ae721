"""Training checkpoints that a kill, a crash or a full disk never leaves in pieces: the old file or the new one."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO, TorchCheckpointIO

from icl.atomic import replacing


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes beside the old file, waits until the bytes are on the disk, then renames (`icl.atomic`).

    Lightning's own writer goes through the system's temporary folder: where that is another file system its last step
    is a copy, which a kill can cut in half, and nothing waits for the disk. Remote addresses (s3://...) are left to it.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write `checkpoint` to `path`.

        Raises:
            OSError: if it cannot be written; the file that was there stays as it was.
        """
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        buffer = io.BytesIO()  # whole before the disk sees any of it
        torch.save(checkpoint, buffer)
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as partial, open(partial, "wb") as file:
                file.write(buffer.getbuffer())
        except OSError as error:
            kept = f"the one before it is whole: free some space, then resume with --ckpt_path {path}"
            raise OSError(
                error.errno,
                f"could not write the checkpoint of {buffer.getbuffer().nbytes / 1e6:.0f} MB to {path}: "
                f"{os.strerror(error.errno or 0)}; {kept if path.exists() else 'there is none before it'}.",
            ) from error


def with_whole_checkpoints(plugins: Any) -> list[Any]:
    """A trainer's plugins, with this writer unless one of them writes checkpoints."""
    listed = list(plugins) if isinstance(plugins, (list, tuple)) else [] if plugins is None else [plugins]
    return listed if any(isinstance(plugin, CheckpointIO) for plugin in listed) else [*listed, WholeCheckpointIO()]
