"""The networks that ship are what they are said to be: they pass the gate; their bottlenecks carry
everything, much, or nothing.
"""

from pathlib import Path

import pytest
import torch

from interp.corpus import data_folder
from interp.diffusion import (
    interchange,
    read_strokes,
    removed_skips,
    sample,
    sanity_gate,
    timesteps,
)
from interp.testbeds.generators import load_generator, training_curve
from interp.testbeds.images.shapes import SHAPE_FACTORS, read_shapes, shape_images

FOLDERS = sorted(path.parent for path in (data_folder() / "models").glob("*/recipe.json"))
SHAPES = ("shapes_plain", "shapes_study", "shapes_dropped")


def folder(name: str) -> Path:
    return data_folder() / "models" / name


def test_what_ships_is_small_and_whole() -> None:
    assert {"shapes_plain", "shapes_study", "digits"} <= {path.name for path in FOLDERS}
    for path in FOLDERS:
        files = [file for file in path.rglob("*") if file.is_file()]
        assert all(file.stat().st_size < 4_000_000 for file in files)
        assert {file.suffix for file in files} == {".json", ".safetensors", ".png"}
        model = load_generator(path)
        assert sum(value.numel() for value in model.module.parameters()) < 1_000_000
        assert timesteps(model, 20)[0] == 999, "sampling begins at pure noise"
        losses = training_curve(path)["loss"]
        assert losses[-1] < losses[0] / 4
    assert [removed_skips(load_generator(folder(name)).module) for name in SHAPES] == [0, 2, 0]


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_networks_of_shapes_pass_the_gate(name: str) -> None:
    model = load_generator(folder(name))
    gate = sanity_gate(sample(model, 256, seed=50), shape_images(8000, seed=0).images, read_shapes)
    assert gate.passed, str(gate)
    noise = torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert not sanity_gate(noise, shape_images(500, seed=0).images, read_shapes).passed, "control"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("shapes_plain", -0.05, 0.05), ("shapes_study", 0.85, 1.1), ("shapes_dropped", 0.7, 1.1)],
)
def test_what_goes_through_the_bottleneck(name: str, least: float, most: float) -> None:
    table = interchange(load_generator(folder(name)), read_shapes, pairs=64, seed=20)
    for factor in SHAPE_FACTORS:
        score = table[factor]
        assert least <= score.value <= most, str(table)
        assert abs(score.control or 0.0) < 0.1
    assert table.unchanged == 0


@pytest.mark.slow
def test_the_network_of_digits_writes_through_its_bottleneck() -> None:
    model = load_generator(folder("digits"))
    table = interchange(model, read_strokes, pairs=20, seed=20, labels=torch.arange(20) % 10)
    for factor in ("ink", "thickness", "slant", "width", "height"):
        assert table[factor].value > 0.7, str(table)
        assert abs(table[factor].control or 0.0) < 0.15
