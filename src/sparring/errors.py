"""The errors that users can meet. Each message says what was wrong, where, and what to do.

SparringError
├── UsageError (also a ValueError)   a request that cannot be met; the command exits with 2
│   ├── UnknownNameError             a name that is in no registry; it suggests the nearest known one
│   ├── DataError                    a data set that is missing, unreadable, empty, or too small
│   └── RunFolderError               a run's folder that is taken, cannot be written, or holds no run
├── CheckpointError                  a damaged checkpoint; the command exits with 1
└── TrainingError                    the training itself failed; the command exits with 1
    ├── DivergenceError              a loss is no longer a finite number
    └── ProcessError                 one of several processes ended, or cannot be reached

SparringWarning (a UserWarning)      something went wrong, and the training continues without it
"""

import difflib
import shlex
from collections.abc import Iterable

MAX_SHOWN = 30  # names in a message


class SparringError(Exception):
    """Any error that sparring raises on purpose."""

    exit_code = 1


class UsageError(SparringError, ValueError):
    """A request that cannot be met."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that is not among the known ones.

    Args:
        kind: what the name is for, such as `"objective"`.
        name: the unknown name.
        known: the known names.
        advice: what else to do, at the end of the message.

    Example:
        >>> print(UnknownNameError("objective", "wassertein", ["minimax", "wasserstein"]))
        unknown objective 'wassertein': did you mean 'wasserstein'? Known: minimax, wasserstein
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], advice: str = "") -> None:
        names = sorted(known)
        shown = names[:MAX_SHOWN] + [f"and {len(names) - MAX_SHOWN} more"] * (len(names) > MAX_SHOWN)
        near = difflib.get_close_matches(name.lower().replace("-", "_"), names, n=1, cutoff=0.4)
        near = near or difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        super().__init__(f"unknown {kind} {name!r}: {hint}Known: {', '.join(shown) or 'none'}{advice}")


class DataError(UsageError):
    """A data set that is missing, unreadable, empty, or too small."""


class RunFolderError(UsageError):
    """A run's folder that is taken, cannot be written, or holds no run."""


class CheckpointError(SparringError):
    """A damaged checkpoint."""


class TrainingError(SparringError):
    """The training itself failed."""


class ProcessError(TrainingError):
    """One of several processes of a training ended, or cannot be reached; `exit_code` is that process's, if known."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class DivergenceError(TrainingError):
    """A loss is no longer a finite number."""


class SparringWarning(UserWarning):
    """Something went wrong, and the training continues without it."""


def how_to_install(extra: str) -> str:
    """The command that adds what an extra needs, the same however sparring itself was installed.

    Example:
        >>> how_to_install("study").startswith("pip install 'optuna")
        True
    """
    from importlib.metadata import requires

    needed = (each.partition("; ") for each in requires("sparring") or ())
    names = (shlex.quote(name) for name, _, condition in needed if condition == f'extra == "{extra}"')
    return " ".join(("pip install", *names))
