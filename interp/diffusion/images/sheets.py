"""Sample sheets: many small images in one picture."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from interp.core.files import replacing

COLUMNS = 8
SIDE = 64
GAP = 2


def sheet(
    images: Float[Tensor, "image channel y x"], columns: int = COLUMNS
) -> UInt8[np.ndarray, "down across 3"]:
    """Images from −1 to 1 side by side, enlarged by a whole factor to about 64 pixels, row after
    row.
    """
    pixels = ((images.detach().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    pixels = pixels.expand(-1, 3, -1, -1) if pixels.shape[1] == 1 else pixels[:, :3]
    enlarged = pixels.repeat_interleave(max(1, SIDE // pixels.shape[2]), dim=2).repeat_interleave(
        max(1, SIDE // pixels.shape[3]), dim=3
    )
    framed = torch.nn.functional.pad(enlarged, (0, GAP, 0, GAP), value=128)
    missing = -len(framed) % columns
    full = torch.cat([framed, framed.new_full((missing, *framed.shape[1:]), 128)])
    rows = [
        torch.cat(list(full[start : start + columns]), dim=2)
        for start in range(0, len(full), columns)
    ]
    return torch.cat(rows, dim=1).permute(1, 2, 0).contiguous().numpy()


def write_png(path: Path, picture: UInt8[np.ndarray, "down across 3"]) -> None:
    """Write a picture whole or not at all."""
    from PIL import Image

    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG", optimize=True)
