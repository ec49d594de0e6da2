"""The command line. Every command is one call of the package."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from interp.core.errors import InterpError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find the features of a neural network, describe them, and score whether they detect and steer.",
)


@app.command()
def report(
    model: Annotated[str, typer.Option(help="Catalog name, hub id, local folder or .gguf file.")] = "smollm2-135m-instruct",
    site: Annotated[str | None, typer.Option(help="Where features are found, e.g. L15.mlp; half depth if left out.")] = None,
    companion_site: Annotated[str | None, typer.Option(help="Where companions steer, e.g. L20.resid_post; two thirds if left out.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="snmf, sae or pca; may be given several times. All if left out.")] = None,
    features: Annotated[int, typer.Option(min=1, help="Features per dictionary.")] = 100,
    sparsity: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of neurons a semi-NMF direction keeps.")] = 0.01,
    texts: Annotated[
        Path | None, typer.Option(help="Text file, one text per line, to find features on; the shipped sentences if left out.")
    ] = None,
    steered: Annotated[int, typer.Option(min=1, help="How many concepts are steered with.")] = 6,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder to write index.html, features.json and the dictionaries to.")] = Path("report"),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the page's path.")] = False,
) -> None:
    """Find, describe and score the features of one layer, and write a page about them.

    With no arguments: the embedded default model and corpus, in a few minutes on two CPU cores. The page is report/index.html.
    """
    from interp.console import shown
    from interp.corpus import read_texts
    from interp.pipeline import DEFAULT_METHODS, Settings, main_job

    settings = Settings(
        model=model,
        site=site,
        companion_site=companion_site,
        methods=tuple(method) if method else DEFAULT_METHODS,  # type: ignore[arg-type]
        features=features,
        sparsity=sparsity,
        texts=read_texts(texts) if texts else None,
        steered_concepts=steered,
        seed=seed,
    )
    with shown(quiet) as progress:
        page = main_job(settings, out, progress=progress)
    typer.echo(str(page))


@app.command()
def models() -> None:
    """List the models of the catalog, where their weights come from and whether they are on this machine."""
    from interp.console import table
    from interp.models.catalog import CATALOG, DEFAULT_MODEL
    from interp.models.fetch import is_cached

    rows = [
        (name + (" (default)" if name == DEFAULT_MODEL else ""), entry.kind, entry.title, entry.licence, "yes" if is_cached(name) else "no")
        for name, entry in CATALOG.items()
    ]
    table(("name", "kind", "what", "licence", "cached"), rows)
    typer.echo("Any hub id, local folder or .gguf file works too: interp report --model PATH")


@app.command()
def sites(model: Annotated[str, typer.Argument(help="Catalog name, hub id, local folder or .gguf file.")]) -> None:
    """List the sites of a model: the places whose activations can be recorded and changed."""
    from interp.console import shown, table
    from interp.models import load_model

    with shown(False) as progress:
        found = load_model(model, progress=progress).sites
    table(
        ("site", "shape of one example"),
        [(name, " × ".join("any" if axis is None else str(axis) for axis in shape)) for name, shape in found.items()],
    )


def main() -> None:
    """Run the command line; errors of the package become one line and exit code 2, Ctrl-C exit code 130."""
    try:
        app(standalone_mode=False)
    except InterpError as error:
        typer.secho(f"interp: {error}", fg="red", err=True)
        sys.exit(2)
    except (typer.Abort, KeyboardInterrupt):
        typer.secho("interp: stopped; nothing half-written was left", err=True)
        sys.exit(130)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except Exception as error:
        if type(error).__module__.startswith("click"):
            error.show()  # type: ignore[attr-defined]
            sys.exit(2)
        raise


if __name__ == "__main__":
    main()
