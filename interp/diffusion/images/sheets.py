"""Sample sheets: many small images in one picture."""

from pathlib import Path

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Float, UInt8
from torch import Tensor

from interp.core.files import replacing

COLUMNS = 8
SIDE = 64
GAP = 2


def sheet(
    images: Float[Tensor, "image channel y x"], columns: int = COLUMNS
) -> UInt8[np.ndarray, "down across 3"]:
    """Images from −1 to 1 in rows, each enlarged by a whole factor to about 64 pixels."""
    pixels = ((images.detach().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    pixels = pixels.expand(-1, 3, -1, -1) if pixels.shape[1] == 1 else pixels[:, :3]
    down, across = (max(1, SIDE // side) for side in pixels.shape[2:])
    enlarged = repeat(pixels, "n c y x -> n c (y down) (x across)", down=down, across=across)
    framed = torch.nn.functional.pad(enlarged, (0, GAP, 0, GAP), value=128)
    missing = -len(framed) % columns
    full = torch.cat([framed, framed.new_full((missing, *framed.shape[1:]), 128)])
    placed = rearrange(full, "(row column) c y x -> (row y) (column x) c", column=columns)
    return placed.contiguous().numpy()


def write_png(path: Path, picture: UInt8[np.ndarray, "down across 3"]) -> None:
    """Write a picture atomically."""
    from PIL import Image

    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG", optimize=True)
