"""The command line: all commands, and errors as one line."""

import os
import sys
from collections.abc import Sequence

# Spinning threads made small products five times slower on a busy machine. Read once, when torch is
# imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import typer

from interp.commands.compare import compare
from interp.commands.diffusion import app as diffusion
from interp.commands.models import models, sites
from interp.commands.paths import paths
from interp.commands.report import report
from interp.commands.track import app as track
from interp.core.errors import InterpError

WRONG, STOPPED = 2, 130
# The base of typer's argument errors; its module depends on typer's version.
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
for command in (report, compare, paths, models, sites):
    app.command()(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line on arguments (default: the process's) and return its exit code; without
    any, show the help.

    An error of the package or the arguments is one line and exit code 2; Ctrl-C is exit code 130.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(given or ["--help"], standalone_mode=False) or 0
    except InterpError as error:
        return _complain(str(error), WRONG)
    except UsageError as error:
        said = error.format_message()  # type: ignore[attr-defined]
        return _complain(f"{said} (see `interp COMMAND --help`)", WRONG)
    except (typer.Abort, KeyboardInterrupt):
        code = STOPPED
    if code == STOPPED:
        _complain("stopped; nothing half-written was left", STOPPED)
    return int(code)


def _complain(message: str, code: int) -> int:
    typer.secho(f"interp: {message}", fg="red", err=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
