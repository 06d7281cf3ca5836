"""Where to compute."""

import torch

from vocoder.errors import InvalidInput

__all__ = ["choose_device"]


def choose_device(name: str | None) -> torch.device:
    """`cpu`, `cuda` or `cuda:N`; without a name a GPU where there is one. `InvalidInput` if it is not there.

    >>> choose_device("cpu")
    device(type='cpu')
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise InvalidInput(f"device (={name!r}) must be 'cpu', 'cuda' or 'cuda:N'") from error
    if device.type not in ("cpu", "cuda"):
        raise InvalidInput(f"device (={name!r}) must be 'cpu', 'cuda' or 'cuda:N'; the model needs float64")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InvalidInput(f"device (={name!r}) is not there; {torch.cuda.device_count()} GPUs can be used")
    return device
