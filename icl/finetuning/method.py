"""Which weights move and how: full, last blocks or LoRA; their optimiser; the pull back to where they started."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from icl.finetuning.config import FinetuneConfig
from icl.network.model import TabularTransformer
from icl.training.optim import MuonAdamW, OptimConfig

# As in pretraining: matrices of the blocks (Muon) move half as fast again as the rest (AdamW).
_MUON_FACTOR = 1.5
# LoRA's factors start with an output of zero and see small gradients (Hu et al. use ten times the rate, too).
_LORA_FACTOR = 10.0
RATES = (1e-4, 3e-4, 1e-3)
"""Peak rates that short runs try; see `icl.finetuning.rate`."""
_WARMUP_SHARE = 0.1


class LowRank(nn.Module):
    """W -> W + B A, as a parametrization of a Linear's weight; B starts at zero.

    Why not peft: its layers replace `Linear.forward`, while the model hands the weights to its own kernels
    (`icl.network.kernels`), which would ignore the addition in silence.

    Source:
        Hu et al. (2022), arXiv:2106.09685; the scale alpha / rank is 1.
    """

    def __init__(self, weight_OI: Tensor, rank: int, generator: torch.Generator):
        super().__init__()
        n_out, n_in = weight_OI.shape
        rank = min(rank, n_out, n_in)
        self.A = nn.Parameter(torch.randn(rank, n_in, generator=generator) / n_in**0.5)
        self.B = nn.Parameter(torch.zeros(n_out, rank))

    def forward(self, weight_OI: Tensor) -> Tensor:
        return weight_OI + self.B @ self.A


def make_trainable(model: TabularTransformer, config: FinetuneConfig) -> None:
    """Freeze what the method leaves alone; LoRA adds its factors.

    Raises:
        ValueError: if "last_blocks" asks for more blocks than there are.
    """
    if config.method == "full":
        return
    model.requires_grad_(False)
    if config.method == "last_blocks":
        if config.n_blocks > len(model.blocks):
            raise ValueError(f"n_blocks is {config.n_blocks}, but the checkpoint has {len(model.blocks)} blocks.")
        for part in (*model.blocks[-config.n_blocks :], model.norm, model.class_head, model.bin_head):
            part.requires_grad_(True)
        return
    generator = torch.Generator().manual_seed(config.seed)
    for layer in [m for block in model.blocks for m in block.modules() if isinstance(m, nn.Linear)]:
        low_rank = LowRank(layer.weight, config.lora_rank, generator)
        parametrize.register_parametrization(layer, "weight", low_rank)


def merged_state(model: TabularTransformer) -> dict[str, Tensor]:
    """A copy of the weights under the names of a plain model, LoRA's additions merged into them."""
    state = {name: value for name, value in model.state_dict().items() if ".parametrizations." not in name}
    for name, layer in model.named_modules():
        # Read off, not removed: a copy of a parametrized layer shares its class with the layer itself.
        if isinstance(layer, nn.Linear) and parametrize.is_parametrized(layer):
            state[f"{name}.weight"] = layer.weight
    return {name: value.detach().clone() for name, value in state.items()}


def rates(config: FinetuneConfig, lr: float, steps: int) -> OptimConfig:
    """Peak rates and schedule of a run of `steps`: a short warm-up, then linearly to zero from the middle on."""
    return OptimConfig(
        lr_muon=_MUON_FACTOR * lr,
        lr_adamw=lr * (_LORA_FACTOR if config.method == "lora" else 1.0),
        weight_decay=0.0,  # the pull is towards the checkpoint, not towards zero
        warmup_steps=max(1, round(_WARMUP_SHARE * steps)),
        decay_share=0.5,
    )


def make_optimizer(model: TabularTransformer, config: FinetuneConfig, optim: OptimConfig) -> torch.optim.Optimizer:
    """Muon and AdamW as in pretraining; AdamW alone for LoRA, whose thin factors Muon would blow up."""
    if config.method == "lora":
        moving = [p for p in model.parameters() if p.requires_grad]
        return torch.optim.AdamW(moving, lr=optim.lr_adamw, betas=(0.9, 0.98), weight_decay=0.0)
    return MuonAdamW(model, optim)


class Anchor:
    """L2-SP: after each step every moving weight goes back by `strength` x learning rate of the way to its start.

    Decoupled from the gradient, as AdamW's decay is: neither Adam's nor Muon's scaling distorts it.

    Source:
        Li et al. (2018), arXiv:1802.01483; decoupling: Loshchilov & Hutter (2019), arXiv:1711.05101.
    """

    def __init__(self, model: nn.Module, strength: float):
        self.strength = strength
        self.start = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def pull(self, model: nn.Module, lr: float) -> None:
        share = min(1.0, self.strength * lr)
        if share == 0:
            return
        for name, parameter in model.named_parameters():
            if name in self.start:
                parameter.lerp_(self.start[name].to(parameter), share)
