"""Which trial of a study comes next, and what became of those before: stored by Optuna, so that nothing is repeated."""

import fcntl
import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from sparring.build import images_a_second, resolve
from sparring.errors import UsageError
from sparring.files import read_json, write_json
from sparring.recipes import Recipe
from sparring.run import Run
from sparring.study.engines import Engine, Local
from sparring.study.plan import Cell, Range, ends, fixed_part, is_whole, read_plan
from sparring.study.trial import Result, Task

MAX_DEATHS = 3
"""So often the process of a trial may die before the trial counts as failed."""
POLL_SECONDS = 0.2
TENTHS = 10
"""A search looks at a trial after each tenth of its training."""
LOOKING_SHARE = 0.01
"""Of the time, at the most, goes into reading the log of a trial to see whether a tenth is over."""
MAX_SEED = 2**31 - 1
CARD_SECONDS = 30.0
"""What starting and the card at the end take about, before any trial has told."""

State = Literal["waiting", "running", "finished", "pruned", "failed"]


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


@dataclass(frozen=True)
class Cost:
    """What a study takes.

    Args:
        trials: that are still to be played.
        hours: about, with so many at once.
        where: on what, in words.
    """

    trials: int
    hours: float
    where: str

    def __str__(self) -> str:
        """In a line."""
        return f"{self.trials} trainings, {self.where}: about {self.hours:.2g} hours"


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
        if self.folder == self.file.resolve():
            raise UsageError(f"the study's file needs a name that ends in .toml, and is {self.file}")

    def cost(self, engine: Engine | None = None) -> Cost:
        """What is left to play, and how long it takes about."""
        engine = engine or Local()
        over = [trial for trial in self.trials() if trial.state in ("finished", "pruned", "failed")]
        each = [_training_seconds(recipe) for recipe in self.plan.recipes()]
        known = [trial.result.total_seconds for trial in over if trial.result and trial.result.value is not None]
        seconds = sum(known) / len(known) if known else sum(each) / len(each) + CARD_SECONDS
        left = self.num_trials - len(over)
        hours = -(-left // engine.places) * seconds / 3600
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
                study, or the database is of another one.
            KeyboardInterrupt: on Ctrl-C, after all trials have saved.
        """
        for recipe in self.plan.recipes():
            resolve(recipe, dry=True)
        with self._locked():
            store = self._store(make=True)
            _Game(self, store, engine or Local(), on_progress).play()

    def trials(self) -> list[Trial]:
        """All trials that there are so far."""
        store = self._store(make=False)
        return [] if store is None else self.all_of(store)

    def all_of(self, store: Any) -> list[Trial]:
        """The trials in a database."""
        names = {0: "running", 1: "finished", 2: "pruned", 3: "failed", 4: "waiting"}
        found = []
        for each in store.get_trials(deepcopy=False):
            params = _params(each)
            path = self.trial_folder(each.number) / "result.json"
            state = cast(State, names[int(each.state.value)])
            result = read_json(path, Result) if state in ("finished", "failed") and path.exists() else None
            found.append(Trial(each.number, self.cell_of(params), int(params.get("seed", 0)), state, result))
        return found

    def cell_of(self, params: dict[str, Any]) -> Cell:
        """The setting that Optuna's parameters stand for."""
        if self.plan.search is None:
            number: int = params["cell"]
            return self.plan.cells()[number]
        shown = {name: f"{value:.3g}" if isinstance(value, float) else value for name, value in params.items()}
        return Cell(", ".join(f"{name}={value}" for name, value in shown.items()), self.plan.settings | params)

    def trial_folder(self, number: int) -> Path:
        """Where a trial is played."""
        return self.folder / "trials" / f"{number:04d}"

    @property
    def num_trials(self) -> int:
        """How many there are in all."""
        if self.plan.search is not None:
            return self.plan.search.trials
        return len(self.plan.cells()) * len(self.plan.each_seed)

    def _store(self, make: bool) -> Any:
        """Optuna's study; without `make`, None where nothing was begun."""
        try:
            import optuna
        except ImportError:
            raise UsageError("a study needs Optuna: pip install 'sparring[study]'") from None
        from sqlalchemy.exc import SQLAlchemyError

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        url = self.plan.storage or f"sqlite:///{self.folder / 'study.sqlite3'}"
        if not make and self.plan.storage is None and not (self.folder / "study.sqlite3").exists():
            return None
        name, fixed = self.file.stem, json.loads(json.dumps(fixed_part(self.plan)))
        try:
            storage = optuna.storages.RDBStorage(url)
            begun = name in optuna.get_all_study_names(storage)
            if not begun and not make:
                return None
            pruner = optuna.pruners.MedianPruner() if self.plan.search else optuna.pruners.NopPruner()
            sampler = optuna.samplers.TPESampler(seed=0)
            store = optuna.create_study(
                storage=storage, sampler=sampler, pruner=pruner, study_name=name,
                direction=cast(Any, self.plan.direction), load_if_exists=True,
            )  # fmt: skip
            if not begun:
                store.set_user_attr("plan", fixed)
            before = store.user_attrs.get("plan")
        except (optuna.exceptions.OptunaError, SQLAlchemyError, ImportError, RuntimeError, ValueError) as error:
            raise UsageError(f"cannot use the database {url}: {_first_line(error)}") from error
        if before != fixed:
            differing = sorted(key for key in fixed if not isinstance(before, dict) or before.get(key) != fixed[key])
            raise UsageError(
                f"the database {url} is of another study named {name!r}: {', '.join(differing)} differs; set the file "
                "back, or give it another name"
            )
        return store

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


class _Game:
    """The loop of a study: it fills the places, and asks those who play how it goes."""

    def __init__(self, study: Study, store: Any, engine: Engine, on_progress: Callable[[list[Trial]], None]) -> None:
        self.study, self.plan, self.store, self.engine = study, study.plan, store, engine
        self.on_progress = on_progress
        self.playing: dict[int, tuple[Any, Any]] = {}  # by number: Optuna's trial, and the engine's
        self.deaths: dict[int, int] = {}
        self.pruned: set[int] = set()
        self.next_look: dict[int, float] = {}

    def play(self) -> None:
        from optuna.trial import Trial as Asked

        half_done = [Asked(self.store, each._trial_id) for each in self._in_state("RUNNING")]
        self._enqueue()
        until = time.monotonic() + 3600 * ((self.plan.search.hours if self.plan.search else None) or float("inf"))
        stopped: list[int] = []
        before = {number: signal.signal(number, lambda number, frame: stopped.append(number)) for number in
                  (signal.SIGINT, signal.SIGTERM)}  # fmt: skip
        try:
            while not stopped:
                while len(self.playing) < self.engine.places and not stopped:
                    asked = half_done.pop(0) if half_done else self._next(until)
                    if asked is None:
                        break
                    self._begin(asked)
                if not self.playing:
                    return
                self._look()
                time.sleep(POLL_SECONDS)
        finally:
            for _, process in self.playing.values():
                self.engine.stop(process)
            while any(self.engine.ended(process) is None for _, process in self.playing.values()):
                time.sleep(POLL_SECONDS)
            for number, handler in before.items():
                signal.signal(number, handler)
        raise KeyboardInterrupt if stopped[0] == signal.SIGINT else SystemExit(128 + stopped[0])

    def _in_state(self, *names: str) -> list[Any]:
        from optuna.trial import TrialState

        return list(self.store.get_trials(deepcopy=False, states=[TrialState[name] for name in names]))

    def _enqueue(self) -> None:
        """Of a grid, every trial that isn't there; seed after seed, so that all settings can be compared early."""
        if self.plan.search is not None:
            return
        there = [_params(each) for each in self.store.get_trials(deepcopy=False)]
        for seed in self.plan.each_seed:
            for number in range(len(self.plan.cells())):
                if (params := {"cell": number, "seed": seed}) not in there:
                    self.store.enqueue_trial(params)

    def _next(self, until: float) -> Any:
        if self.plan.search is None:
            return self.store.ask() if self._in_state("WAITING") else None
        enough = len(self.store.get_trials(deepcopy=False)) >= self.plan.search.trials
        return None if enough or time.monotonic() > until else self.store.ask()

    def _begin(self, asked: Any) -> None:
        if self.plan.search is None:
            params = {"cell": asked.suggest_int("cell", 0, MAX_SEED), "seed": asked.suggest_int("seed", 0, MAX_SEED)}
            seed = params["seed"]
        else:
            params, seed = {name: _suggest(asked, name, space) for name, space in self.plan.search.space.items()}, 0
        folder = self.study.trial_folder(asked.number)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "task.json").exists():
            settings = self.study.cell_of(params).settings
            write_json(folder / "task.json", asdict(Task(settings, seed, self.plan.metric, self.plan.num_samples)))
        self.playing[asked.number] = asked, self.engine.start(folder)
        self.on_progress(self.study.all_of(self.store))

    def _look(self) -> None:
        for number, (asked, process) in list(self.playing.items()):
            if (code := self.engine.ended(process)) is None:
                if self.plan.search is not None and number not in self.pruned:
                    self._prune(asked, process)
                continue
            del self.playing[number]
            self._tell(asked, code)
            self.on_progress(self.study.all_of(self.store))

    def _tell(self, asked: Any, code: int) -> None:
        """Store how a trial ended, or have it go on where its process died."""
        from optuna.trial import TrialState

        folder = self.study.trial_folder(asked.number)
        if (folder / "result.json").exists():
            result = read_json(folder / "result.json", Result)
            if result.value is None:
                self.store.tell(asked, state=TrialState.FAIL)
            else:
                self.store.tell(asked, result.value)
        elif asked.number in self.pruned:
            self.store.tell(asked, state=TrialState.PRUNED)
        else:
            self.deaths[asked.number] = self.deaths.get(asked.number, 0) + 1
            if self.deaths[asked.number] < MAX_DEATHS:
                self._begin(asked)
                return
            reason = f"its process died {MAX_DEATHS} times, at last with {code}: see {folder / 'output.txt'}"
            write_json(folder / "result.json", asdict(Result("failed", None, 0.0, 0.0, reason)))
            self.store.tell(asked, state=TrialState.FAIL)

    def _prune(self, asked: Any, process: Any) -> None:
        """Report what is measured during the training, once a tenth of it, and stop a trial that is worse than most."""
        start = time.monotonic()
        if start < self.next_look.get(asked.number, start):
            return
        log = Run(self.study.trial_folder(asked.number) / "run").log()
        self.next_look[asked.number] = start + (time.monotonic() - start) / LOOKING_SHARE
        reported = self.store.trials[asked.number].intermediate_values
        sign = 1 if self.plan.direction == "minimize" else -1
        for line in log:
            tenth = int(TENTHS * line["progress"])
            if "distance" in line.get("evaluation", {}) and 0 < tenth < TENTHS and tenth not in reported:
                asked.report(sign * line["evaluation"]["distance"], tenth)
                reported[tenth] = line["evaluation"]["distance"]
                if asked.should_prune():
                    self.pruned.add(asked.number)
                    self.engine.stop(process)
                    return


def _params(trial: Any) -> dict[str, Any]:
    """What a trial plays, also before it begins."""
    params: dict[str, Any] = trial.params or trial.system_attrs.get("fixed_params", {})
    return params


def _suggest(asked: Any, name: str, space: Range | list[Any]) -> object:
    if isinstance(space, list):
        return asked.suggest_categorical(name, space)
    low, high = ends(name, space)
    if is_whole(name):
        return asked.suggest_int(name, low, high, step=space.step or 1, log=space.log)
    return asked.suggest_float(name, low, high, log=space.log)


def _training_seconds(recipe: Recipe) -> float:
    """About how long a training takes here."""
    recipe, dataset = resolve(recipe, dry=True)
    if recipe.minutes is not None:
        return 60 * recipe.minutes * (1 + recipe.evaluation_share)
    images = min(
        (recipe.steps or float("inf")) * recipe.batch_size * recipe.discriminator_steps, recipe.images or float("inf")
    )
    return images / images_a_second(recipe, dataset.train.item_shape) * (1 + recipe.evaluation_share)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
