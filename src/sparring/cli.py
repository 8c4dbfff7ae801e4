"""The command `sparring`: a thin face over the library.

Only the standard library, tyro and the torch-free modules are imported before a command runs, so that `--help`
answers at once.
"""

import json
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional, UseAppendAction, arg, subcommand

from sparring.errors import ProcessError, SparringError, SparringWarning, UnknownNameError, UsageError

Set = UseAppendAction[tuple[str, ...]]

PROCESS = int(os.environ["RANK"]) if {"RANK", "WORLD_SIZE"} <= os.environ.keys() else 0
"""Which of the processes this is, where `torchrun` started several."""


@dataclass(frozen=True)
class Train:
    """Train a GAN.

    What is not given comes from the recipe: see `sparring list recipes`.
    """

    data: Annotated[Positional[str], arg(metavar="DATA")] = "digits"
    """A name (`sparring list data`), a folder or archive of images, or a .parquet, .npy or .npz file."""
    recipe: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """A preset: `sparring list recipes`."""
    objective: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """The game: `sparring list objectives`."""
    penalty: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """What restrains the discriminator: `sparring list penalties`."""
    network: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """The family of both players: `sparring list networks`."""
    minutes: Annotated[float | None, arg(metavar="M", help_behavior_hint="")] = None
    """Stop after so much training time, evaluation and saving apart."""
    steps: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Stop after so many iterations."""
    images: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Stop after so many real samples."""
    until: Annotated[str | None, arg(metavar="plateau|TARGET", help_behavior_hint="")] = None
    """Stop as well where the samples no longer become better, or at a target such as "coverage>0.9"."""
    batch_size: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Real samples an update."""
    size: Annotated[int | None, arg(metavar="PIXELS", help_behavior_hint="")] = None
    """The side that images are resized to; of a folder, chosen by the images and the time."""
    mirror: Annotated[bool, tyro.conf.FlagCreatePairsOff, arg(help_behavior_hint="")] = False
    """Each image comes a second time with left and right exchanged."""
    width: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """The features that the generator's last layer takes: the cost grows with its square."""
    conditional: Annotated[bool | None, arg(metavar="{True,False}", help_behavior_hint="")] = None
    """Whether the players are told the labels; yes where the data have some."""
    seed: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Of everything random."""
    processes: Annotated[int, arg(metavar="N", help_behavior_hint="")] = 1
    """Of this machine that share each batch, as under `torchrun`."""
    device: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None
    """auto, cpu or cuda."""
    out: Annotated[Path | None, arg(metavar="RUN", help_behavior_hint="")] = None
    """The run's folder; runs/DATA-N if not given."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff, arg(help_behavior_hint="")] = False
    """Look at the data, show the recipe, and stop."""
    set: Annotated[Set, arg(metavar="KEY=VALUE")] = ()
    """Any other field of the recipe, such as learning_rate=2e-4."""


@dataclass(frozen=True)
class Resume:
    """Go on with a run that was stopped, to where its recipe ends or further."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run's folder."""
    minutes: Annotated[float | None, arg(metavar="M", help_behavior_hint="")] = None
    """The training time at which to stop, counted from the run's beginning."""
    steps: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """The iteration at which to stop."""
    images: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """The number of real samples at which to stop."""
    processes: Annotated[int, arg(metavar="N", help_behavior_hint="")] = 1
    """Of this machine that share each batch; any number can go on with any run, equal up to rounding."""
    exact: Annotated[bool, tyro.conf.FlagCreatePairsOff, arg(help_behavior_hint="")] = False
    """Refuse to go on with another number of processes than before, so that every bit stays what it would have been."""


