"""Which engine trains. The environment chooses, not the settings: results stay up to date whichever engine made
them."""

import os
from collections.abc import Mapping

import torch

from ptupcdr_core.engines.base import Engine
from ptupcdr_core.engines.compiled import COMPILED
from ptupcdr_core.engines.torch_engine import TorchEngine
from ptupcdr_core.errors import DeviceError

VARIABLE = "PTUPCDR_DEVICE"


def choose_engine(environment: Mapping[str, str] | None = None) -> Engine:
    """The engine that ``PTUPCDR_DEVICE`` names: torch on the GPU for ``cuda``, compiled loops for ``cpu`` or nothing.

    Raises:
        DeviceError: it names neither, or there is no GPU that torch can use.
    """
    chosen = (os.environ if environment is None else environment).get(VARIABLE, "").strip() or "cpu"
    if chosen not in ("cpu", "cuda"):
        raise DeviceError(f"{VARIABLE}={chosen}: expected cpu or cuda")
    if chosen == "cpu":
        return COMPILED
    if not torch.cuda.is_available():
        built = f"is built for CUDA {torch.version.cuda}" if torch.version.cuda else "is built without CUDA"
        raise DeviceError(
            f"{VARIABLE}=cuda: torch {torch.__version__} {built} and sees no GPU; set {VARIABLE}=cpu, or install the "
            "driver and a torch build for it (https://pytorch.org/get-started/locally)"
        )
    return TorchEngine(torch.device("cuda"))
