"""Which trial of a study comes next, and what became of those before: stored by Optuna, so that nothing is repeated.

A trial is known by its settings and its seed, which stand beside it in the database; its number names its folder.
"""

import fcntl
import json
import math
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, cast

import torch

from sparring.build import images_a_second, resolve
from sparring.errors import UsageError
from sparring.evaluation import check_figure
from sparring.files import read_json, write_json
from sparring.recipes import Recipe
from sparring.run import Run
from sparring.stopping import signals_received
from sparring.study.database import database_errors, load_optuna, opened, shown
from sparring.study.engines import Engine, Local
from sparring.study.plan import Cell, Range, Settings, ends, fixed_part, is_whole, read_plan, recipe_of
from sparring.study.trial import Result, Task

MAX_DEATHS = 3
"""So often the process of a trial may die before the study leaves it; when it is played again, so is the trial."""
POLL_SECONDS = 0.2
TENTHS = 10
"""A search looks at a trial after each tenth of its training."""
LOOKING_SHARE = 0.01
"""Of the time, at the most, goes into reading the log of a trial to see whether a tenth is over."""
CARD_SECONDS = 30.0
"""What starting and the card at the end take about, before any trial has told."""
MAX_MEASURED = 4
"""So many settings at most are tried to tell how long all take, where their limits are no times."""

State = Literal["waiting", "running", "finished", "pruned", "failed"]
STATES: dict[str, State] = {
    "WAITING": "waiting",
    "RUNNING": "running",
    "COMPLETE": "finished",
    "PRUNED": "pruned",
    "FAIL": "failed",
}
OVER = ("finished", "pruned", "failed")


@dataclass(frozen=True)
class Trial:
    """A trial as it stands.

    Args:
        number: from 0 on; its folder is trials/NUMBER.
        cell: its setting.
        seed: of its training.
        state: whether it is over, and how.
        result: where it is over and was not pruned.
    """

    number: int
    cell: Cell
    seed: int
    state: State
    result: Result | None

    @property
    def is_over(self) -> bool:
        """Whether it need not be played again."""
        return self.state in OVER and not self.has_died

    @property
    def has_died(self) -> bool:
        """Whether it was given up since its process died too often, so that another try may do better."""
        return self.result is not None and self.result.status == "died"


@dataclass(frozen=True)
class Cost:
    """What a study takes.

    Args:
        trials: that are still to be played.
        hours: about, with so many at once; infinite where nothing ends a training but its samples.
        where: on what, in words.
    """

    trials: int
    hours: float
    where: str

    def __str__(self) -> str:
        """In a line."""
        time = f"about {self.hours:.2g} hours" if math.isfinite(self.hours) else "for as long as their samples improve"
        return f"{self.trials} trainings, {self.where}: {time}"


