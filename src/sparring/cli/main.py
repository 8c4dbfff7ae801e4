"""The command `sparring`: a thin layer over the library."""

import difflib
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from functools import partial, reduce
from operator import or_
from typing import Annotated, Any

import tyro
from tyro.conf import subcommand

from sparring.cli import commands, export, serve, share, studies, watch
from sparring.errors import ProcessError, SparringError, SparringWarning, UnknownNameError, UsageError
from sparring.plugins import import_plugin

RANK = int(os.environ["RANK"]) if {"RANK", "WORLD_SIZE"} <= os.environ.keys() else 0
"""This process's rank, if `torchrun` started several."""

COMMANDS = {
    "train": commands.TrainCommand,
    "resume": commands.ResumeCommand,
    "sample": commands.SampleCommand,
    "translate": commands.TranslateCommand,
    "project": commands.ProjectCommand,
    "export": export.ExportCommand,
    "share": share.ShareCommand,
    "serve": serve.ServeCommand,
    "evaluate": commands.EvaluateCommand,
    "diagnose": commands.DiagnoseCommand,
    "watch": watch.WatchCommand,
    "list": commands.ListCommand,
    "data": commands.DataCommand,
    "bench": studies.BenchCommand,
    "study": studies.StudyCommand,
}
SLOW_TO_START = "train", "resume", "sample", "translate", "project", "export", "share", "serve", "evaluate"


def main(arguments: list[str] | None = None) -> None:
    """Run the command; exit with 0, 1 (failure), 2 (bad use), or 130 or 143 (stopped by a signal, after saving).

    SIGUSR1 saves and ends with 0.
    """
    arguments = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        command = _parse(_with_values(arguments))
        with warnings.catch_warnings():
            warnings.showwarning = partial(_show_warning, warnings.showwarning)
            if (plugin := getattr(command, "plugin", None)) is not None:
                import_plugin(plugin)
            if arguments[0] in SLOW_TO_START and getattr(command, "processes", 1) == 1:
                _load()
            code = command.run(arguments)
            sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain when it ends
        code = 1
    except SparringError as error:
        if not (RANK and isinstance(error, ProcessError)):  # the process that failed explains why
            _print_error(f"sparring: {f'process {RANK}: ' if RANK else ''}{error}")
        code = error.exit_code
    except OSError as error:
        _print_error(f"sparring: {error}")
        code = 1
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _parse(arguments: list[str]) -> Any:
    """The command with its options; errors name what was probably meant."""
    if "--version" in arguments[:1]:
        from importlib.metadata import version

        print(f"sparring {version('sparring')}, torch {version('torch')}, Python {sys.version.split()[0]}")
        sys.exit(0)
    if arguments and not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        raise UnknownNameError("command", arguments[0], COMMANDS)
    name, rest = (arguments[0], arguments[1:]) if arguments[0] in COMMANDS else ("", arguments)
    every: Any = reduce(or_, (Annotated[each, subcommand(name)] for name, each in COMMANDS.items()))
    if arguments[0].startswith("--tyro-"):
        from sparring.cli.settings import complete_names

        complete_names()
    try:
        command, unknown = tyro.cli(
            COMMANDS.get(name, every),  # a command by itself, so that its errors lead to its own help
            prog=f"sparring {name}".strip(),
            description=None if name else "Train Generative Adversarial Networks. Start with: sparring train",
            args=rest,
            config=(tyro.conf.OmitArgPrefixes,),
            return_unknown_args=True,
        )
    except SystemExit as end:
        if name == "train" and not end.code:  # after its help
            from sparring.cli.settings import print_settings

            print_settings()
        raise
    if unknown:
        raise UsageError(_describe_unknown(unknown[0], arguments[0], [each.name for each in fields(command)]))
    return command


def _describe_unknown(word: str, command: str, options: list[str]) -> str:
    """What is wrong with a word that no option takes, and what was probably meant."""
    if not word.startswith("-"):
        return f"{word!r} is one value too many: see sparring {command} --help"
    meant = {name: f"--{name.replace('_', '-')}" for name in options}
    if command == "train":
        from sparring.training.recipe import Recipe

        meant = {each.name: f"--set {each.name}=VALUE" for each in fields(Recipe)} | meant
    name = word.lstrip("-").partition("=")[0].replace("-", "_")
    initials = [each for each in meant if name == "".join(part[0] for part in each.split("_"))]  # lr: learning_rate
    near = initials or difflib.get_close_matches(name, meant, n=1, cutoff=0.5)
    hint = f"did you mean {meant[near[0]]}? " if near else ""
    return f"unknown option {word.partition('=')[0]!r}: {hint}See sparring {command} --help"


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
            _print_error(f"sparring: warning: {message}")


def _load() -> None:
    """Say in a terminal that PyTorch is being loaded, which takes a second or more."""
    if sys.stdout.isatty():
        message = "loading PyTorch"
        print(message, end="\r", flush=True)
        import torch  # noqa: F401

        print(" " * len(message), end="\r", flush=True)


def _print_error(message: str) -> None:
    """Print to the standard error; lines are broken between words if that is a terminal."""
    if sys.stderr.isatty():
        import shutil
        import textwrap

        fill = partial(textwrap.fill, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        width = shutil.get_terminal_size().columns
        message = "\n".join(fill(line, width) for line in message.split("\n"))
    print(message, file=sys.stderr, flush=True)
