"""The command `sparring`: a thin layer over the library."""

import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Annotated, Any

import tyro
from tyro.conf import subcommand

from sparring.cli import commands
from sparring.errors import ProcessError, SparringError, SparringWarning

RANK = int(os.environ["RANK"]) if {"RANK", "WORLD_SIZE"} <= os.environ.keys() else 0
"""This process's rank, if `torchrun` started several."""

Command = (
    Annotated[commands.TrainCommand, subcommand("train")]
    | Annotated[commands.ResumeCommand, subcommand("resume")]
    | Annotated[commands.SampleCommand, subcommand("sample")]
    | Annotated[commands.EvaluateCommand, subcommand("evaluate")]
    | Annotated[commands.DiagnoseCommand, subcommand("diagnose")]
    | Annotated[commands.ListCommand, subcommand("list")]
    | Annotated[commands.DataCommand, subcommand("data")]
    | Annotated[commands.BenchCommand, subcommand("bench")]
    | Annotated[commands.StudyCommand, subcommand("study")]
)


def main(arguments: list[str] | None = None) -> None:
    """Run the command; exit with 0, 1 (failure), 2 (bad use), or 130 or 143 (stopped by a signal, after saving).

    SIGUSR1 saves and ends with 0.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    command: Any = tyro.cli(
        Command,
        prog="sparring",
        description="Train Generative Adversarial Networks. Start with: sparring train",
        args=_with_values(arguments),
        config=(tyro.conf.OmitArgPrefixes,),
    )
    try:
        with warnings.catch_warnings():
            warnings.showwarning = partial(_show_warning, warnings.showwarning)
            code = command.run(arguments)
    except SparringError as error:
        if not (RANK and isinstance(error, ProcessError)):  # the process that failed explains why
            print(f"sparring: {f'process {RANK}: ' if RANK else ''}{error}", file=sys.stderr)
        code = error.exit_code
    except OSError as error:
        print(f"sparring: {error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _with_values(arguments: list[str]) -> list[str]:
    """Add "True" to `--conditional` alone, because the parser needs a value."""
    given = list[str]()
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        given += [word, "True"] if word == "--conditional" and following not in ("True", "False") else [word]
    return given


def _show_warning(show: Callable[..., None], message: Warning | str, *details: Any, **others: Any) -> None:
    if not isinstance(message, SparringWarning):
        show(message, *details, **others)
    elif RANK == 0:
        with suppress(OSError):  # standard error may go to a full disk
            print(f"sparring: warning: {message}", file=sys.stderr, flush=True)