class Study:
    r"""Many trainings, which can be stopped and gone on with at any moment.

    Its folder is the file's path without .toml: a database, and each trial with its run.

    Args:
        file: a TOML file, as `sparring.study.plan` describes it.

    Raises:
        UsageError: where something in the file is wrong.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "games.toml"
        >>> _ = file.write_text('seeds = 3\n[settings]\nsteps = 50\n[grid]\nobjective = ["hinge", "minimax"]')
        >>> study = Study(file)
        >>> study.num_trials  # study.run() plays them, and sparring.study.report.report(study) compares
        6
    """

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)
        self.plan = read_plan(self.file)
        self.folder = self.file.resolve().with_suffix("")
        if self.file.suffix != ".toml":
            raise UsageError(f"the study's file needs a name that ends in .toml, and is {self.file}")
        there = {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else set()
        own = ("study.sqlite3", Path(self._url).name, ".")  # which may be older than study.json
        if "study.json" not in there and any(not name.startswith(own) for name in there):
            raise UsageError(
                f"the study's folder would be {self.folder}, which holds something else: give {self.file} another name"
            )
        self._is_checked = False

    @property
    def num_trials(self) -> int:
        """How many there are in all."""
        return self.plan.search.trials if self.plan.search else len(self.wanted())

    def wanted(self) -> list[tuple[Cell, int]]:
        """The trials of a grid; seed after seed, so that all settings can be compared early."""
        return [(cell, seed) for seed in self.plan.each_seed for cell in self.plan.cells]

    def trials(self) -> list[Trial]:
        """All trials that there are so far; of a grid, those that the file asks for."""
        store = self._store(make=False)
        return [] if store is None else self.all_of(store)

    def all_of(self, store: Any) -> list[Trial]:
        """Likewise, of an open database."""
        found: dict[object, Trial] = {}
        asked_for = {key_of(cell.settings, seed): cell for cell, seed in self.wanted()}
        for each in store.get_trials(deepcopy=False):
            if "settings" not in each.user_attrs:  # it is just beginning
                continue
            settings, seed = _known(each)
            key = key_of(settings, seed)
            if self.plan.search is None and key not in asked_for:
                continue
            # Its name may have changed in the file since.
            cell = Cell(each.user_attrs["name"], settings) if self.plan.search else asked_for[key]
            path = self.trial_folder(each.number) / "result.json"
            state = STATES[each.state.name]
            result = read_json(path, Result) if state in ("finished", "failed") and path.exists() else None
            trial = Trial(each.number, cell, seed, state, result)
            # Of a trial that was given up and played again, the later one counts.
            found[trial.number if self.plan.search else key] = trial
        return list(found.values())

    def trial_folder(self, number: int) -> Path:
        """Where a trial is played."""
        return self.folder / "trials" / f"{number:04d}"

    def check(self) -> None:
        """Whether all of it can be played; known before hours were spent.

        Raises:
            UsageError: if something that is named doesn't exist or doesn't fit together, or trainings would each choose
                another size for the same images.
        """
        if self._is_checked:
            return
        for recipe in self.plan.recipes():
            resolved, dataset = resolve(recipe, dry=True)
            check_figure(self.plan.metric, self.plan.num_samples, resolved, dataset)
            is_searched = self.plan.search is not None and "size" in self.plan.search.space
            follows_the_clock = recipe.size is None and recipe.minutes is not None and not is_searched
            if follows_the_clock and dataset.survey is not None and len(dataset.survey.sizes) > 1:
                raise UsageError(
                    f"each training would choose a size for the images of {recipe.data} by how fast it is just then: "
                    f"to compare them, give size in [settings], such as size = {resolved.size}"
                )
        self._is_checked = True

    def cost(self, engine: Engine | None = None) -> Cost:
        """What is left to play, and how long it takes about.

        Raises:
            UsageError: likewise.
        """
        self.check()
        engine = engine or Local()
        over = [trial for trial in self.trials() if trial.is_over]
        known = [trial.result.total_seconds for trial in over if trial.result and trial.result.value is not None]
        left = max(0, self.num_trials - len(over))
        if left == 0:
            return Cost(0, 0.0, engine.description)
        seconds = fmean(known) if known else _training_seconds(self.plan.recipes(), engine.threads) + CARD_SECONDS
        hours = math.ceil(left / engine.places) * seconds / 3600
        limit = self.plan.search.hours if self.plan.search else None
        return Cost(left, min(hours, limit or hours), engine.description)

    def run(
        self, engine: Engine | None = None, on_progress: Callable[[list[Trial]], None] = lambda trials: None
    ) -> None:
        """Play what has not been played.

        Args:
            engine: where; on this machine's cores if None.
            on_progress: is told of all trials whenever one begins or ends.

        Raises:
            UsageError: if something that is named doesn't exist or doesn't fit together, another process plays this
                study, or the database is of another one or cannot be used.
            KeyboardInterrupt: on Ctrl-C, after all trials have saved.
        """
        self.check()
        with self._locked(), database_errors(self._url):
            store = self._store(make=True)
            _Session(self, store, engine or Local(), on_progress).play()

    @property
    def _url(self) -> str:
        """Of the database; a relative path is one beside the study's file."""
        if self.plan.storage is None:
            return f"sqlite:///{self.folder / 'study.sqlite3'}"
        kind, _, path = self.plan.storage.partition("sqlite:///")
        return f"sqlite:///{self.file.resolve().parent / path}" if path and not kind else self.plan.storage

    def _store(self, make: bool) -> Any:
        """Optuna's study; without `make`, None where nothing was begun."""
        optuna = load_optuna()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        if not make and not (self.folder / "study.json").exists():
            return None
        name = self.file.stem
        with database_errors(self._url):
            storage = opened(self._url)
            own = self._identity()  # from now on others look into the database, so its tables are made before
            if not make and name not in optuna.get_all_study_names(storage):
                return None
            store = optuna.create_study(
                storage=storage,
                study_name=name,
                direction=cast(Any, self.plan.direction),
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner() if self.plan.search else optuna.pruners.NopPruner(),
            )
            before = store.user_attrs.get("plan")
            if before is None and not store.get_trials(deepcopy=False):
                store.set_user_attr("plan", own)
                before = own
            # Each start of a search goes on with other random numbers; trials that still play count as poor ones.
            num_trials = len(store.get_trials(deepcopy=False))
            store.sampler = optuna.samplers.TPESampler(seed=num_trials, constant_liar=True)
        if before != own:
            before = before if isinstance(before, dict) else {}
            differing = sorted(key for key in own | before if before.get(key) != own.get(key))
            raise UsageError(
                f"the database {shown(self._url)} is of another study named {name!r}: {', '.join(differing)} differs; "
                "set the file back, or give it another name"
            )
        return store

    def _identity(self) -> dict[str, Any]:
        """What the database must agree about: of which folder it is, and what cannot change on the way."""
        path = self.folder / "study.json"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(path, {"folder": uuid.uuid4().hex})
        fixed: dict[str, Any] = json.loads(json.dumps(fixed_part(self.plan)))
        return read_json(path, dict) | fixed

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """While it lasts, no other process plays this study."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / ".lock").open("a")
        except OSError as error:
            raise UsageError(f"cannot write to the study's folder {self.folder}: {error.strerror}") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UsageError(f"another process plays the study {self.file}: wait for it, or stop it") from None
            yield


class _Session:
    """The loop of a study: it fills the places, and asks those who play how it goes."""

    def __init__(self, study: Study, store: Any, engine: Engine, on_progress: Callable[[list[Trial]], None]) -> None:
        self.study, self.plan, self.store, self.engine = study, study.plan, store, engine
        self.on_progress = on_progress
        self.playing: dict[int, tuple[Any, Any]] = {}  # by number: Optuna's trial, and the engine's
        self.deaths: dict[int, int] = {}
        self.given_up: set[str] = set()
        self.pruned: set[int] = set()
        self.next_look: dict[int, float] = {}
        hours = (self.plan.search.hours if self.plan.search else None) or math.inf
        self.until = time.monotonic() + 3600 * hours

    def play(self) -> None:
        from optuna.trial import Trial as OptunaTrial
        from optuna.trial import TrialState

        asked_for = {trial.number for trial in self.study.all_of(self.store)}
        half_done = [
            OptunaTrial(self.store, each._trial_id)
            for each in self.store.get_trials(deepcopy=False, states=[TrialState.RUNNING])
            if each.number in asked_for or self.plan.search is not None
        ]
        with signals_received() as received:
            try:
                while not received:
                    while len(self.playing) < self.engine.places and not received:
                        trial = half_done.pop(0) if half_done else self._next()
                        if trial is None:
                            break
                        self._begin(trial)
                    if not self.playing and not received:
                        return
                    self._look()
                    time.sleep(POLL_SECONDS)
            finally:
                for _, process in self.playing.values():
                    self.engine.stop(process)
                while any(self._plays(process) for _, process in self.playing.values()):
                    time.sleep(POLL_SECONDS)
        if received[0] == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(0 if received[0] == signal.SIGUSR1 else 128 + received[0])

    def _plays(self, process: Any) -> bool:
        try:
            return self.engine.ended(process) is None
        except UsageError:  # which ends the study, once the others have saved
            return False

    def _next(self) -> Any:
        there = self.study.all_of(self.store)
        if self.plan.search is not None:
            died = [each for each in there if each.has_died and _key(each) not in self.given_up]
            enough = len(self.store.get_trials(deepcopy=False)) - len(died) >= self.plan.search.trials
            return None if enough or time.monotonic() > self.until else self.store.ask()
        over = {_key(each) for each in there if each.is_over}
        over |= self.given_up | {key_of(*_known(trial)) for trial, _ in self.playing.values()}
        for cell, seed in self.study.wanted():
            if (key := key_of(cell.settings, seed)) not in over:
                trial = self.store.ask()
                for name, value in {"name": cell.name, "seed": seed, "settings": cell.settings}.items():
                    trial.set_user_attr(name, value)
                for before in there:
                    if _key(before) == key:  # it died
                        self._hand_on(before.number, trial.number)
                return trial
        return None

    def _hand_on(self, died: int, number: int) -> None:
        """Have a trial go on with what one that died has played."""
        before, after = self.study.trial_folder(died), self.study.trial_folder(number)
        after.mkdir(parents=True, exist_ok=True)
        for name in ("run", "spent.json"):
            if (before / name).exists():
                (before / name).rename(after / name)

    def _begin(self, trial: Any) -> None:
        if "settings" not in trial.user_attrs:
            self._choose(trial)
        settings, seed = _known(trial)
        folder = self.study.trial_folder(trial.number)
        folder.mkdir(parents=True, exist_ok=True)
        recipe = recipe_of(settings, seed)  # which tells where data lie, wherever it is played
        task = Task(settings | {"data": recipe.data}, seed, self.plan.metric, self.plan.num_samples)
        path = folder / "task.json"
        if path.exists() and read_json(path, Task) != replace(task, settings=json.loads(json.dumps(task.settings))):
            raise UsageError(
                f"{path} was written for another training (of another study, or of data in another place): put the "
                f"data back, or remove {folder} to play this one anew"
            )
        write_json(path, asdict(task))
        self.playing[trial.number] = trial, self.engine.start(folder)
        self.on_progress(self.study.all_of(self.store))

    def _choose(self, trial: Any) -> None:
        """Settings by Optuna; where they were chosen before, another seed."""
        assert self.plan.search is not None
        chosen = {name: _suggest(trial, name, space) for name, space in self.plan.search.space.items()}
        settings = self.plan.settings | chosen
        alike = (each for each in self.store.get_trials(deepcopy=False) if each.number < trial.number)
        trial.set_user_attr("seed", sum(each.user_attrs.get("settings") == settings for each in alike))
        shown = {name: f"{value:.3g}" if isinstance(value, float) else value for name, value in chosen.items()}
        trial.set_user_attr("name", ", ".join(f"{name}={value}" for name, value in shown.items()))
        trial.set_user_attr("settings", settings)

    def _look(self) -> None:
        for number, (trial, process) in list(self.playing.items()):
            if (code := self.engine.ended(process)) is None:
                if self.plan.search is not None and number not in self.pruned:
                    self._prune(trial, process)
                continue
            del self.playing[number]
            self._tell(trial, code)
            self.on_progress(self.study.all_of(self.store))

    def _tell(self, trial: Any, code: int) -> None:
        """Store how a trial ended, or have it go on where its process died."""
        from optuna.trial import TrialState

        folder = self.study.trial_folder(trial.number)
        path = folder / "result.json"
        if path.exists() and (result := read_json(path, Result)).status != "died":
            if result.value is None:
                self.store.tell(trial, state=TrialState.FAIL)
            else:
                self.store.tell(trial, result.value)
        elif trial.number in self.pruned:
            self.store.tell(trial, state=TrialState.PRUNED)
        else:
            self.deaths[trial.number] = self.deaths.get(trial.number, 0) + 1
            if self.deaths[trial.number] < MAX_DEATHS:
                self._begin(trial)
                return
            self.given_up.add(key_of(*_known(trial)))
            reason = f"its process died {MAX_DEATHS} times, at last with {code}: {_last_line(folder / 'output.txt')}"
            write_json(path, asdict(Result("died", None, 0.0, 0.0, reason)))
            self.store.tell(trial, state=TrialState.FAIL)

    def _prune(self, trial: Any, process: Any) -> None:
        """Report what is measured during the training, once a tenth of it, and stop a trial that is worse than most.

        That is the study's own figure, where trainings measure it, and else the distance that they are monitored by.
        """
        start = time.monotonic()
        if start < self.next_look.get(trial.number, start):
            return
        log = Run(self.study.trial_folder(trial.number) / "run").log()
        self.next_look[trial.number] = start + (time.monotonic() - start) / LOOKING_SHARE
        reported = set(self.store.get_trials(deepcopy=False)[trial.number].intermediate_values)
        for line in log:
            tenth, figures = int(TENTHS * line["progress"]), line.get("evaluation", {})
            if "distance" not in figures or not 0 < tenth < TENTHS or tenth in reported:
                continue
            sign = -1 if self.plan.direction == "maximize" else 1
            trial.report(figures.get(self.plan.metric, sign * figures["distance"]), tenth)
            reported.add(tenth)
            if trial.should_prune():
                self.pruned.add(trial.number)
                self.engine.stop(process)
                return


def _last_line(path: Path) -> str:
    """What a process printed last, which mostly says why it ended."""
    text = path.read_text(errors="replace") if path.exists() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{lines[-1]} ({path})" if lines else "it printed nothing"


def key_of(settings: Settings, seed: int) -> str:
    """By what trials are the same."""
    return json.dumps([settings, seed], sort_keys=True)


def _key(trial: Trial) -> str:
    return key_of(trial.cell.settings, trial.seed)


def _known(trial: Any) -> tuple[Settings, int]:
    return trial.user_attrs["settings"], trial.user_attrs["seed"]


def _suggest(trial: Any, name: str, space: Range | list[Any]) -> object:
    if isinstance(space, list):
        return trial.suggest_categorical(name, space)
    low, high = ends(name, space)
    if is_whole(name):
        return trial.suggest_int(name, low, high, step=space.step or 1, log=space.log)
    return trial.suggest_float(name, low, high, log=space.log)


def _training_seconds(recipes: list[Recipe], threads: int) -> float:
    """About how long a training takes here in the mean, with so many threads."""
    timed = [recipe for recipe in recipes if not (recipe.steps or recipe.images)]
    others = [recipe for recipe in recipes if recipe.steps or recipe.images]
    measured = others[:: max(1, math.ceil(len(others) / MAX_MEASURED))]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        seconds = [_by_images(recipe) for recipe in measured]
    finally:
        torch.set_num_threads(before)
    by_time = sum((60 * (recipe.minutes or math.inf)) * (1 + recipe.evaluation_share) for recipe in timed)
    return (by_time + (fmean(seconds) * len(others) if others else 0.0)) / len(recipes)


def _by_images(recipe: Recipe) -> float:
    recipe, dataset = resolve(recipe, dry=True)
    images = min((recipe.steps or math.inf) * recipe.batch_size * recipe.discriminator_steps, recipe.images or math.inf)
    seconds = images / images_a_second(recipe, dataset.train.item_shape)
    return min(seconds, 60 * (recipe.minutes or math.inf)) * (1 + recipe.evaluation_share)
