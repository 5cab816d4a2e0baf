"""The two kinds of error that a user can cause; the command line turns them into exit status 2 and 1."""


class FourierReconError(Exception):
    """Base of both. Its message names what is wrong and the remedy, in one or two lines."""

    exit_status = 1


class UsageError(FourierReconError, ValueError):
    """An option or argument makes no sense (exit status 2)."""

    exit_status = 2


class DataError(FourierReconError, ValueError):
    """A file or array cannot be used (exit status 1)."""

    exit_status = 1
