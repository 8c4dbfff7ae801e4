"""How long the live page waits for its server with many long runs, and what it costs a training.

    python benchmarks/page.py [--runs 50] [--lines 50000]
    python benchmarks/page.py --browser          # also in Chromium: needs playwright and /usr/bin/chromium
    python benchmarks/page.py --tab 50           # a training with a tab open and without, in so many turns
    python benchmarks/page.py --share 40         # what an open tab takes of one core, for so long: needs psutil

It makes runs in a temporary folder and times, over HTTP, the page itself, the list of runs, the logs of all of them,
the same once more, and what a page asks for each second while all of them go on. The limit is one second for each but
two: the meaning of the numbers, which waits for PyTorch, and all logs for the first time, which no page asks for at
once. In the browser it times how long a person waits, and how often the page is drawn while the slider moves through
eight of these runs.
"""

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

LIMIT_SECONDS = 1.0
STEPS_OF_TURN, SETTLING = 1600, 600  # steps of a training with a tab or without; those after a change do not count
META = "what the numbers mean, for which PyTorch is loaded"
ALL = "all logs, for the first time"


def main() -> None:
    """Make the runs, time the requests, and exit with 1 if one takes too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--lines", type=int, default=50_000)
    parser.add_argument("--browser", action="store_true")
    parser.add_argument("--tab", type=int, metavar="TURNS")
    parser.add_argument("--share", type=float, metavar="SECONDS")
    options = parser.parse_args()
    if options.tab:
        compare_with_tab(options.tab)
        return
    if options.share:
        print_share(options.share)
        return
    with TemporaryDirectory() as folder:
        names = [f"run-{number}" for number in range(options.runs)]
        log = make_log(options.lines)
        for name in names:
            make_run(Path(folder) / name, log)
        total = options.runs * len(log)
        print(f"{options.runs} runs of {options.lines:,} lines, {total / 1e6:,.0f} MB of logs")
        seconds = measure(Path(folder), log)
        if options.browser:
            look(Path(folder))
    for what, took in seconds.items():
        print(f"{took:6.3f} s  {what}")
    sys.exit(max(took for what, took in seconds.items() if what not in (META, ALL)) > LIMIT_SECONDS)


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
    seconds = dict[str, float]()
    with serve(folder) as url, closing(HTTPConnection((address := urlsplit(url)).netloc)) as connection:
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

        time_of("the page", ["/"])
        runs = json.loads(time_of("the list of runs, for the first time", ["/api/runs"])[0])["runs"]
        time_of(META, ["/api/meta"])
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
    return seconds


def look(folder: Path) -> None:
    """Print what a person waits for in Chromium."""
    with open_browser() as page, ExitStack() as stack:
        start = time.perf_counter()
        address = stack.enter_context(serve(folder))
        for what in ("the start of the server", "the address, once more"):
            page.goto(address)
            for there, part in (("#runs li", "the list of runs"), (".u-over", "the first curve")):
                page.locator(there).first.wait_for()
                print(f"{time.perf_counter() - start:6.3f} s  from {what} to {part}")
            start = time.perf_counter()
        for box in page.locator("#runs input[type=checkbox]").all()[1:8]:
            box.check()
        page.wait_for_function("() => document.querySelectorAll('.status').length >= 6")
        rate = page.evaluate(SCRUB)
        print(f"{rate:6.1f} pictures a second while the slider moves through eight runs")


SCRUB = """async () => {
    const slider = document.querySelector("#scrubber input");
    let frames = 0;
    const begun = performance.now();
    while (performance.now() - begun < 3000) {
        slider.value = Number(slider.max) * ((performance.now() - begun) % 1000) / 1000;
        slider.dispatchEvent(new Event("input"));
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        frames += 2;
    }
    return frames / 3;
}"""


def compare_with_tab(turns: int) -> None:
    """Train digits, and print how much longer steps take while a tab shows the training."""
    import sparring

    times: dict[bool, list[float]] = {True: [], False: []}
    with TemporaryDirectory() as folder:
        run = Path(folder) / "run"

        class Turns(sparring.Listener):
            """Opens and closes the tab every so many steps, and times the steps between."""

            def stepped(self, training: Any, report: Any) -> None:
                turn, place = divmod(training.game.steps, STEPS_OF_TURN)
                if place == 0:
                    self.is_open = turn % 2 == 0
                    driver.stdin.write(f"{'open' if self.is_open else 'close'}\n")
                    driver.stdin.flush()
                    driver.stdout.readline()  # it is done
                if place == SETTLING:
                    self.begun = time.perf_counter()
                if place == STEPS_OF_TURN - 1 and turn:
                    times[self.is_open].append(time.perf_counter() - self.begun)

        with serve(Path(folder)) as address:
            command = [sys.executable, __file__, "--drive", address]
            driver: Any = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            steps = (2 * turns + 2) * STEPS_OF_TURN
            sparring.train("digits", steps=steps, out=run, evaluation_share=0.0, listeners=[Turns()])
            driver.stdin.close()
            driver.wait()
    ratios = [on / off for on, off in zip(times[True], times[False], strict=False)]
    middle, spread = statistics.median(ratios), statistics.stdev(ratios) / len(ratios) ** 0.5
    print(
        f"with a tab open, steps take {100 * (middle - 1):+.2f} % (± {196 * spread:.2f}, {len(ratios)} pairs of turns)"
    )


def print_share(seconds: float) -> None:
    """Print what server and browser take of one core while a tab is empty, and while it shows a training."""
    import psutil

    def times() -> dict[str, float]:
        found = {"the server": psutil.Process(server_pid), "the browser": psutil.Process(browser.pid)}
        trees = {name: [process, *process.children(recursive=True)] for name, process in found.items()}
        return {name: sum(sum(each.cpu_times()[:2]) for each in tree) for name, tree in trees.items()}

    with TemporaryDirectory() as folder, serve(Path(folder)) as address:
        (server_pid,) = (each.pid for each in psutil.Process().children())
        command = [sys.executable, "-m", "sparring", "train", "digits", "--minutes", "30", "--out", f"{folder}/run"]
        training = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(20)
        for what, url in (("is empty", "about:blank"), ("shows a training", address)):
            # Not through playwright, which listens to every request of a page: that takes as long as the page itself.
            options = ["--headless=new", "--no-sandbox", "--no-first-run", "--window-size=1200,900"]
            quiet = ["--disable-background-networking", "--disable-component-update"]
            browser = subprocess.Popen(
                [str(shutil.which("chromium")), *options, *quiet, f"--user-data-dir={folder}/browser", url],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            time.sleep(15)  # it is loaded
            before, start = times(), time.perf_counter()
            time.sleep(seconds)
            took = time.perf_counter() - start
            shares = {name: 100 * (after - before[name]) / took for name, after in times().items()}
            parts = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
            print(f"{sum(shares.values()):5.2f} % of a core while the tab {what}: {parts}", flush=True)
            browser.terminate()
            browser.wait()
        training.terminate()
        training.wait()


def drive(address: str) -> None:
    """Open the page and close it again as the lines of the standard input say."""
    with open_browser() as page:
        for line in sys.stdin:
            page.goto(address if line.strip() == "open" else "about:blank")
            print("done", flush=True)


@contextmanager
def open_browser() -> Iterator[Any]:
    """A page in Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1200, "height": 900})
        browser.close()


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The address of a server, with the token."""
    command = [sys.executable, "-m", "sparring", "watch", str(folder), "--no-open"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--drive"]:
        drive(sys.argv[2])
    else:
        main()
