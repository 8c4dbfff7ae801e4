"""A study's results: tables as Markdown and CSV, and plots."""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from sparring.errors import UsageError
from sparring.files import write_atomically
from sparring.metrics import Estimate
from sparring.study.comparison import PairedComparison, Values, compare, mean_over_seeds
from sparring.study.plan import METRICS
from sparring.study.study import Study
from sparring.study.trial import Trial, seconds_spent
from sparring.training.plots import races, save, strips
from sparring.training.run_folder import Run

NUM_BEST = 10  # how many trials of a search are listed
SIGNIFICANCE = 0.05  # corrected p-values below this are called a difference

SETTINGS_HEAD = "setting | seeds | {}, 95 % interval | median | least–largest | failed | training, s | with card, s"
PAIRS_HEAD = "A | B | seeds | {}, 95 % interval | P(A is better) | effect size d | p (paired t{}, Holm)"
SEARCH_NOTE = """
Each setting was trained once, and the best of many is partly luck: this is no winner yet. To find out how good these
are, train them with several seeds:
"""


@dataclass(frozen=True)
class StudyReport:
    """The results of a study."""

    text: str  # tables and sentences in Markdown
    comparisons: dict[str, list[PairedComparison]]  # the pairs of settings by data
    path: Path  # of report.md, which holds the text
    plots: list[Path]  # for each data set: a point for each seed, and quality against training time


def report(study: Study) -> StudyReport:
    """Write report.md and the plots into the study's folder."""
    plan, trials = study.plan, study.trials()
    if not any(trial.result for trial in trials):
        raise UsageError(f"no trial of {study.file} has ended yet: run `sparring study {study.file}`")
    over = [trial for trial in trials if trial.is_over]
    hours = sum(seconds_spent(study.trial_folder(trial.number)) for trial in over) / 3600
    num_pruned = sum(trial.state == "pruned" for trial in over)
    pruned = f", {num_pruned} were pruned" if num_pruned else ""
    lines = [
        f"# {study.file.stem}\n\n"
        f"{len(over)} of {study.num_trials} trials have ended{pruned}; they took {hours:.2g} hours in all. The figure "
        f"is `{plan.metric}` of {plan.num_samples:,} samples; {'less' if plan.less_is_better else 'more'} is better.\n"
    ]
    comparisons, plots = {}, list[Path]()
    for data in dict.fromkeys(trial.cell.data for trial in trials):
        among = [trial for trial in trials if trial.cell.data == data]
        values: Values = {}
        for trial in among:
            if trial.result and trial.result.value is not None:
                values.setdefault(trial.cell.name, {})[trial.seed] = trial.result.value
        if not values:
            continue
        extractors = {trial.result.extractor for trial in among if trial.result and trial.result.extractor}
        if len(extractors) > 1:
            raise UsageError(
                f"the trials on {data} were measured by {' and by '.join(sorted(extractors))}, whose figures cannot be "
                f"compared: give {study.file} another name, and run all of it with the same packages installed"
            )
        lines += [f"## {data}", ""]
        if plan.search:
            lines += _describe_search(study, among)
        else:
            by_ratio = METRICS[plan.metric].has_scale and all(v > 0 for each in values.values() for v in each.values())
            means = {name: mean_over_seeds([*each.values()], by_ratio=by_ratio) for name, each in values.items()}
            ranked = sorted(values, key=lambda name: means[name].value, reverse=not plan.less_is_better)
            values = {name: values[name] for name in ranked}
            comparisons[data] = compare(values, less_is_better=plan.less_is_better, by_ratio=by_ratio)
            lines += _describe_grid(among, values, means, comparisons[data], by_ratio)
            plots.append(study.folder / f"{len(plots) + 1}-{Path(data).stem}-seeds.png")
            save(strips({name: [*each.values()] for name, each in values.items()}, plan.metric), plots[-1])
            lines += ["", f"![a point for each seed]({plots[-1].name})"]
        curves: dict[str, list[tuple[list[float], list[float]]]] = {}
        for trial in among:
            log = Run(study.trial_folder(trial.number) / "run").log()
            if measured := [line for line in log if "distance" in line.get("evaluation", {})]:
                curve = [line["seconds"] for line in measured], [line["evaluation"]["distance"] for line in measured]
                curves.setdefault("a trial" if plan.search else trial.cell.name, []).append(curve)
        if curves:
            plots.append(study.folder / f"{len(plots) + 1}-{Path(data).stem}.png")
            save(races(curves, "distance to the data, measured during the training"), plots[-1])
            lines += ["", f"![quality against training time]({plots[-1].name})"]
        lines.append("")
    failed = [(trial, trial.result.reason) for trial in trials if trial.result and trial.result.value is None]
    if failed:
        lines += ["## Failed", "", "They are left out of the means above, so compare with care.", ""]
        lines += [f"- {trial.cell.name}, {trial.cell.data}, seed {trial.seed}: {reason}" for trial, reason in failed]
    text = "\n".join(lines).strip() + "\n"
    path = study.folder / "report.md"
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8"))
    write_atomically(study.folder / "trials.csv", lambda beside: _write_csv(trials, plan.metric, beside))
    return StudyReport(text, comparisons, path, plots)


