"""Run a study: which trial comes next, and what became of the others, stored by Optuna so that nothing is repeated."""

import math
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain, product
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from filelock import FileLock, Timeout

from sparring.errors import UsageError
from sparring.evaluation.card import check_figure
from sparring.files import read_json, write_json
from sparring.modalities import RECIPES
from sparring.modalities.modality import Modality
from sparring.study.database import open_database
from sparring.study.engines import Engine, Local
from sparring.study.plan import Cell, read_plan, request_training, suggest
from sparring.study.trial import Trial, TrialResult, TrialTask, make_key
from sparring.training.progress import describe_seconds
from sparring.training.recipe import Recipe
from sparring.training.resolve import images_per_second, resolve
from sparring.training.run_folder import Run
from sparring.training.stopping import catch_signals

MAX_CRASHES = 3  # give up on a trial after this many; it is tried again the next time the study is run
POLL_SECONDS = 0.2
NUM_LOOKS = 10  # a search compares a trial with the others after each tenth of its training
LOOK_SHARE = 0.01  # spend at most this share of the time on reading a trial's log
CARD_SECONDS = 30.0  # the time that a trial takes before and after its training
MAX_TIMED = 4  # measure the speed of at most this many recipes


@dataclass(frozen=True)
class StudyCost:
    """What is left to run."""

    trials: int  # how many
    hours: float  # roughly
    where: str  # in words

    def __str__(self) -> str:
        return f"{self.trials} trainings, {self.where}: about {describe_seconds(3600 * self.hours)}"


