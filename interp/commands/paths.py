"""`interp paths`: which heads and MLPs carry a task."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from interp.commands.options import NAMED_MODEL, ModelOption, QuietOption, SeedOption
from interp.commands.terminal import progress_display
from interp.core.names import require_known

if TYPE_CHECKING:
    from interp.causal import Method, Value


def paths(
    task: Annotated[
        str,
        typer.Argument(
            help="indirect-object, greater-than, agreement, induction, or a file of json lines."
        ),
    ],
    model: ModelOption = NAMED_MODEL,
    method: Annotated[
        list[str] | None,
        typer.Option(help="How edges are found; the first is shown. eap-ig-inputs and eap."),
    ] = None,
    value: Annotated[
        str, typer.Option(help="What takes a contribution's place: resample, mean or zero.")
    ] = "resample",
    examples: Annotated[int, typer.Option(min=2, help="Examples to find the graph on.")] = 24,
    judged: Annotated[int, typer.Option(min=2, help="Other examples to judge it on.")] = 12,
    steps: Annotated[int, typer.Option(min=1, help="Steps of integrated gradients.")] = 5,
    measured: Annotated[
        int,
        typer.Option(min=2, help="Strongest edges to measure, and as many random ones."),
    ] = 50,
    seed: SeedOption = 0,
    out: Annotated[
        Path, typer.Option(help="Folder to write index.html, paths.json and the graph to.")
    ] = Path("paths"),
    quiet: QuietOption = False,
) -> None:
    """Which heads and MLPs carry a task, through which edges, and is that graph right?"""
    from interp.corpus import read_task
    from interp.corpus import task as task_named
    from interp.models import load_model
    from interp.report import write_paths
    from interp.studies.paths.protocol import (
        DEFAULT_METHODS,
        RANKING,
        WHOLE_VALUES,
        PathsProtocol,
    )
    from interp.studies.paths.run import trace_task

    for name in method or ():
        require_known("method", name, RANKING)
    require_known("value", value, WHOLE_VALUES)
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
    file, count = Path(task), examples + judged
    found = read_task(file) if file.suffix else task_named(task, count, seed)
    with progress_display(quiet) as progress:
        network = load_model(model, progress=progress)
        page = write_paths(trace_task(network, found, protocol, progress=progress), out)
    typer.echo(str(page))
