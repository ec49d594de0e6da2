"""The errors of the package: one line that holds the value, what was expected and what to do."""


class InterpError(Exception):
    """Base of every error this package raises on purpose; the command line prints it as one
    line.
    """


class InputError(InterpError, ValueError):
    """An argument is wrong: the message names the value, the expectation and the remedy."""


class UnavailableError(InterpError, OSError):
    """Something outside the process could not be had: weights, a file, a service."""


class ConvergenceWarning(UserWarning):
    """A solver stopped before it met its tolerance; the message holds the numbers."""
