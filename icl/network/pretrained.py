"""The network as a model of transformers: `AutoModel.from_pretrained(folder)` after `import icl`.

Apart from the network itself, because nothing else here needs that package's models, which take long to import.
"""

from __future__ import annotations

from transformers import AutoModel, PreTrainedModel

from icl.network import model
from icl.network.config import TabularConfig


class TabularTransformer(model.TabularTransformer, PreTrainedModel):
    """See `icl.network.model.TabularTransformer`. The same name: transformers writes it into `config.json`."""

    config_class = TabularConfig
    base_model_prefix = "icl_tabular"
    device, dtype = PreTrainedModel.device, PreTrainedModel.dtype

    def __init__(self, config: TabularConfig):
        PreTrainedModel.__init__(self, config)
        self.build(config)
        self.post_init()  # type: ignore[operator]


AutoModel.register(TabularConfig, TabularTransformer, exist_ok=True)
