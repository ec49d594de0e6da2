"""Files in the format of MNIST: written here byte by byte, read back; what is not one is refused in
one line.
"""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from interp.core import InputError, UnavailableError
from interp.testbeds.images.files import fashion_mnist, idx_images, read_idx

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
CLASSES = np.array([3, 0, 9, 255, 1], dtype=np.uint8)


def idx(values: np.ndarray) -> bytes:
    return (
        struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()
    )


def written(folder: Path, start: str = "train", *, images: str = "", labels: str = "") -> Path:
    """The two files; an ending of `.gz` compresses one."""
    path = folder / f"{start}-images-idx3-ubyte{images}"
    path.write_bytes(gzip.compress(idx(PIXELS), mtime=0) if images else idx(PIXELS))
    other = folder / f"{start}-labels-idx1-ubyte{labels}"
    other.write_bytes(gzip.compress(idx(CLASSES), mtime=0) if labels else idx(CLASSES))
    return path


@pytest.mark.parametrize(("images", "labels"), [("", ""), (".gz", ".gz"), ("", ".gz"), (".gz", "")])
def test_what_was_written_is_read(tmp_path: Path, images: str, labels: str) -> None:
    found = idx_images(written(tmp_path, images=images, labels=labels))
    assert torch.equal(found.images, torch.from_numpy(PIXELS)[:, None] / 255)
    assert found.labels.tolist() == CLASSES.tolist()
    assert found.images.dtype == torch.float32


def test_labels_may_have_another_name(tmp_path: Path) -> None:
    images, labels = tmp_path / "a", tmp_path / "b"
    images.write_bytes(idx(PIXELS))
    labels.write_bytes(idx(CLASSES[::-1].copy()))
    assert idx_images(images, labels).labels.tolist() == CLASSES[::-1].tolist()
    with pytest.raises(InputError, match="cannot be found by its name"):
        idx_images(images)
    with pytest.raises(InputError, match=r"an array of \(5,\), not images"):
        idx_images(labels, labels)
    labels.write_bytes(idx(CLASSES[:4]))
    with pytest.raises(InputError, match=r"an array of \(4,\) for 5 images"):
        idx_images(images, labels)


def test_the_parts_of_fashion_mnist(tmp_path: Path) -> None:
    written(tmp_path, "t10k", images=".gz", labels=".gz")
    assert len(fashion_mnist("test", tmp_path)) == 5
    with pytest.raises(
        UnavailableError,
        match=r"has no train-images-idx3-ubyte, compressed or not; install the Debian package",
    ):
        fashion_mnist("train", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx(PIXELS)[:-1], "has 59 values, its header says"),
        (idx(PIXELS) + b"0", "has 61 values"),
        (gzip.compress(idx(PIXELS), mtime=0)[:-9], "cannot read"),
        (b"", "cannot read"),
        (idx(PIXELS)[:9], "cannot read"),
        (b"\x89PNG" + bytes(60), "begins with 89504e47"),
        (struct.pack(">BBBBI", 0, 0, 13, 1, 1) + bytes(4), "give an IDX file of bytes"),
    ],
)
def test_what_is_no_whole_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(UnavailableError, match=message):
        read_idx(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot read"):
        read_idx(tmp_path / "none")
