"""Every configuration runs, on whatever this machine has, when it is made small."""

import pytest
import torch
import yaml
from training_runs import ROOT, SINGLE, run, state_of, write_config

from icl.network.config import TabularConfig
from icl.network.model import TabularTransformer
from icl.releases.folder import load_release
from icl.training.export import export_checkpoint

pytestmark = [
    # lightning 2.6 calls functions that jsonargparse 4.49 and torch 2.13 have deprecated.
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"),
]
SMALL = [
    "--data.shapes={n_cells: 150, rows: [16, 24], features: [1, 3]}",
    "--trainer.accelerator=cpu",
    "--trainer.limit_val_batches=0",
    "--trainer.max_steps=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
]
LISTED = [
    ("nano",),
    ("oracle",),
    ("base",),
    ("base", "base-8gpu"),
    ("base", "base-2nodes"),
    ("base", "two-cores"),
    ("base", "two-cores", "base-companions"),
    ("base", "two-cores", "base-companions", "wide"),
]


def test_every_file_is_tested():
    tested = {name for names in LISTED for name in names} | {"reader"}  # distilled in test_distillation.py
    assert tested == {path.stem for path in (ROOT / "configs").glob("*.yaml")}


@pytest.mark.parametrize("names", LISTED, ids="+".join)
def test_a_configuration_trains(names, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)  # base starts from checkpoints/nano
    configs = ["--config", str(write_config(tmp_path, names[0]))]
    for overlay in names[1:]:
        configs += ["--config", str(ROOT / "configs" / f"{overlay}.yaml")]
    several = {"base-8gpu", "base-2nodes"} & {*names}  # eight shares take four times as long as two
    shares = ["--data.n_virtual_ranks=2", "--trainer.num_nodes=1"] if several else []
    run(["fit", *configs, *SINGLE, *SMALL, *shares])
    state = state_of(tmp_path)
    assert state["global_step"] == 1
    if names == ("base",):
        release = export_checkpoint(str(tmp_path / "checkpoints" / "last.ckpt"), str(tmp_path / "out"))
        model = load_release(release)
        assert len(model.blocks) == 6 and state["ancestor"]["tasks_seen"] > 0
        assert (tmp_path / "checkpoints" / "last.ckpt").stat().st_size < 20e6  # small enough to keep


def resolve(overlay: str, capsys) -> dict:
    """The configuration that base and an overlay make."""
    with pytest.raises(SystemExit):
        paths = [str(ROOT / "configs" / f"{name}.yaml") for name in ("base", overlay)]
        run(["fit", "--config", paths[0], "--config", paths[1], "--print_config"])
    return yaml.safe_load(capsys.readouterr().out)


def test_overlays_change_what_they_name_and_nothing_else(capsys):
    """The base that ships was trained with 4,000 cells, two processes and float32; a node deals eight shares."""
    node = resolve("base-8gpu", capsys)
    assert node["data"]["n_virtual_ranks"] == node["trainer"]["devices"] == 8 and node["trainer"]["strategy"] == "ddp"
    assert node["data"]["shapes"]["n_cells"] == 16_000 and node["data"]["shapes"]["rows"] == [32, 1024]
    nodes = resolve("base-2nodes", capsys)
    assert nodes["data"]["n_virtual_ranks"] == nodes["trainer"]["devices"] * nodes["trainer"]["num_nodes"] == 16
    # As many cells a step as on one node: shares times cells of a share.
    assert nodes["data"]["shapes"]["n_cells"] * 16 == node["data"]["shapes"]["n_cells"] * 8
    resolved = resolve("two-cores", capsys)
    assert resolved["data"]["shapes"]["n_cells"] == 4000 and resolved["data"]["shapes"]["rows"] == [32, 1024]
    assert resolved["trainer"]["precision"] is None and resolved["trainer"]["devices"] == 2
    assert resolved["trainer"]["max_steps"] == 6000 and resolved["trainer"]["gradient_clip_val"] == 2.0
    assert resolved["model"]["model"]["n_layers"] == 6 and len(resolved["data"]["priors"]) == 4


@pytest.mark.parametrize("name", ["nano", "base"])
def test_shipped_sizes(name):
    options = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())["model"]["model"]
    with torch.device("meta"):
        model = TabularTransformer(TabularConfig(**options))
    limit = {"nano": 2e6, "base": 20e6}[name]  # bytes in the wheel, at two a weight
    assert 2 * sum(p.numel() for p in model.parameters()) < limit
