"""How a wrapped network is displayed in consoles and notebooks."""

from typing import Any

from torch import nn

from interp.core import Sites
from interp.core.display.markup import Html, block, facts


def model_text(model: Any) -> str:
    """One line on a model, for consoles."""
    return (
        f"{type(model).__name__}({model.name}: {type(model.module).__name__}, "
        f"{len(model.sites):,} sites)"
    )


def model_html(kind: str, name: str, module: nn.Module, sites: Sites, about: str = "") -> Html:
    """A network's name, class, parameters with type and device, and sites with shapes."""
    parameters = list(module.parameters())
    types = sorted({str(parameter.dtype).removeprefix("torch.") for parameter in parameters})
    devices = sorted({str(parameter.device) for parameter in parameters})
    count = sum(parameter.numel() for parameter in parameters)
    named = [
        ("module", type(module).__name__),
        ("parameters", f"{count:,}"),
        ("type", ", ".join(types)),
        ("on", ", ".join(devices)),
    ]
    return block(kind, facts(named), sites.table(), name=name, about=about)