def _write_csv(trials: list[Trial], metric: str, path: Path) -> None:
    """A row for each trial that has ended."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "setting", "data", "seed", metric, "training_seconds", "total_seconds", "state"])
        for trial in trials:
            if (result := trial.result) is not None:
                numbers = result.value, result.seconds, result.total_seconds
                writer.writerow([trial.number, trial.cell.name, trial.cell.data, trial.seed, *numbers, trial.state])


def _table(head: str, rows: Iterable[Iterable[object]]) -> list[str]:
    """A table in Markdown."""
    texts = (" | ".join(str(value).replace("|", "\\|") for value in row) for row in rows)
    return [f"| {head} |", "|---" * (head.count("|") + 1) + "|", *(f"| {text} |" for text in texts)]


def _describe_grid(
    trials: list[Trial], values: Values, means: dict[str, Estimate], pairs: list[PairedComparison], by_ratio: bool
) -> list[str]:
    """The settings, best first; their differences; and the winner, if there is one."""
    rows, failed = [], set[str]()
    for name in dict.fromkeys([*values, *(trial.cell.name for trial in trials if trial.result)]):
        results = [trial.result for trial in trials if trial.cell.name == name and trial.result]
        measured, own = [each for each in results if each.value is not None], [*values.get(name, {}).values()]
        figures, times = ["–"] * 3, ["–"] * 2
        if own:
            mean = means[name]
            interval = f"{mean.low:.4g} to {mean.high:.4g}" if len(own) > 1 else "one seed"
            figures = [f"{mean.value:.4g} ({interval})", f"{median(own):.4g}", f"{min(own):.4g}–{max(own):.4g}"]
            columns = [each.seconds for each in measured], [each.total_seconds for each in measured]
            times = [f"{fmean(column):.0f}" for column in columns]
        if num_failed := len(results) - len(measured):
            failed.add(name)
        rows.append([name, len(own), *figures, num_failed, *times])
    lines = _table(SETTINGS_HEAD.format("geometric mean" if by_ratio else "mean"), rows)
    if pairs:
        lines += ["", *_table(PAIRS_HEAD.format(*(("A / B", " of log A/B") if by_ratio else ("A − B", ""))), (
            (pair.first, pair.second, pair.num_seeds,
             f"{pair.difference.value:.4g} ({pair.difference.low:.4g} to {pair.difference.high:.4g})",
             f"{pair.probability:.3f}", f"{pair.effect:+.2f}", f"{pair.p_value:.2g}")
            for pair in pairs
        ))]  # fmt: skip
    return [*lines, "", verdict(list(values), pairs, failed)]


def verdict(ranked: Sequence[str], pairs: Sequence[PairedComparison], failed: set[str]) -> str:
    """Which of the settings, best mean first, is best, as far as the pairs show it and its trainings did not fail."""
    best, *others = ranked
    if best in failed:
        return f"{best} has the best mean, but some of its trainings failed: no winner."
    if not others:
        return f"There is only {best}: nothing to compare."
    sure = [pair for pair in pairs if pair.p_value < SIGNIFICANCE]
    beaten = {pair.second for pair in sure if pair.first == best and pair.probability > 0.5}
    beaten |= {pair.first for pair in sure if pair.second == best and pair.probability < 0.5}
    if doubtful := [name for name in others if name not in beaten]:
        return f"{best} has the best mean, but is not shown to be better than {', '.join(doubtful)}: no winner."
    return f"{best} is better than each of the others (p < {SIGNIFICANCE} after Holm's correction)."


def _describe_search(study: Study, trials: list[Trial]) -> list[str]:
    """The best trials, and lines to paste into a grid."""
    measured = [(trial, trial.result.value) for trial in trials if trial.result and trial.result.value is not None]
    best = sorted(measured, key=lambda pair: pair[1], reverse=not study.plan.less_is_better)[:NUM_BEST]
    rows = ((trial.number, trial.cell.name, f"{value:.4g}") for trial, value in best)
    variants = []
    for number, (trial, _) in enumerate(best[:3], start=1):
        own = {name: value for name, value in trial.cell.settings.items() if study.plan.settings.get(name) != value}
        variants += ["[[variants]]", f'name = "{number}"']
        variants += [f"{name} = {json.dumps(value)}" for name, value in own.items()]  # TOML writes these values alike
    return [*_table(f"trial | setting | {study.plan.metric}", rows), SEARCH_NOTE, "```toml", *variants, "```"]
