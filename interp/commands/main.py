"""The command line. Every command is one call of the package."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

# Threads that wait must not spin: on a busy machine spinning made small products five times slower.
# Read once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import typer

from interp.commands.diffusion import app as diffusion
from interp.commands.track import app as track
from interp.core.errors import InputError, InterpError
from interp.core.names import require_known

if TYPE_CHECKING:
    from interp.causal import Method, Value
    from interp.decompose import Unsupervised

WRONG, STOPPED = 2, 130
# Typer's complaints about arguments share this base; where it is defined differs between typer's
# versions.
UsageError = next(base for base in typer.BadParameter.__bases__ if issubclass(base, Exception))

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Find the features of a neural network, describe them, and score whether they detect and "
        "steer."
    ),
)
app.add_typer(diffusion, name="diffusion")
app.add_typer(track, name="track")


@app.command()
def report(
    model: Annotated[
        str | None,
        typer.Option(
            help="Catalog name, hub id, local folder or .gguf file.",
            show_default="smollm2-135m-instruct",
        ),
    ] = None,
    site: Annotated[
        str | None,
        typer.Option(
            help="Where features are found, e.g. L5.mlp; at a sixth of the depth if left out."
        ),
    ] = None,
    companion_site: Annotated[
        str | None,
        typer.Option(help="Where companions steer, e.g. L15.resid_post; half depth if left out."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="snmf, sae or pca; may be given several times. All if left out."),
    ] = None,
    features: Annotated[int, typer.Option(min=1, help="Features per dictionary.")] = 100,
    sparsity: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of neurons a semi-NMF direction keeps.")
    ] = 0.01,
    texts: Annotated[
        Path | None,
        typer.Option(
            help=(
                "Text file, one text per line, to find features on; the shipped sentences if left "
                "out."
            )
        ),
    ] = None,
    steered: Annotated[int, typer.Option(min=1, help="How many concepts are steered with.")] = 5,
    stability: Annotated[
        int,
        typer.Option(
            min=0, help="Fit again from so many other seeds, to see which features come back."
        ),
    ] = 0,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    out: Annotated[
        Path,
        typer.Option(help="Folder to write index.html, features.json and the dictionaries to."),
    ] = Path("report"),
    serve: Annotated[
        bool,
        typer.Option(
            help="Show the report in --out (made first if there is none) with live steering."
        ),
    ] = False,
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, help="Port of 127.0.0.1 that --serve listens on; 0 is any free one."
        ),
    ] = 0,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the page's path.")
    ] = False,
) -> None:
    """Find, describe and score the features of one layer, and write a page about them.

    With no arguments: the embedded default model and corpus, in a few minutes on two CPU cores. The
    page is report/index.html. With --serve the page is served on this machine only, and steers on
    request: type a prompt, move a slider, read the continuation.
    """
    from interp.commands.terminal import shown
    from interp.corpus import read_texts
    from interp.studies.features.protocol import Settings
    from interp.studies.features.run import main_job

    settings = Settings(
        model=model or Settings.model,
        site=site,
        companion_site=companion_site,
        methods=_methods(method or ()),
        features=features,
        sparsity=sparsity,
        texts=read_texts(texts) if texts else None,
        steered_concepts=steered,
        stability=stability,
        seed=seed,
    )
    if serve:
        from interp.report.live.serve import require_installed

        require_installed()
    existing = serve and (out / "features.json").is_file()
    with shown(quiet) as progress:
        page = out / "index.html" if existing else main_job(settings, out, progress=progress)
    if existing and not quiet:
        typer.echo(
            f"serving the report that is in {out} as it is; to make another, give another --out",
            err=True,
        )
    if not serve:
        typer.echo(str(page))
        return
    _serve(out, model, port, quiet)


@app.command()
def compare(
    model: Annotated[
        str, typer.Option(help="Catalog name, hub id, local folder or .gguf file.")
    ] = "smollm2-135m-instruct",
    site: Annotated[
        list[str] | None,
        typer.Option(help="Where dictionaries are fitted; several times for several. Three MLPs."),
    ] = None,
    place: Annotated[
        list[str] | None,
        typer.Option(help="Where companions steer; several times for several. Two residual sites."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="snmf, sae or pca; may be given several times. All if left out."),
    ] = None,
    features: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Features per dictionary; may be given several times. 100."),
    ] = None,
    concepts: Annotated[int, typer.Option(min=1, help="How many concepts are steered with.")] = 6,
    sparsity: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of neurons a semi-NMF direction keeps.")
    ] = 0.01,
    random: Annotated[
        int, typer.Option(min=1, help="Random directions that a likelihood lift is set against.")
    ] = 50,
    sentences: Annotated[
        int,
        typer.Option(
            min=2, help="Held-out sentences of each concept for the lift; twice as many others."
        ),
    ] = 8,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    out: Annotated[
        Path, typer.Option(help="Folder of the result; a run that was stopped goes on there.")
    ] = Path("comparison"),
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the page's path.")
    ] = False,
) -> None:
    """Compare methods, layers and sizes: what their features detect, and how they steer, natively
    and by companions.
    """
    from interp.commands.terminal import shown
    from interp.report import write_comparison
    from interp.studies.comparison import Comparison, LiftProtocol, compare

    settings = Comparison(
        model=model,
        sites=tuple(site or ()),
        places=tuple(place or ()),
        methods=_methods(method or ()),
        sizes=tuple(features or (100,)),
        sparsity=sparsity,
        concepts=concepts,
        lift=LiftProtocol(
            n_random=random, concept_sentences=sentences, other_sentences=2 * sentences
        ),
        seed=seed,
    )
    with shown(quiet) as progress:
        page = write_comparison(compare(settings, out, progress=progress), out)
    typer.echo(str(page))


@app.command()
def paths(
    task: Annotated[
        str,
        typer.Argument(
            help="indirect-object, greater-than, agreement, induction, or a file of json lines."
        ),
    ],
    model: Annotated[
        str, typer.Option(help="Catalog name, hub id, local folder or .gguf file.")
    ] = "smollm2-135m-instruct",
    method: Annotated[
        list[str] | None,
        typer.Option(help="How edges are found; the first is shown. eap-ig-inputs and eap."),
    ] = None,
    value: Annotated[
        str, typer.Option(help="What takes a contribution's place: resample, mean or zero.")
    ] = "resample",
    examples: Annotated[int, typer.Option(min=2, help="Examples that the graph is found on.")] = 24,
    judged: Annotated[int, typer.Option(min=2, help="Other examples that it is judged on.")] = 12,
    steps: Annotated[int, typer.Option(min=1, help="Steps of integrated gradients.")] = 5,
    measured: Annotated[
        int,
        typer.Option(min=2, help="Strongest edges, and as many random ones, that are measured."),
    ] = 50,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    out: Annotated[
        Path, typer.Option(help="Folder to write index.html, paths.json and the graph to.")
    ] = Path("paths"),
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only the page's path.")
    ] = False,
) -> None:
    """Which heads and MLPs carry a task, through which edges, and is that graph right? A page with
    every check.
    """
    from interp.commands.terminal import shown
    from interp.corpus import read_task
    from interp.corpus import task as task_named
    from interp.models import load_model
    from interp.report import write_paths
    from interp.studies.paths.protocol import DEFAULT_METHODS, PathsProtocol
    from interp.studies.paths.run import trace_task

    protocol = PathsProtocol(
        methods=cast("tuple[Method, ...]", tuple(method or DEFAULT_METHODS)),
        value=cast("Value", value),
        examples=examples,
        judged=judged,
        steps=steps,
        top=measured,
        random=measured,
        seed=seed,
    )
    found = (
        read_task(Path(task)) if Path(task).suffix else task_named(task, examples + judged, seed)
    )
    with shown(quiet) as progress:
        page = write_paths(
            trace_task(load_model(model, progress=progress), found, protocol, progress=progress),
            out,
        )
    typer.echo(str(page))


@app.command()
def models() -> None:
    """List the models of the catalog, where their weights come from and whether they are on this
    machine.
    """
    from interp.commands.terminal import table
    from interp.models.weights.catalog import CATALOG, DEFAULT_MODEL
    from interp.models.weights.fetch import is_cached

    rows = [
        (
            name + (" (default)" if name == DEFAULT_MODEL else ""),
            entry.kind,
            entry.title,
            entry.licence,
            "yes" if is_cached(name) else "no",
        )
        for name, entry in CATALOG.items()
    ]
    table(("name", "kind", "what", "licence", "cached"), rows)
    typer.echo("Any hub id, local folder or .gguf file works too: interp report --model PATH")


@app.command()
def sites(
    model: Annotated[str, typer.Argument(help="Catalog name, hub id, local folder or .gguf file.")],
) -> None:
    """List the sites of a model: the places whose activations can be recorded and changed."""
    from interp.commands.terminal import shown, table
    from interp.models import load_model

    with shown(False) as progress:
        found = load_model(model, progress=progress).sites
    table(
        ("site", "shape of one example"),
        [
            (name, " × ".join("any" if axis is None else str(axis) for axis in shape))
            for name, shape in found.items()
        ],
    )


def _serve(folder: Path, model: str | None, port: int, quiet: bool) -> None:
    """Serve a report until Ctrl-C; `model` is where its model is, if not where its name says."""
    from interp.commands.terminal import shown
    from interp.models import TransformerModel, load_model
    from interp.report.live.serve import serve

    def ready(url: str) -> None:
        typer.echo(url)
        if not quiet:
            typer.echo("open it in a browser of this machine; Ctrl-C ends it", err=True)

    with shown(quiet) as progress:
        found = load_model(model, progress=progress) if model else None
        if found is not None and not isinstance(found, TransformerModel):
            raise InputError(f"{model!r} is not a language model; live steering continues texts")
        serve(folder, found, port, ready=ready, progress=progress)


def _methods(names: Sequence[str]) -> "tuple[Unsupervised, ...]":
    """The methods asked for, each once, or all."""
    from interp.decompose import Unsupervised
    from interp.studies.features.protocol import DEFAULT_METHODS

    for name in names:
        require_known("method", name, get_args(Unsupervised))
    return tuple(cast("Unsupervised", name) for name in dict.fromkeys(names)) or DEFAULT_METHODS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line on the process's arguments (or some others) and return its exit code;
    without any, show the help.

    An error of the package, or of the arguments, is one line and exit code 2; Ctrl-C is exit code
    130.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(given or ["--help"], standalone_mode=False) or 0
    except InterpError as error:
        return _complain(str(error), WRONG)
    except UsageError as error:
        return _complain((f"{error.format_message()} (see `interp COMMAND --help`)"), WRONG)  # type: ignore[attr-defined]
    except (typer.Abort, KeyboardInterrupt):
        code = STOPPED
    return (
        _complain("stopped; nothing half-written was left", STOPPED)
        if code == STOPPED
        else int(code)
    )


def _complain(message: str, code: int) -> int:
    typer.secho(f"interp: {message}", fg="red", err=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
