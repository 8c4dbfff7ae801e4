"""How long the live page waits for its server with many long runs.

    python benchmarks/page.py [--runs 50] [--lines 50000]

It makes runs in a temporary folder and times, over HTTP, the page itself, the list of runs, the logs of all of them,
the same once more, and what a page asks for each second while all of them go on. The limit is one second for each but
two: the page, which waits for PyTorch, and all logs for the first time, which no page asks for at once.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

LIMIT_SECONDS = 1.0
PAGE = "the page, while PyTorch is being loaded"
ALL = "all logs, for the first time"


def main() -> None:
    """Make the runs, time the requests, and exit with 1 if one takes too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--lines", type=int, default=50_000)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        names = [f"run-{number}" for number in range(options.runs)]
        log = make_log(options.lines)
        for name in names:
            make_run(Path(folder) / name, log)
        total = options.runs * len(log)
        print(f"{options.runs} runs of {options.lines:,} lines, {total / 1e6:,.0f} MB of logs")
        seconds = measure(Path(folder), log)
    for what, took in seconds.items():
        print(f"{took:6.3f} s  {what}")
    sys.exit(max(took for what, took in seconds.items() if what not in (PAGE, ALL)) > LIMIT_SECONDS)


def make_log(num_lines: int) -> bytes:
    """A log as a training writes it, with an evaluation in every hundredth line."""
    draw, lines = random.Random(0), []
    names = [f"{name}_{kind}" for name in ("discriminator", "generator") for kind in ("loss", "gradient_norm")]
    names += ["penalty", "real_probability", "fake_probability"]
    for number in range(num_lines):
        step = 20 * number
        line: dict[str, object] = {"step": step, "images": 32 * step, "seconds": round(0.8 * number, 3)}
        line |= {"progress": round(number / num_lines, 4)} | {name: draw.random() for name in names}
        if number % 100 == 0:
            figures = ("seconds", "distance", "distance_error", "coverage", "precision", "recall", "separation")
            line |= {"evaluation": {name: draw.random() for name in figures}, "alarms": []}
        lines.append(json.dumps(line))
    return ("\n".join(lines) + "\n").encode()


def make_run(path: Path, log: bytes) -> None:
    """A run's folder with a log and what the list of runs shows."""
    path.mkdir()
    (path / "log.jsonl").write_bytes(log)
    (path / "recipe.json").write_text(json.dumps({"recipe": {"data": "digits"}, "versions": {}}))
    summary = {"status": "finished", "steps": 1_000_000, "images": 32_000_000, "seconds": 40_000.0, "health": []}
    (path / "summary.json").write_text(json.dumps(summary | {"metrics": {"distance": 0.1}, "reason": ""}))


def measure(folder: Path, log: bytes) -> dict[str, float]:
    """The seconds that each kind of request takes, by what it is."""
    command = [sys.executable, "-m", "sparring", "watch", str(folder), "--no-open"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address, seconds = urlsplit(server.stdout.readline().strip()), dict[str, float]()
    with closing(HTTPConnection(address.netloc)) as connection:
        cookie = f"sparring-{address.port}={address.query.removeprefix('token=')}"

        def get(path: str) -> bytes:
            connection.request("GET", path, headers={"cookie": cookie})
            answer = connection.getresponse()
            assert answer.status == 200
            return answer.read()

        def time_of(what: str, paths: list[str]) -> list[bytes]:
            start = time.perf_counter()
            answers = [get(path) for path in paths]
            seconds[what] = time.perf_counter() - start
            return answers

        time_of(PAGE, ["/"])
        runs = json.loads(time_of("the list of runs, for the first time", ["/api/runs"])[0])["runs"]
        time_of("the list of runs", ["/api/runs"])
        paths = [f"/api/runs/{run['id']}/log" for run in runs]
        time_of("one log, for the first time", paths[:1])
        logs = [json.loads(answer) for answer in time_of(ALL, paths)]
        assert all(1500 < len(each["lines"]) < 3000 and each["lines"][-1]["step"] for each in logs)
        time_of("all logs", paths)
        for run in folder.iterdir():
            with (run / "log.jsonl").open("ab") as file:
                file.write(log[: log.index(b"\n") + 1])
        news = [f"{path}?after={each['after']}" for path, each in zip(paths, logs, strict=True)]
        answers = time_of("one new line of each run, and the list", ["/api/runs", *news])
        assert all(len(json.loads(answer)["lines"]) == 1 for answer in answers[1:])
    server.terminate()
    server.wait()
    return seconds


if __name__ == "__main__":
    main()
