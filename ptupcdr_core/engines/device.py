"""Where the heavy training runs: in the compiled loops on the processor, or in torch on a GPU.

The two make the same steps from the same initial values on the same batches, so that results differ by rounding alone.
A deployment chooses, not the settings: what is stored stays fresh whichever device made it.
"""

import os
from collections.abc import Mapping

import torch

from ptupcdr_core.errors import DeviceError

VARIABLE = "PTUPCDR_DEVICE"


def training_device(environment: Mapping[str, str] | None = None) -> torch.device | None:
    """The device that ``PTUPCDR_DEVICE`` names: the GPU for ``cuda``, None (the compiled loops) for ``cpu`` or nothing.

    Raises:
        DeviceError: it names neither, or there is no GPU that torch can use.
    """
    chosen = (os.environ if environment is None else environment).get(VARIABLE, "").strip() or "cpu"
    if chosen not in ("cpu", "cuda"):
        raise DeviceError(f"{VARIABLE}={chosen}: expected cpu or cuda")
    if chosen == "cpu":
        return None
    if not torch.cuda.is_available():
        built = f"is built for CUDA {torch.version.cuda}" if torch.version.cuda else "is built without CUDA"
        raise DeviceError(
            f"{VARIABLE}=cuda: torch {torch.__version__} {built} and sees no GPU; set {VARIABLE}=cpu, or install the "
            "driver and a torch build for it (https://pytorch.org/get-started/locally)"
        )
    return torch.device("cuda")
