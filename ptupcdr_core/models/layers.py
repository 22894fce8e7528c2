"""Initial weights that depend on a given seed only.

torch's own generator is shared by the whole process: with it, two concurrent trainings would not be reproducible.
"""

from typing import TypeVar

import torch
from torch import nn

AnyModule = TypeVar("AnyModule", bound=nn.Module)


def seeded(module: AnyModule, seed: int) -> AnyModule:
    """Redraw the weights of a module's linear layers from torch's default, uniform(±1/√inputs); return the module.

    Args:
        module: changed in place; its other parameters stay.
        seed: fixes every weight.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            bound = layer.in_features**-0.5
            for weight in layer.parameters():
                nn.init.uniform_(weight, -bound, bound, generator)
    return module
