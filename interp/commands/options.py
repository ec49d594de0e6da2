"""Options that several commands share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from interp.core.names import require_known

if TYPE_CHECKING:
    from interp.decompose import Unsupervised

NAMED_MODEL = "smollm2-135m-instruct"
MODEL_HELP = "Catalog name, hub id, local folder or .gguf file."

ModelArgument = Annotated[str, typer.Argument(help=MODEL_HELP)]
ModelOption = Annotated[str, typer.Option(help=MODEL_HELP)]
MethodsOption = Annotated[
    list[str] | None,
    typer.Option(help="snmf, sae or pca; may be given several times. All if left out."),
]
SparsityOption = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Share of neurons a semi-NMF direction keeps.")
]
SteeredOption = Annotated[int, typer.Option(min=1, help="How many concepts are steered with.")]
SeedOption = Annotated[int, typer.Option(help="Seed of everything random.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the page's path.")]


def methods(names: Sequence[str] | None) -> "tuple[Unsupervised, ...]":
    """The named methods, each once; all without names.

    Raises:
        InputError: a name is unknown.
    """
    from interp.decompose import Unsupervised
    from interp.studies.methods import UNSUPERVISED

    for name in names or ():
        require_known("method", name, get_args(Unsupervised))
    return cast("tuple[Unsupervised, ...]", tuple(dict.fromkeys(names or UNSUPERVISED)))
