"""Identifying the weights of a module in memory."""

import hashlib

import torch
from torch import nn


def module_hash(module: nn.Module) -> str:
    """sha256 over names, shapes and bytes of a module's state, on any device.

    Cost: one pass over the weights (about a second per gigabyte).
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        if flat.numel():
            digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