@dataclass(frozen=True)
class Sample:
    """Draw samples from a trained generator."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """The run's folder, or a generator's."""
    out: Annotated[Path, arg(metavar="PATH")]
    """A .png for one picture, a .npz for arrays, or a folder for one file a sample."""
    num: Annotated[int, arg(name="n", aliases=["-n"], metavar="N")] = 64
    """How many."""
    seed: Annotated[int, arg(metavar="N")] = 0
    """The same seed gives the same samples."""
    label: Annotated[str | None, arg(metavar="K", help_behavior_hint="")] = None
    """The class of all samples, by name or number, where the generator was told labels."""
    truncation: Annotated[float | None, arg(metavar="T", help_behavior_hint="")] = None
    """The largest magnitude of a latent number: smaller is more typical and less varied."""


@dataclass(frozen=True)
class List:
    """List what there is: objectives, penalties, networks, data, recipes."""

    what: Annotated[Positional[str], arg(metavar="KIND")] = "all"
    """objectives, penalties, data, recipes, or networks, whose cost is measured as well."""


@dataclass(frozen=True)
class Evaluate:
    """Measure a trained generator: each figure with its interval, beside that of held-out real samples."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run's folder, or the best/ in it."""
    num: Annotated[int, arg(name="n", aliases=["-n"], metavar="N")] = 10_000
    """How many samples to generate, and at most to take of the data."""
    seed: Annotated[int, arg(metavar="N")] = 0
    """The same gives the same card."""
    fid: Annotated[bool, tyro.conf.FlagCreatePairsOff, arg(help_behavior_hint="")] = False
    """Inception's FID as well: more than 2,048 images, minutes, and pip install 'sparring[fid]'."""


@dataclass(frozen=True)
class Diagnose:
    """Explain a run, finished or not, in one page of words and pictures."""

    run: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run's folder; report.html is written into it."""


@dataclass(frozen=True)
class Data:
    """List the images in the cache: packed ones, and those that Python programs gave from memory."""

    clear: Annotated[bool, tyro.conf.FlagCreatePairsOff, arg(help_behavior_hint="")] = False
    """Remove them; trainings that read them go on."""


@dataclass(frozen=True)
class Bench:
    """Run a benchmark: exact statements checked, or modes counted."""

    what: Annotated[Positional[str], arg(metavar="WHAT")]
    """theory or modes."""
    seeds: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """How many trainings of each task; 10, and 3 of the slow one, if not given (modes)."""
    tasks: Annotated[tuple[str, ...], arg(metavar="TASK")] = ()
    """Which tasks: ring, grid, stacked-digits; all if not given (modes)."""
    classics: Annotated[bool, tyro.conf.FlagCreatePairsOff, arg(help_behavior_hint="")] = False
    """The classic objectives under one protocol as well (modes)."""
    as_json: Annotated[bool, tyro.conf.FlagCreatePairsOff, arg(name="json", help_behavior_hint="")] = False
    """Print JSON instead of tables."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff, arg(help_behavior_hint="")] = False
    """Fewer random cases; or shorter trainings, one seed and lower floors."""


@dataclass(frozen=True)
class Study:
    """Play many trainings, and compare them: FILE.toml, or `report FILE.toml` for what came of it so far."""

    words: Annotated[Positional[tuple[str, ...]], arg(metavar="[report] FILE.toml")]
    """A grid or a search, as docs/studies.md describes it; the same command goes on with what was stopped."""
    workers: Annotated[int | None, arg(metavar="N", help_behavior_hint="")] = None
    """Trainings at once on this machine; one a core if not given."""
    ray: Annotated[str | None, arg(metavar="ADDRESS", help_behavior_hint="")] = None
    """Play on a Ray cluster instead: auto, or HOST:PORT."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff, arg(help_behavior_hint="")] = False
    """Say what it would cost, and stop."""


Command = (
    Annotated[Train, subcommand("train")]
    | Annotated[Resume, subcommand("resume")]
    | Annotated[Sample, subcommand("sample")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Diagnose, subcommand("diagnose")]
    | Annotated[List, subcommand("list")]
    | Annotated[Data, subcommand("data")]
    | Annotated[Bench, subcommand("bench")]
    | Annotated[Study, subcommand("study")]
)


