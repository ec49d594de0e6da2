"""`interp models` and `interp sites`: the catalog, and a model's sites."""

import typer

from interp.commands.options import ModelArgument
from interp.commands.terminal import progress_display, table


def models() -> None:
    """List the models of the catalog, where their weights come from and whether they are on this
    machine.
    """
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


def sites(model: ModelArgument) -> None:
    """List the sites of a model: the places whose activations can be recorded and changed."""
    from interp.models import load_model

    with progress_display(False) as progress:
        found = load_model(model, progress=progress).sites
    table(
        ("site", "shape of one example"),
        [
            (name, " × ".join("any" if axis is None else str(axis) for axis in shape))
            for name, shape in found.items()
        ],
    )
