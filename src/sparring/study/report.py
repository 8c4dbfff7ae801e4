"""A study's results: tables as Markdown, and a plot of quality against training time."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from sparring import pictures
from sparring.errors import UsageError
from sparring.files import read_json, write_atomically
from sparring.run import Run
from sparring.study.comparison import Comparison, compare, mean_over_seeds
from sparring.study.study import Study, Trial
from sparring.study.trial import Spent

NUM_BEST = 10
"""Trials of a search that are listed."""
SURE = 0.05
"""The corrected p-value below which a difference is called one."""


@dataclass(frozen=True)
class Report:
    """What came of a study.

    Args:
        text: tables and sentences, in Markdown; also in report.md.
        comparisons: the pairs of settings by data.
        path: of report.md.
        plots: quality against training time, one picture for each data set.
    """

    text: str
    comparisons: dict[str, list[Comparison]]
    path: Path
    plots: list[Path]


def report(study: Study) -> Report:
    """Write report.md and the plots into the study's folder.

    Raises:
        UsageError: if no trial has ended yet.
    """
    trials = study.trials()
    if not any(trial.result for trial in trials):
        raise UsageError(f"no trial of {study.file} has ended yet: play it with `sparring study {study.file}`")
    sections, comparisons, plots = [f"# {study.file.stem}", "", _how_far(study, trials), ""], {}, list[Path]()
    for data in dict.fromkeys(trial.cell.data for trial in trials):
        among = [trial for trial in trials if trial.cell.data == data]
        if not any(trial.result and trial.result.value is not None for trial in among):
            continue
        sections += [f"## {data}", ""]
        if study.plan.search is not None:
            sections += _of_search(study, among)
        else:
            values = _ranked(study, among)
            comparisons[data] = compare(values, less_is_better=study.plan.direction == "minimize")
            sections += _of_grid(among, values, comparisons[data])
        if lines := _lines(study, among):
            plots.append(study.folder / f"{len(plots) + 1}-{Path(data).stem}.png")
            pictures.save(pictures.races(lines, "distance to the data, measured during the training"), plots[-1])
            sections += ["", f"![quality against training time]({plots[-1].name})"]
        sections.append("")
    sections += _failures(trials)
    text = "\n".join(sections).strip() + "\n"
    path = study.folder / "report.md"
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8"))
    return Report(text, comparisons, path, plots)


def _how_far(study: Study, trials: list[Trial]) -> str:
    over = [trial for trial in trials if trial.is_over]
    hours = sum(_seconds(study, trial) for trial in over) / 3600
    pruned = sum(trial.state == "pruned" for trial in over)
    return (
        f"{len(over)} of {study.num_trials} trials have ended{f', {pruned} were pruned' if pruned else ''}; they took "
        f"{hours:.2g} hours, one after another. The figure is `{study.plan.metric}` of {study.plan.num_samples:,} "
        f"samples; {'less' if study.plan.direction == 'minimize' else 'more'} is better."
    )


def _seconds(study: Study, trial: Trial) -> float:
    """Of a trial that is over, with its card if it has one."""
    path = study.trial_folder(trial.number) / "spent.json"
    return read_json(path, Spent).seconds if path.exists() else 0.0


def _ranked(study: Study, trials: Sequence[Trial]) -> dict[str, dict[int, float]]:
    """The values by setting and seed, from the best mean on."""
    found: dict[str, dict[int, float]] = {}
    for trial in trials:
        if trial.result and trial.result.value is not None:
            found.setdefault(trial.cell.name, {})[trial.seed] = trial.result.value
    worst_first = study.plan.direction == "maximize"
    return dict(sorted(found.items(), key=lambda item: fmean(item[1].values()), reverse=worst_first))


def _of_grid(trials: list[Trial], values: dict[str, dict[int, float]], pairs: list[Comparison]) -> list[str]:
    lines = [
        "| setting | seeds | mean, 95 % interval | median | least–largest | failed | training, s | with card, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys([*values, *(trial.cell.name for trial in trials if trial.result)]):
        results = [trial.result for trial in trials if trial.cell.name == name and trial.result]
        played = [result for result in results if result.value is not None]
        of = list(values.get(name, {}).values())
        if not of:
            lines.append(f"| {_cell(name)} | 0 | – | – | – | {len(results)} | – | – |")
            continue
        mean = mean_over_seeds(of)
        interval = (
            f"{mean.value:.4g} ({mean.low:.4g} to {mean.high:.4g})" if len(of) > 1 else f"{mean.value:.4g} (one seed)"
        )
        times = [fmean(each) for each in zip(*((each.seconds, each.total_seconds) for each in played), strict=True)]
        lines.append(
            f"| {_cell(name)} | {len(of)} | {interval} | {median(of):.4g} | {min(of):.4g}–{max(of):.4g} "
            f"| {len(results) - len(played)} | {times[0]:.0f} | {times[1]:.0f} |"
        )
    if pairs:
        lines += [
            "",
            "| A | B | seeds | A − B, 95 % interval | P(A is better) | effect size d | p (paired t, Holm) |",
            "|---|---|---|---|---|---|---|",
        ]
    for pair in pairs:
        difference = f"{pair.difference.value:.4g} ({pair.difference.low:.4g} to {pair.difference.high:.4g})"
        lines.append(
            f"| {_cell(pair.first)} | {_cell(pair.second)} | {pair.num_seeds} | {difference} | {pair.probability:.3f} "
            f"| {pair.effect:+.2f} | {pair.p_value:.2g} |"
        )
    failed = {trial.cell.name for trial in trials if trial.result and trial.result.value is None}
    return [*lines, "", verdict(list(values), pairs, failed)]


def verdict(ranked: Sequence[str], pairs: Sequence[Comparison], failed: set[str]) -> str:
    """Who is best, as far as the pairs show it.

    Args:
        ranked: the settings, from the best mean on.
        pairs: all of them, compared.
        failed: settings of which some training failed, so that the others are a selection.

    Example:
        >>> verdict(["A", "B"], compare({"A": {0: 1.0, 1: 2.0}, "B": {0: 1.5, 1: 2.0}}, less_is_better=True), set())
        'A has the best mean, but is not shown to be better than B: no winner there.'
    """
    best, others = ranked[0], ranked[1:]
    sure = {
        pair.second if pair.first == best else pair.first
        for pair in pairs
        if best in (pair.first, pair.second)
        and pair.p_value < SURE
        and (pair.first == best) == (pair.probability > 0.5)
    }
    doubtful = [name for name in others if name not in sure]
    if best in failed:
        return f"{best} has the best mean of what did not fail, and some of it did: no winner."
    if not others:
        return f"There is only {best} here: nothing to compare."
    if not doubtful:
        return f"{best} is better than each other one (p < {SURE} after Holm's correction)."
    return f"{best} has the best mean, but is not shown to be better than {', '.join(doubtful)}: no winner there."


def _cell(text: str) -> str:
    """In a table."""
    return text.replace("|", "\\|")


def _of_search(study: Study, trials: list[Trial]) -> list[str]:
    sign = 1 if study.plan.direction == "minimize" else -1
    played = [(trial.result.value, trial) for trial in trials if trial.result and trial.result.value is not None]
    best = sorted(played, key=lambda pair: sign * pair[0])[:NUM_BEST]
    own = [
        {name: value for name, value in trial.cell.settings.items() if study.plan.settings.get(name) != value}
        for _, trial in best
    ]
    variants = [line for number, settings in enumerate(own[:3], start=1) for line in _variant(number, settings)]
    return [
        f"| trial | setting | {study.plan.metric} |",
        "|---|---|---|",
        *(f"| {trial.number} | {_cell(trial.cell.name)} | {value:.4g} |" for value, trial in best),
        "",
        "Each was played once, and the best of many is lucky as well: this is no winner yet. To know what they are",
        "worth, play these with several seeds:",
        "",
        "```toml",
        *variants,
        "```",
    ]


def _variant(number: int, settings: dict[str, object]) -> list[str]:
    shown = {name: json.dumps(value) for name, value in settings.items()}  # which TOML writes alike
    return ["[[variants]]", f'name = "{number}"', *(f"{name} = {value}" for name, value in shown.items())]


def _lines(study: Study, trials: list[Trial]) -> dict[str, list[tuple[list[float], list[float]]]]:
    found: dict[str, list[tuple[list[float], list[float]]]] = {}
    for trial in trials:
        measured = [
            (line["seconds"], line["evaluation"]["distance"])
            for line in Run(study.trial_folder(trial.number) / "run").log()
            if "distance" in line.get("evaluation", {})
        ]
        if measured:
            seconds, distances = zip(*measured, strict=True)
            found.setdefault(trial.cell.name, []).append((list(seconds), list(distances)))
    return found if study.plan.search is None else {"a trial": [line for lines in found.values() for line in lines]}


def _failures(trials: list[Trial]) -> list[str]:
    failed = [trial for trial in trials if trial.result and trial.result.value is None]
    if not failed:
        return []
    lines = (
        f"- {trial.cell.name}, {trial.cell.data}, seed {trial.seed}: {trial.result.reason}"
        for trial in failed
        if trial.result
    )
    return ["## Failed", "", "They are left out of the means above: compare with care.", "", *lines]
