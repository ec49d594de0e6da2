"""`interp compare`: methods, layers and sizes side by side."""

from pathlib import Path
from typing import Annotated

import typer

from interp.commands.options import (
    NAMED_MODEL,
    MethodsOption,
    ModelOption,
    QuietOption,
    SeedOption,
    SparsityOption,
    SteeredOption,
    methods,
)
from interp.commands.terminal import progress_display


def compare(
    model: ModelOption = NAMED_MODEL,
    site: Annotated[
        list[str] | None,
        typer.Option(help="Where dictionaries are fitted (repeatable). Three MLPs by default."),
    ] = None,
    place: Annotated[
        list[str] | None,
        typer.Option(help="Where companions steer (repeatable). Two residual sites by default."),
    ] = None,
    method: MethodsOption = None,
    features: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Features per dictionary (repeatable). 100 by default."),
    ] = None,
    concepts: SteeredOption = 6,
    sparsity: SparsityOption = 0.01,
    random: Annotated[
        int, typer.Option(min=1, help="Random directions that a likelihood lift is compared with.")
    ] = 50,
    sentences: Annotated[
        int,
        typer.Option(
            min=2, help="Held-out sentences per concept for the lift; twice as many others."
        ),
    ] = 8,
    seed: SeedOption = 0,
    out: Annotated[
        Path, typer.Option(help="Folder of the result; a stopped run resumes there.")
    ] = Path("comparison"),
    quiet: QuietOption = False,
) -> None:
    """Compare methods, layers and sizes: what features detect, and how they steer, natively and by
    companions.
    """
    from interp.report import write_comparison
    from interp.studies.comparison import Comparison, LiftProtocol, compare

    settings = Comparison(
        model=model,
        sites=tuple(site or ()),
        places=tuple(place or ()),
        methods=methods(method),
        sizes=tuple(features or (100,)),
        sparsity=sparsity,
        concepts=concepts,
        lift=LiftProtocol(
            n_random=random, concept_sentences=sentences, other_sentences=2 * sentences
        ),
        seed=seed,
    )
    with progress_display(quiet) as progress:
        page = write_comparison(compare(settings, out, progress=progress), out)
    typer.echo(str(page))