class Study:
    r"""Many trainings, which can be stopped and resumed at any moment.

    Its folder is the file's path without .toml: a database, and each trial with its run.

    Args:
        file: a TOML file, as docs/studies.md describes it.

    Raises:
        UsageError: if something in the file is wrong.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "games.toml"
        >>> _ = file.write_text('seeds = 3\n[settings]\nsteps = 50\n[grid]\nobjective = ["hinge", "minimax"]')
        >>> Study(file).num_trials  # `run` runs them, and `sparring.study.report.report` compares
        6
    """

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)
        self.plan = read_plan(self.file)
        self.folder = self.file.resolve().with_suffix("")
        if self.file.suffix != ".toml":
            raise UsageError(f"the name of a study's file must end in .toml, and is {self.file}")
        url = f"sqlite:///{self.folder / 'study.sqlite3'}" if self.plan.storage is None else self.plan.storage
        kind, _, path = url.partition("sqlite:///")
        self._url = f"sqlite:///{self.folder.parent / path}" if path and not kind else url  # beside the study's file
        names = {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else set()
        own = ("study.sqlite3", Path(self._url).name, ".")  # a study that was killed early has no study.json
        if "study.json" not in names and not all(name.startswith(own) for name in names):
            raise UsageError(
                f"the study's folder would be {self.folder}, which holds something else: give {self.file} another name"
            )
        # The cells and seeds of a grid by their keys; seed by seed, so that settings can be compared early.
        pairs = product(self.plan.each_seed, [] if self.plan.search else self.plan.cells)
        self.wanted = {make_key(cell.settings, seed): (cell, seed) for seed, cell in pairs}
        self.num_trials = self.plan.search.trials if self.plan.search else len(self.wanted)

    def __repr__(self) -> str:
        return f"Study({str(self.file)!r}): {self.num_trials} trainings by {self.plan.metric}"

    def trials(self) -> list[Trial]:
        """All trials so far; of a grid, those that the file asks for."""
        if not (self.folder / "study.json").exists():
            return []
        with self._open() as store:
            return list(self.trials_in(store).values())

    def trials_in(self, store: Any) -> dict[object, Trial]:
        """The same, from Optuna's study: those of a grid by their keys, those of a search by their numbers."""
        found: dict[object, Trial] = {}
        for each in store.get_trials(deepcopy=False):
            if "settings" not in each.user_attrs:  # it has just been created
                continue
            name, settings, seed = (each.user_attrs[key] for key in ("name", "settings", "seed"))
            key = make_key(settings, seed) if self.wanted else each.number
            if self.wanted and key not in self.wanted:
                continue
            cell = self.wanted[key][0] if self.wanted else Cell(name, settings)
            path = self.trial_folder(each.number) / "result.json"
            state = {"COMPLETE": "finished", "FAIL": "failed"}.get(each.state.name, each.state.name.lower())
            result = read_json(path, TrialResult) if state in ("finished", "failed") and path.exists() else None
            found[key] = Trial(each.number, cell, seed, state, result)  # in a grid, replaces an attempt that died
        return found

    def trial_folder(self, number: int) -> Path:
        """The folder of a trial."""
        return self.folder / "trials" / f"{number:04d}"

    @cached_property
    def recipes(self) -> list[tuple[Recipe, Modality]]:
        """The complete recipes, each with the modality of its data. Completing them checks the study."""
        found = []
        for request in self.plan.requests():
            recipe, dataset = resolve(request, dry=True)
            check_figure(self.plan.metric, self.plan.num_samples, recipe.conditional, dataset)
            asked = {**(RECIPES[request.preset].settings if request.preset else {}), **request.settings}
            is_given = asked.get("size") or (self.plan.search and "size" in self.plan.search.space)
            if dataset.survey and len(dataset.survey.choices) > 1 and recipe.minutes and recipe.size and not is_given:
                size = recipe.size[0] if len(set(recipe.size)) == 1 else list(recipe.size)
                raise UsageError(
                    f"each training would choose a size for the images of {recipe.data} by its own speed: to compare "
                    f"them, give size in [settings], such as size = {size}"
                )
            found.append((recipe, dataset.modality))
        return found

    def cost(self, engine: Engine | None = None) -> StudyCost:
        """What is left to run, and roughly how long it takes on an engine, as in `run`."""
        recipes, engine = self.recipes, engine or Local()
        over = [trial for trial in self.trials() if trial.is_over]
        left = max(0, self.num_trials - len(over))
        known = [trial.result.total_seconds for trial in over if trial.result and trial.result.value is not None]
        seconds = fmean(known) if known else _estimate_seconds(recipes, engine.num_threads) if left else 0.0
        hours = math.ceil(left / engine.num_slots) * seconds / 3600
        return StudyCost(left, min(hours, (self.plan.search and self.plan.search.hours) or hours), engine.description)

    def run(
        self, engine: Engine | None = None, on_progress: Callable[[list[Trial]], object] = lambda trials: None
    ) -> None:
        """Run what has not been run.

        Args:
            engine: where; this machine's cores if None.
            on_progress: given all trials whenever one starts or ends.

        Raises:
            UsageError: if a name does not exist, settings do not fit together, another process is running this study,
                or the database cannot be used.
            KeyboardInterrupt: on Ctrl-C, after all trials have saved.
        """
        _ = self.recipes  # checked before hours are spent
        with self._lock(), self._open() as store:
            _Session(self, store, engine or Local(), on_progress).run()

    def _open(self) -> AbstractContextManager[Any]:
        return open_database(self._url, self.file.stem, self.folder, self.plan)

    def _lock(self) -> AbstractContextManager[object]:
        """Keep other processes from running this study, until the context or this process ends."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return FileLock(self.folder / ".lock").acquire(blocking=False)
        except Timeout:
            raise UsageError(f"another process is running the study {self.file}: wait for it, or stop it") from None
        except OSError as error:
            raise UsageError(f"cannot write to the study's folder {self.folder}: {error.strerror}") from error


def _estimate_seconds(recipes: list[tuple[Recipe, Modality]], num_threads: int) -> float:
    """How long a trial takes here on average, with so many threads."""

    def estimate(recipe: Recipe, modality: Modality) -> float:
        images = min((recipe.steps or math.inf) * recipe.images_per_step, recipe.images or math.inf)
        seconds = images / images_per_second(recipe, modality) if images < math.inf else math.inf
        return min(seconds, 60 * (recipe.minutes or math.inf)) * (1 + recipe.evaluation_share)

    others = [pair for pair in recipes if pair[0].steps or pair[0].images]
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        total = sum(estimate(*pair) for pair in recipes if pair not in others)  # those by minutes alone
        if others:
            total += len(others) * fmean(estimate(*pair) for pair in others[:: math.ceil(len(others) / MAX_TIMED)])
        return total / len(recipes) + CARD_SECONDS
    finally:
        torch.set_num_threads(before)


@dataclass
class _Running:
    """A running trial: Optuna's, the engine's, and when to read its log again."""

    trial: Any
    handle: Any
    num_crashes: int = 0
    is_pruned: bool = False
    next_look: float = 0.0


class _Session:
    """Keeps the engine busy until all trials are over or a signal comes."""

    def __init__(self, study: Study, store: Any, engine: Engine, on_progress: Callable[[list[Trial]], object]) -> None:
        self.study, self.plan, self.search = study, study.plan, study.plan.search
        self.store, self.engine, self.on_progress = store, engine, on_progress
        self.running: list[_Running] = []
        self.earlier = {trial.number: trial for trial in study.trials_in(store).values()}
        self.deadline = time.monotonic() + 3600 * ((self.search and self.search.hours) or math.inf)

    def run(self) -> None:
        import optuna

        interrupted = [  # when the study was killed
            optuna.Trial(self.store, each._trial_id)
            for each in self.store.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING])
            if each.number in self.earlier or self.search
        ]
        trials = chain(interrupted, iter(self._next_trial, None))
        with catch_signals() as signals:
            try:
                while not signals:
                    while len(self.running) < self.engine.num_slots and not signals and (trial := next(trials, None)):
                        self.running.append(_Running(trial, self.engine.start(self._prepare(trial))))
                        self.on_progress(list(self.study.trials_in(self.store).values()))
                    if not self.running and not signals:
                        return
                    for each in list(self.running):
                        if (code := self.engine.exit_code(each.handle)) is not None:
                            self._handle_end(each, code)
                            self.on_progress(list(self.study.trials_in(self.store).values()))
                        elif self.search and not each.is_pruned:
                            self._prune_if_poor(each)
                    time.sleep(POLL_SECONDS)
            finally:
                for each in self.running:
                    self.engine.stop(each.handle)
                for each in self.running:
                    with suppress(UsageError):  # which ended the loop
                        while self.engine.exit_code(each.handle) is None:  # it is still saving
                            time.sleep(POLL_SECONDS)
        if signals[0] == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(0 if signals[0] == signal.SIGUSR1 else 128 + signals[0])

    def _next_trial(self) -> Any:
        """Create Optuna's next trial; None if nothing is left to start."""
        if self.search:
            num_died = sum(trial.has_died for trial in self.earlier.values())
            is_enough = len(self.store.get_trials(deepcopy=False)) - num_died >= self.search.trials
            return None if is_enough or time.monotonic() > self.deadline else self.store.ask()
        trials = self.study.trials_in(self.store)
        for key, (cell, seed) in self.study.wanted.items():
            before = trials.get(key)
            if before and not (before.has_died and before == self.earlier.get(before.number)):
                continue
            trial = self.store.ask()
            _describe(trial, cell, seed)
            if before:  # go on from where it died
                old, new = (self.study.trial_folder(number) for number in (before.number, trial.number))
                new.mkdir(parents=True, exist_ok=True)
                for name in ("run", "spent.json"):
                    with suppress(FileNotFoundError):
                        (old / name).rename(new / name)
            return trial
        return None

    def _prepare(self, trial: Any) -> Path:
        """Write a trial's task into its folder; in a search, choose the settings of a new trial first."""
        if "settings" not in trial.user_attrs:
            assert self.search is not None
            chosen = {name: suggest(trial, name, space) for name, space in self.search.space.items()}
            shown = {name: f"{value:.3g}" if isinstance(value, float) else value for name, value in chosen.items()}
            cell = Cell(", ".join(f"{name}={value}" for name, value in shown.items()), self.plan.settings | chosen)
            before = self.store.get_trials(deepcopy=False)[: trial.number]
            _describe(trial, cell, seed=sum(each.user_attrs.get("settings") == cell.settings for each in before))
        settings, seed = trial.user_attrs["settings"], trial.user_attrs["seed"]
        data = request_training(settings, seed).data  # its path, wherever the trial runs
        task = TrialTask(settings | {"data": data}, seed, self.plan.metric, self.plan.num_samples, self.plan.full_card)
        folder = self.study.trial_folder(trial.number)
        path = folder / "task.json"
        if path.exists() and read_json(path, TrialTask) != task:
            raise UsageError(
                f"{path} was written for another training (of another study, or of data in another place): put the "
                f"data back, or delete {folder} to start this trial anew"
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(task))
        return folder

    def _handle_end(self, each: _Running, code: int) -> None:
        """Record how a trial ended, or start it again after a crash."""
        from optuna.trial import TrialState

        folder = self.study.trial_folder(each.trial.number)
        path, output = folder / "result.json", folder / "output.txt"
        result = read_json(path, TrialResult) if path.exists() else None
        if (result is None or result.status == "died") and not each.is_pruned:
            each.num_crashes += 1
            if each.num_crashes < MAX_CRASHES:
                each.handle = self.engine.start(folder)
                return
            text = output.read_text(errors="replace").strip() if output.exists() else ""
            last = f"{text.splitlines()[-1].strip()} ({output})" if text else "it printed nothing"
            reason = f"its process died {MAX_CRASHES} times, the last time with exit code {code}: {last}"
            result = TrialResult("died", None, 0.0, 0.0, reason)
            write_json(path, asdict(result))
        self.running.remove(each)
        value = result.value if result else None
        state = TrialState.COMPLETE if value is not None else TrialState.FAIL if result else TrialState.PRUNED
        self.store.tell(each.trial, value, state)

    def _prune_if_poor(self, each: _Running) -> None:
        """Report one evaluation of each tenth of a trial, and stop it if it is worse than most."""
        start = time.monotonic()
        if start < each.next_look:
            return
        log = Run(self.study.trial_folder(each.trial.number) / "run").log()
        each.next_look = start + (time.monotonic() - start) / LOOK_SHARE
        reported = set(self.store.get_trials(deepcopy=False)[each.trial.number].intermediate_values)
        sign = 1 if self.plan.less_is_better else -1
        for line in log:
            tenth, figures = int(NUM_LOOKS * line["progress"]), line.get("evaluation", {})
            if "distance" not in figures or not 0 < tenth < NUM_LOOKS or tenth in reported:
                continue
            each.trial.report(figures.get(self.plan.metric, sign * figures["distance"]), tenth)
            reported.add(tenth)
            if each.trial.should_prune():
                each.is_pruned = True
                self.engine.stop(each.handle)
                return


def _describe(trial: Any, cell: Cell, seed: int) -> None:
    """Store what Optuna's trial is about."""
    for name, value in (("name", cell.name), ("seed", seed), ("settings", cell.settings)):
        trial.set_user_attr(name, value)
