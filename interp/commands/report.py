"""`interp report`: a page on the features of one layer, and its server."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interp.commands.options import (
    MODEL_HELP,
    NAMED_MODEL,
    MethodsOption,
    QuietOption,
    SeedOption,
    SparsityOption,
    SteeredOption,
    methods,
)
from interp.commands.terminal import progress_display
from interp.core.progress import Progress, silent

if TYPE_CHECKING:
    from interp.studies.features.protocol import Settings


def main_job(settings: "Settings", folder: str | Path, *, progress: Progress = silent) -> Path:
    """Find, describe and score the features of one layer of a language model; returns the path of a
    page about them.

    It runs `study_features` and writes a folder: the page, its data (`features.json`), the
    dictionaries, the companions and the hierarchy.

    Raises:
        InputError: a setting does not fit the model or the texts.
        UnavailableError: the weights cannot be had or the folder cannot be written.

    Cost: five minutes on two CPU cores with the default settings.

    Example:
        >>> interp.main_job(interp.Settings(features=50), "report")
        PosixPath('report/index.html')
    """
    from interp.core.files import require_writable
    from interp.report import write_features
    from interp.studies.features.run import study_features

    target = require_writable(Path(folder))
    return write_features(study_features(settings, progress=progress), target)


def report(
    model: Annotated[str | None, typer.Option(help=MODEL_HELP, show_default=NAMED_MODEL)] = None,
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
    method: MethodsOption = None,
    features: Annotated[int, typer.Option(min=1, help="Features per dictionary.")] = 100,
    sparsity: SparsityOption = 0.01,
    texts: Annotated[
        Path | None,
        typer.Option(help="Text file, one per line, to find features on; else shipped sentences."),
    ] = None,
    steered: SteeredOption = 5,
    stability: Annotated[
        int,
        typer.Option(
            min=0, help="Refit with this many extra seeds, to see which features come back."
        ),
    ] = 0,
    seed: SeedOption = 0,
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
    quiet: QuietOption = False,
) -> None:
    """Find, describe and score the features of one layer, and write a page about them.

    By default: the embedded model and corpus, a few minutes on two CPU cores, report/index.html.
    With --serve the page is served on this machine only, and steers on request: type a prompt, move
    a slider, read the continuation.
    """
    from interp.corpus import read_texts
    from interp.studies.features.protocol import Settings

    settings = Settings(
        model=model or NAMED_MODEL,
        site=site,
        companion_site=companion_site,
        methods=methods(method),
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
    if serve and (out / "features.json").is_file():
        if not quiet:
            typer.echo(f"serving the report in {out} as it is; use --out for a new one", err=True)
    else:
        with progress_display(quiet) as progress:
            page = main_job(settings, out, progress=progress)
        if not serve:
            typer.echo(str(page))
    if serve:
        _serve(out, model, port, quiet)


def _serve(folder: Path, model: str | None, port: int, quiet: bool) -> None:
    """Serve a report until Ctrl-C; `model` is where its model is, if not found by its name."""
    from interp.models import load_model
    from interp.report.live.serve import serve
    from interp.studies.stages import require_language_model

    def ready(url: str) -> None:
        typer.echo(url)
        if not quiet:
            typer.echo("open it in a browser of this machine; Ctrl-C ends it", err=True)

    with progress_display(quiet) as progress:
        found = None
        if model:
            loaded = load_model(model, progress=progress)
            found = require_language_model(loaded, model, "live steering continues texts")
        serve(folder, found, port, ready=ready, progress=progress)
