"""Sheets: every image lies where it belongs, in its own colours."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from interp.diffusion.images.sheets import sheet, write_png


def test_images_lie_row_after_row(tmp_path: Path) -> None:
    images = torch.full((3, 3, 16, 16), -1.0)
    for i in range(3):
        images[i, i] = 1.0
    picture = sheet(images, columns=2)
    assert picture.shape == (2 * 66, 2 * 66, 3)
    assert [tuple(picture[place].tolist()) for place in ((10, 10), (10, 76), (76, 10))] == [
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
    ]
    assert tuple(picture[76, 76].tolist()) == (128, 128, 128), "no fourth image"
    write_png(tmp_path / "sheet.png", picture)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "sheet.png")), picture)


def test_grey_images_and_overshoot() -> None:
    picture = sheet(
        torch.tensor([-3.0, 0.0, 3.0]).reshape(3, 1, 1, 1).expand(-1, 1, 8, 8), columns=3
    )
    assert [int(picture[5, 5 + 66 * i, 0]) for i in range(3)] == [0, 128, 255]
    assert (picture[..., 0] == picture[..., 2]).all()
