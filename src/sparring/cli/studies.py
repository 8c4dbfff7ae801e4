"""The commands that train many times: benchmarks and studies."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, Positional, arg

from sparring.cli.options import Flag, Number, option
from sparring.errors import UnknownNameError, UsageError


@dataclass(frozen=True)
class BenchCommand:
    """Run a benchmark: check exact statements, count modes, or make items worse to see which figures notice it."""

    name: Annotated[Positional[str], arg(metavar="WHAT")]  # theory, modes or metrics.
    seeds: Number = None  # The number of trainings of each task; by default 10, and 3 of the slow one (modes).
    tasks: Annotated[tuple[str, ...], arg(metavar="TASK")] = ()  # ring, grid, stacked-digits; by default all (modes).
    as_json: Annotated[bool, FlagCreatePairsOff, arg(name="json", help_behavior_hint="")] = False
    """Print JSON instead of tables."""
    quick: Flag = False  # Fewer random cases (theory), shorter trainings (modes), or no slow figures (metrics).

    def run(self, arguments: list[str]) -> int:
        """Run the benchmark, and print the results."""
        if self.seeds is not None and self.seeds < 1:
            raise UsageError(f"--seeds must be at least 1, not {self.seeds}")
        if self.name not in ("theory", "modes", "metrics"):
            raise UnknownNameError("benchmark", self.name, ["theory", "modes", "metrics"])
        from sparring.bench import checks, corruptions, modes

        others = {"theory": checks.run, "metrics": corruptions.run}
        if self.name in others:
            return others[self.name](self.quick, self.as_json)
        return modes.run(self.tasks, self.seeds, self.quick, self.as_json)


@dataclass(frozen=True)
class StudyCommand:
    """Run many trainings and compare them; `report FILE.toml` shows the results so far."""

    words: Annotated[Positional[tuple[str, ...]], arg(metavar="[report] FILE.toml")]
    """A grid or a search (docs/studies.md). The same command continues a stopped study."""
    workers: Number = None  # The number of parallel trainings on this machine; by default one per core.
    ray: Annotated[str | None, option("ADDRESS")] = None  # Run on a Ray cluster instead: auto, or HOST:PORT.
    dry_run: Flag = False  # Estimate the cost, and stop.

    def run(self, arguments: list[str]) -> int:
        """Run the rest of the study, and print its report."""
        from rich.console import Console
        from rich.markdown import Markdown

        from sparring.study.engines import Cluster, Local
        from sparring.study.report import report
        from sparring.study.study import Study
        from sparring.study.trial import Trial

        is_report = len(self.words) == 2 and self.words[0] == "report"
        if len(self.words) != 1 + is_report:
            raise UsageError("give one file: sparring study FILE.toml, or sparring study report FILE.toml")
        study, begun, printed = Study(self.words[-1]), set[int](), set[int]()

        def show_results(trials: list[Trial]) -> None:
            for trial in trials:
                name = f"{trial.cell.name}, {Path(trial.cell.data).name}, seed {trial.seed}"
                if trial.state == "running" and trial.number not in begun:
                    begun.add(trial.number)
                    print(f"training {name}", flush=True)
                if trial.state not in ("waiting", "running") and trial.number not in printed:
                    printed.add(trial.number)
                    value = trial.result.value if trial.result else None
                    result = trial.state if value is None else f"{value:.4g}"
                    print(f"{len(printed)} of {study.num_trials}: {name}: {result}", flush=True)

        if not is_report:
            if self.ray is not None and self.workers is not None:
                raise UsageError("--workers is for this machine, and a Ray cluster has its own number: omit one")
            engine = Local(self.workers) if self.ray is None else Cluster(self.ray)
            print(f"{study}: checking them, and measuring the speed here", flush=True)
            print(study.cost(engine), flush=True)
            if self.dry_run:
                return 0
            study.run(engine, show_results)
        results, console = report(study), Console()
        console.print(Markdown(results.text)) if console.is_terminal else print(results.text)
        print("saved as", *(str(path) for path in (results.path, *results.plots)))
        return 0