def main(arguments: list[str] | None = None) -> None:
    """Run the command; exit with 0, 1 (failure), 2 (bad use), or 130 or 143 (stopped by a signal, after saving).

    SIGUSR1 saves and ends with 0.
    """
    command: Any = tyro.cli(
        Command,
        prog="sparring",
        description="Train Generative Adversarial Networks. Start with: sparring train",
        args=_with_values(sys.argv[1:] if arguments is None else arguments),
        config=(tyro.conf.OmitArgPrefixes,),
    )
    try:
        with warnings.catch_warnings():
            warnings.showwarning = partial(_show_warning, warnings.showwarning)
            code = _run(command, sys.argv[1:] if arguments is None else arguments)
    except SparringError as error:
        if not (PROCESS and isinstance(error, ProcessError)):  # the one that failed says why
            print(f"sparring: {f'process {PROCESS}: ' if PROCESS else ''}{error}", file=sys.stderr)
        code = error.exit_code
    except OSError as error:
        print(f"sparring: {error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _with_values(arguments: list[str]) -> list[str]:
    """`--conditional` alone means yes; the parser wants a value after it."""
    given = list(arguments)
    for place in range(len(given) - 1, -1, -1):
        if given[place] == "--conditional" and given[place + 1 : place + 2] not in (["True"], ["False"]):
            given.insert(place + 1, "True")
    return given


def _show_warning(show: Callable[..., None], message: Warning | str, *details: Any, **others: Any) -> None:
    if not isinstance(message, SparringWarning):
        show(message, *details, **others)
        return
    if PROCESS:
        return  # the first one warns
    with suppress(OSError):  # the disk that standard error goes to may be what is full
        print(f"sparring: warning: {message}", file=sys.stderr, flush=True)


def _is_launched(processes: int) -> bool:
    """Whether this is one of several processes already, or the only one."""
    if processes < 1:
        raise UsageError(f"--processes must be at least 1, and is {processes}")
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if 1 < started != processes > 1:
        raise UsageError(f"torchrun started {started} processes: leave --processes {processes} away")
    return started > 1 or processes == 1


def _launch(processes: int, arguments: list[str]) -> int:
    from sparring.distributed import launch

    return launch(processes, "-P", "-m", "sparring", *arguments)


def _run(
    command: Train | Resume | Sample | Evaluate | Diagnose | List | Data | Bench | Study, arguments: list[str]
) -> int:
    match command:
        case Train():
            return _train(command, arguments)
        case Resume():
            return _resume(command, arguments)
        case Sample():
            return _sample(command)
        case Evaluate():
            return _evaluate(command)
        case Diagnose():
            return _diagnose(command)
        case List():
            return _list(command)
        case Data():
            return _data(command)
        case Bench():
            return _bench(command)
        case Study():
            return _study(command)


def _train(command: Train, arguments: list[str]) -> int:
    from sparring.recipes import recipe_for

    given = {name: value for name, value in asdict(command).items() if value is not None}
    for name in ("data", "recipe", "out", "dry_run", "set", "processes", *([] if command.mirror else ["mirror"])):
        given.pop(name, None)
    settings = _settings(command.set)
    if twice := sorted(given.keys() & settings.keys()):
        raise UsageError(f"{twice[0]} is given twice, as an option and by --set: leave one away")
    recipe = recipe_for(command.data, command.recipe, **given | settings)
    if command.dry_run:
        from sparring.build import build, resolve
        from sparring.display import show_choice, show_work

        with show_work() as on_progress:
            recipe, dataset = resolve(recipe, on_progress, dry=True)
        build(replace(recipe, num_clusters=1), dataset)  # images that were only looked at have no clusters
        show_choice(recipe, dataset, on_stderr=True)
        print(json.dumps(asdict(recipe), indent=2))
        print(f"{dataset.train.num_items or 'endless'} items of {list(dataset.train.item_shape)}", file=sys.stderr)
        return 0

    if not _is_launched(command.processes):
        return _launch(command.processes, arguments)
    from sparring.training import play

    return _show(partial(play, recipe, command.out))


def _resume(command: Resume, arguments: list[str]) -> int:
    if not _is_launched(command.processes):
        return _launch(command.processes, arguments)
    from sparring.training import play_on

    limits = command.steps, command.images, command.minutes
    return _show(partial(play_on, command.run, *limits, exact=command.exact))


def _show(train: Callable[..., Any]) -> int:
    """Show a training while it lasts, and how it ended; of several processes the first one does."""
    if PROCESS:
        _, outcome = train()
        return int(outcome.exit_code)
    from sparring.display import show_end, show_training

    with show_training() as audience:
        run, outcome = train(audience=audience)
    show_end(run, outcome)
    return int(outcome.exit_code)


def _sample(command: Sample) -> int:
    from sparring.generator import load
    from sparring.samples import check_path, write

    check_path(command.out)
    generator = load(command.run)
    samples = generator.sample(command.num, command.seed, labels=command.label, truncation=command.truncation)
    write(samples, command.out, generator.config.scale)
    print(f"{command.num} samples in {command.out}")
    return 0


def _evaluate(command: Evaluate) -> int:
    from sparring.display import show_card, show_work
    from sparring.evaluation import evaluate

    with show_work() as on_progress:
        card = evaluate(command.run, command.num, command.seed, fid=command.fid, on_progress=on_progress)
    show_card(card)
    print(f"in {command.run / 'card.json'}")
    return 0


def _diagnose(command: Diagnose) -> int:
    from sparring.report import diagnose

    print(f"in {diagnose(command.run)}")
    return 0


def _list(command: List) -> int:
    from sparring.catalogue import print_catalogue, print_costs

    print_catalogue(command.what)
    if command.what == "networks":
        print_costs()
    return 0


def _data(command: Data) -> int:
    from sparring.data.memory import clear_kept
    from sparring.data.pack import clear_packs
    from sparring.display import show_packs
    from sparring.files import cache_folder

    if command.clear:
        print(f"{clear_packs() + clear_kept():,} bytes freed in {cache_folder()}")
    else:
        show_packs()
    return 0


def _bench(command: Bench) -> int:
    if command.what == "theory":
        from sparring.bench.theory import print_rows, rows

        return print_rows(list(rows(1 if command.quick else 3)), command.as_json)
    if command.seeds is not None and command.seeds < 1:
        raise UsageError(f"--seeds must be at least 1, and is {command.seeds}")
    if command.what == "modes":
        from sparring.bench.modes import print_results

        tasks = list(command.tasks)
        return print_results(tasks, command.seeds, command.quick, command.classics, command.as_json)
    raise UnknownNameError("benchmark", command.what, ["theory", "modes"])


def _study(command: Study) -> int:
    from sparring.display import show_report, show_study
    from sparring.study.engines import Cluster, Local
    from sparring.study.report import report
    from sparring.study.study import Study as Played

    match command.words:
        case ["report", file]:
            show_report(report(Played(file)))
            return 0
        case [file]:
            study = Played(file)
        case _:
            raise UsageError("give one file: sparring study FILE.toml, or sparring study report FILE.toml")
    if command.ray is not None and command.workers is not None:
        raise UsageError("--workers is for this machine, and the Ray cluster has its own number: leave one away")
    engine = Local(command.workers) if command.ray is None else Cluster(command.ray)
    print(study.cost(engine), flush=True)
    if command.dry_run:
        return 0
    with show_study(study.num_trials) as on_progress:
        study.run(engine, on_progress)
    show_report(report(study))
    return 0


def _settings(pairs: tuple[str, ...]) -> dict[str, object]:
    """KEY=VALUE as a recipe's fields, each value read as the field's type."""
    from sparring.recipes import parse_setting

    settings = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise UsageError(f"--set takes KEY=VALUE, such as learning_rate=2e-4, and got {pair!r}")
        settings[name] = parse_setting(name, text)
    return settings
