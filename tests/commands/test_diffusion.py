"""`interp diffusion` as a user meets it: a network is trained, its directions found, used, and
reported on; mistakes take one line.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from interp.commands.diffusion_inputs import data_of, known_data, labels_for, read_images
from interp.commands.main import main
from interp.core import InputError, UnavailableError
from interp.corpus import data_folder
from interp.diffusion import sample
from interp.diffusion.directions.storage import load_directions
from interp.testbeds.generators import load_generator
from interp.testbeds.images.shapes import read_shapes, shape_images


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks") / "shapes"
    assert (
        main(
            [
                "diffusion",
                "train",
                "shapes",
                "--images",
                "16",
                "--steps",
                "2",
                "--removed-skips",
                "2",
                "--out",
                str(folder),
                "-q",
            ]
        )
        == 0
    )
    return folder


@pytest.fixture(scope="module")
def found(network: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("directions") / "pca.safetensors"
    given = [
        "--method",
        "pca",
        "--count",
        "2",
        "--samples",
        "12",
        "--steps",
        "3",
        "--data",
        "none",
        "--out",
        str(path),
        "-q",
    ]
    assert main(["diffusion", "directions", str(network), *given]) == 0
    return path


def test_training_writes_a_network_whose_recipe_says_what_the_images_are(network: Path) -> None:
    recipe = json.loads((network / "recipe.json").read_text())
    assert recipe["settings"]["removed_skips"] == 2
    assert recipe["data"]["what"] == "shape_images(16, seed=0)"
    known = data_of(str(network), load_generator(network), None)
    assert known is not None
    assert known.read is read_shapes
    assert data_of(str(network), load_generator(network), "none") is None


def test_found_directions_are_those_of_the_library_with_length_one(
    network: Path, found: Path
) -> None:
    directions = load_directions(found)
    assert directions.names == ("component 0", "component 1")
    assert directions.norms.tolist() == pytest.approx([1, 1], abs=1e-5)
    assert (directions.total, directions.site, directions.seed) == (3, "mid", 100)
    assert json.loads(found.with_suffix(".json").read_text())["method"] == "pca"


def test_an_edit_is_a_sheet_with_a_row_per_image_and_a_column_per_strength(
    network: Path, found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sheet.png"
    given = [
        "--directions",
        str(found),
        "--name",
        "component 0",
        "--count",
        "3",
        "--out",
        str(out),
        "-q",
    ]
    assert main(["diffusion", "edit", str(network), *given, "--strength", "40"]) == 0
    assert capsys.readouterr().out.strip().endswith("component 0 at -80, -40, 0, 40, 80")
    picture = np.array(Image.open(out))
    side = picture.shape[0] // 3
    assert picture.shape[1] == 5 * side
    plain = (
        ((sample(load_generator(network), 3, seed=103, steps=3).clamp(-1, 1) + 1) * 127.5)
        .round()
        .to(torch.uint8)
    )
    middle = picture[side : side + 64, 2 * side : 2 * side + 64]
    assert (
        np.abs(middle[::4, ::4].astype(int) - plain[1].permute(1, 2, 0).numpy().astype(int)).max()
        <= 1
    )
    assert main(["diffusion", "edit", str(network), *given]) == 2
    assert main(["diffusion", "edit", str(network), *given, "--effect", "1", "--data", "none"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "interp: give either --strength or --effect (and not both)"
    assert "unknown factor 'component 0'" in said[1]


def test_an_effect_is_brought_about_by_a_strength_that_is_looked_for(
    network: Path, found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [
        "--directions",
        str(found),
        "--name",
        "component 0",
        "--out",
        str(tmp_path / "sheet.png"),
        "--data",
        "none",
        "-q",
    ]
    assert (
        main(
            ["diffusion", "edit", str(network), *given, "--effect", "1e6", "--factor", "brightness"]
        )
        == 2
    )
    assert "no strength moves brightness by +1e+06 sd" in capsys.readouterr().err
    assert not (tmp_path / "sheet.png").exists()


def test_inverted_noise_makes_the_images_again_and_bytes_are_images_too(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = shape_images(4, seed=1).images
    np.save(tmp_path / "images.npy", ((images + 1) * 127.5).round().to(torch.uint8).numpy())
    out = tmp_path / "noise.safetensors"
    assert (
        main(
            [
                "diffusion",
                "invert",
                str(tmp_path / "images.npy"),
                str(network),
                "--steps",
                "3",
                "--out",
                str(out),
                "-q",
            ]
        )
        == 0
    )
    assert "over 4 images" in capsys.readouterr().out
    assert load_file(out)["noise"].shape == images.shape
    assert load_file(out)["error"].shape == (4,)
    assert float((read_images(tmp_path / "images.npy") - images).abs().max()) <= 1 / 127.5


def test_files_that_hold_no_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot read images"):
        read_images(tmp_path / "missing.npy")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UnavailableError, match="cannot read images"):
        read_images(tmp_path / "objects.npy")
    save_file({"images": torch.zeros(3, 4)}, tmp_path / "flat.safetensors")
    with pytest.raises(InputError, match=r"holds \(3, 4\); give images"):
        read_images(tmp_path / "flat.safetensors")


def test_a_report_without_known_factors_says_so(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = [
        "--samples",
        "12",
        "--judged",
        "8",
        "--pairs",
        "8",
        "--gate",
        "8",
        "--steps",
        "2",
        "--method",
        "pca",
        "--data",
        "none",
    ]
    assert (
        main(["diffusion", "report", str(network), *few, "--out", str(tmp_path / "out"), "-q"]) == 0
    )
    page = Path(capsys.readouterr().out.strip())
    assert page == tmp_path / "out" / "index.html"
    assert "The factors of these images are unknown" in page.read_text()
    assert json.loads((tmp_path / "out" / "directions.json").read_text())["known"] is False


def test_mistakes_take_one_line(network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["train", "shape"], "unknown data 'shape'; nearest: shapes"),
        (
            ["train", "digits=missing.whl", "--out", "nowhere"],
            "cannot read MNIST's digits from missing.whl",
        ),
        (["directions", str(network), "--method", "pcs"], "unknown method 'pcs'; nearest: pca"),
        (
            [
                "edit",
                str(network),
                "--directions",
                "none.safetensors",
                "--name",
                "x",
                "--strength",
                "1",
            ],
            "cannot read directions",
        ),
        (["directions", str(network.parent)], "has neither config.json nor model_index.json"),
    ):
        assert main(["diffusion", *arguments, "-q"]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("interp: ")
        assert said in lines[0]


def test_data_comes_in_the_networks_size_and_labels_are_every_class_in_turn(network: Path) -> None:
    assert known_data("shapes", 8, seed=0, size=24).images.shape == (8, 3, 24, 24)
    assert known_data("pendulum", 8, seed=0).images.shape == (8, 3, 32, 32)
    assert labels_for(load_generator(network), 3) is None
    digits = load_generator(data_folder() / "models" / "digits")
    labels = labels_for(digits, 12)
    assert labels is not None
    assert labels.tolist() == [*range(10), 0, 1]
