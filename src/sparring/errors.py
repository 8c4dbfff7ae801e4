"""The errors that users can meet.

    SparringError
    ├── UsageError (also a ValueError)   something asked for cannot be done; the command exits with 2
    │   ├── UnknownNameError             a name that no registry holds; the nearest known one is offered
    │   ├── DataError                    a data set that is missing, unreadable, empty, or too small
    │   └── RunFolderError               a run's folder that is taken, unwritable, or not a run
    ├── CheckpointError                  what a training saved is damaged; the command exits with 1
    └── TrainingError                    the training itself failed; the command exits with 1
        ├── DivergenceError              a loss is no longer a finite number
        └── ProcessError                 one of several processes ended, or cannot be reached

    SparringWarning (a UserWarning)      something went wrong that the training goes on without

Each message says what was wrong, where, and what to do.
"""

import difflib
from collections.abc import Iterable


class SparringError(Exception):
    """Any error that sparring raises on purpose."""

    exit_code = 1


class UsageError(SparringError, ValueError):
    """Something was asked for that cannot be done."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that is not among the known ones.

    Args:
        kind: what the name should have been, such as `"objective"`.
        name: the name that was given.
        known: the names there are.

    Example:
        >>> print(UnknownNameError("objective", "wassertein", ["minimax", "wasserstein"]))
        unknown objective 'wassertein': did you mean 'wasserstein'? Known: minimax, wasserstein
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name.lower().replace("-", "_"), names, n=1, cutoff=0.4)
        near = near or difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        super().__init__(f"unknown {kind} {name!r}: {hint}Known: {', '.join(names)}")


class DataError(UsageError):
    """A data set that is missing, unreadable, empty, or too small."""


class RunFolderError(UsageError):
    """A run's folder that is taken, cannot be written, or does not hold a run."""


class CheckpointError(SparringError):
    """What a training saved is damaged."""


class TrainingError(SparringError):
    """The training itself failed."""


class ProcessError(TrainingError):
    """One of several processes of a training ended, or cannot be reached.

    Args:
        message: what happened.
        exit_code: that of the other process, where it is known.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class DivergenceError(TrainingError):
    """A loss is no longer a finite number."""


class SparringWarning(UserWarning):
    """Something went wrong that the training goes on without."""
