"""Distillation teaches a reader to answer as its network does, and leaves it in the release."""

import pytest
import torch
from torch.testing import assert_close
from training_runs import ROOT, SINGLE, run
from weights import perturbed, reader_tasks

from icl.network.config import TabularConfig
from icl.network.model import TabularTransformer
from icl.network.reader import Reader
from icl.releases.folder import save_release
from icl.releases.reader_file import load_reader, reader_provenance
from icl.training.distillation import divergence


def test_divergence_is_that_of_torch():
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 5, 4, generator=g), torch.randn(2, 5, 4, generator=g)
    ours = divergence(*(torch.nn.functional.pad(scores, (0, 2), value=-torch.inf) for scores in (a, b)))
    p, q = torch.distributions.Categorical(logits=a), torch.distributions.Categorical(logits=b)
    assert_close(ours, torch.distributions.kl_divergence(p, q).mean())
    assert divergence(a, a) == 0


@pytest.mark.filterwarnings("ignore:Checkpoint directory:UserWarning")
@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")
def test_distillation_brings_the_reader_nearer_to_the_network(seeded, tmp_path):
    """16 steps on small tasks, as `python train.py distill`, resumed half way; the file is written at the end."""
    config = TabularConfig(d_embed=16, n_layers=2, n_heads=2, n_thinking_rows=2, n_bins=32)  # ten classes, as the prior
    folder = save_release(perturbed(TabularTransformer(config), seeded(3)), tmp_path / "tiny", {}, dtype=torch.float32)
    text = (ROOT / "configs" / "reader.yaml").read_text().replace("runs/reader", str(tmp_path / "run"))
    (tmp_path / "reader.yaml").write_text(text.replace('train_time_interval: "0:3:0"', "every_n_train_steps: 8"))
    options = [
        "--model.reader={depths: [0, 1], stride: 2, rows: 12}",
        f"--model.release={folder}",
        "--data.shapes={n_cells: 2400, rows: [16, 48], features: [2, 6]}",
        "--data.n_validation_steps=2",
        "--data.validate_on_real_tables=false",
        "--trainer.log_every_n_steps=1",
        "--trainer.val_check_interval=8",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
        "--model.optim.warmup_steps=5",
        "--model.label_share=0",  # the network of this test has random weights: its answers are not those of the labels
        *SINGLE,
    ]
    begin = ["distill", "--config", str(tmp_path / "reader.yaml"), *options]
    run([*begin, "--trainer.max_steps=8"])
    first = reader_provenance(folder)
    run([*begin, "--trainer.max_steps=16", "--ckpt_path", str(tmp_path / "run" / "checkpoints" / "last.ckpt")])
    facts = reader_provenance(folder)
    assert (first["steps"], facts["steps"]) == (8, 16) and facts["tasks_seen"] > first["tasks_seen"] > 0
    trained = load_reader(folder)
    untrained = Reader(trained.trunk, trained.shape).eval()

    def gap(reader):
        total = 0.0
        with torch.no_grad():
            for seed in range(8):
                for n_classes in (3, None):
                    given = reader_tasks(100 + seed, n_classes)
                    total += float(divergence(trained.trunk(*given), reader(*given))) / 16
        return total

    # .74; after twice the steps .61 to .67 over four states of the generators
    assert gap(trained) < 0.85 * gap(untrained)
