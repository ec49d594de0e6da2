"""The package's errors; a message is one line with the value, the expectation and the remedy."""


class InterpError(Exception):
    """Base of all errors raised on purpose; the command line prints them as one line."""


class InputError(InterpError, ValueError):
    """An argument is wrong: the message names the value, the expectation and the remedy."""


class UnavailableError(InterpError, OSError):
    """Something outside the process is not available: weights, a file, a service."""


class ConvergenceWarning(UserWarning):
    """A solver stopped before it reached its tolerance; the message holds the numbers."""
