"""`interp track`: train a run of the shapes experiment, and make pages of learning dynamics."""

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from interp.commands.terminal import progress_display
from interp.core.names import require_known

app = typer.Typer(
    help="Learning dynamics: when was a concept learned, and when could it first be elicited?",
    no_args_is_help=True,
)

QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
OutOption = Annotated[Path, typer.Option(help="Folder to write index.html and dynamics.json to.")]
ThresholdOption = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Learned is at least this …")
]
HoldOption = Annotated[int, typer.Option(min=1, help="… at this many checkpoints in a row.")]


@app.command()
def train(
    signal: Annotated[
        float, typer.Option(help="Δcolour, how far red and blue lie apart: up to 0.8.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of data, weights and training.")] = 0,
    out: Annotated[
        Path,
        typer.Option(help="Folder for the run's json file and its folder of checkpoints."),
    ] = Path("runs"),
    size: Annotated[float, typer.Option(help="Δsize: up to 0.4.")] = 0.4,
    hidden: Annotated[
        str, typer.Option(help="A concept that some prompts leave out: none, colour or size.")
    ] = "none",
    hide: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="The share of prompts that leave it out.")
    ] = 0.0,
    steps: Annotated[int, typer.Option(min=21, help="Training steps.")] = 2400,
    keep: Annotated[bool, typer.Option(help="Keep the checkpoints (34 files, 70 kB each).")] = True,
    quiet: QuietOption = False,
) -> None:
    """Train a run of the shapes experiment and measure it as it learns, in about a minute; a
    finished run is not trained again.
    """
    from interp.testbeds.concepts.run import ConceptTrainingSettings, Hidden, run_name
    from interp.testbeds.concepts.training import train_concepts

    require_known("hidden", hidden, get_args(Hidden))
    settings = ConceptTrainingSettings(
        colour=signal, size=size, seed=seed, steps=steps, hidden=cast("Hidden", hidden), hide=hide
    )
    path = out / f"{run_name(settings)}.json"
    with progress_display(quiet) as progress:
        train_concepts(
            settings, path, checkpoints=path.with_suffix("") if keep else None, progress=progress
        )
    typer.echo(str(path))


@app.command()
def shapes(
    runs: Annotated[
        Path | None, typer.Argument(help="Folder of runs (json); the shipped ones if left out.")
    ] = None,
    threshold: ThresholdOption = 0.8,
    hold: HoldOption = 3,
    out: OutOption = Path("dynamics"),
    quiet: QuietOption = False,
) -> None:
    """Make the page of the shapes experiment: trajectories, turns, learning times and lags."""
    from interp.core.files import require_writable
    from interp.dynamics import LearningRule
    from interp.report import write_dynamics
    from interp.studies.learning import LearningProtocol, study_shapes

    require_writable(out)
    protocol = LearningProtocol(rule=LearningRule(threshold=threshold, hold=hold, for_good=True))
    with progress_display(quiet) as progress:
        page = write_dynamics(study_shapes(runs, protocol, progress=progress), out)
    typer.echo(str(page))


@app.command()
def language(
    run: Annotated[
        Path | None,
        typer.Argument(help="Folder of a tiny language model's run; the shipped one if left out."),
    ] = None,
    site: Annotated[str, typer.Option(help="Where it is steered.")] = "L2.resid_post",
    feature_site: Annotated[
        str, typer.Option(help="Where features are followed: neurons.")
    ] = "L2.mlp",
    features: Annotated[int, typer.Option(min=1, help="Features at each checkpoint.")] = 60,
    prompts: Annotated[int, typer.Option(min=4, help="Prompts of each concept.")] = 48,
    shapes: Annotated[
        Path | None, typer.Option(help="Show the runs of this folder (json) on the same page.")
    ] = None,
    threshold: ThresholdOption = 0.8,
    hold: HoldOption = 3,
    out: OutOption = Path("dynamics"),
    quiet: QuietOption = False,
) -> None:
    """Follow a language model's concepts and features over its checkpoints, steer it at each, and
    make the page; two or three minutes.
    """
    from interp.core.files import require_writable
    from interp.dynamics import LearningRule
    from interp.report import write_dynamics
    from interp.studies.learning import LearningProtocol, study_language_model

    require_writable(out)
    protocol = LearningProtocol(
        rule=LearningRule(threshold=threshold, hold=hold, for_good=True),
        site=site,
        feature_site=feature_site,
        features=features,
        prompts=prompts,
    )
    with progress_display(quiet) as progress:
        found = study_language_model(run, protocol, shapes=shapes, progress=progress)
        page = write_dynamics(found, out)
    typer.echo(str(page))
