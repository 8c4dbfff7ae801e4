"""What a generator costs in a browser, exported as a page: its size, and how fast it draws.

    python benchmarks/html_export.py [RUN ...] [--browser chromium|firefox] [--path /usr/bin/chromium]

Without runs it measures untrained networks: size and speed do not depend on what the weights are. It needs playwright.
For each page it prints the size of the file, the seconds from opening it to the first picture, and the median of the
milliseconds for one sample and for 64, latents and all. A run's pixels are also compared with those of Python.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from playwright.sync_api import Browser, sync_playwright

import sparring
from sparring.generator.config import Config
from sparring.generator.generator import Generator
from sparring.modalities.images import Images

NETWORKS = {
    "digits": Config(Images((1, 28, 28)), "conv", 64, "gaussian", 32, (0.1,) * 10),
    "conv64": Config(Images((3, 64, 64)), "conv", 64, "gaussian", 32),
    "dcgan": Config(Images((3, 64, 64)), "dcgan", 100, "gaussian", 64),
    "resnet128": Config(Images((3, 128, 128)), "resnet", 64, "gaussian", 8),
}
NUM_COMPARED = 10_000
TIME = """async (n) => {
    const times = [];
    for (let seed = 0, end = performance.now() + 3000; seed < 5 || performance.now() < end; seed++) {
        const start = performance.now();
        sparring.sample({ n, seed });
        times.push(performance.now() - start);
    }
    return times.sort((one, other) => one - other)[times.length >> 1];
}"""
PIXELS = """([n, seed]) => sparring.sample({ n, seed }).flatMap((sample) => Array.from(sample, sparring.level))"""


def main() -> None:
    """Measure each page, and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--browser", default="chromium", choices=["chromium", "firefox"])
    parser.add_argument("--path", default=None, help="of the browser's program, if playwright brought none")
    options = parser.parse_args()
    generators = {run.name: sparring.load(run) for run in options.runs}
    if not generators:
        generators = {name: Generator(config.build(), config) for name, config in NETWORKS.items()}
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        kind = getattr(playwright, options.browser)
        sandbox = ["--no-sandbox"] if options.browser == "chromium" else []
        browser = kind.launch(executable_path=options.path, args=sandbox)
        print(f"{options.browser} {browser.version}")
        for name, generator in generators.items():
            path = Path(folder) / f"{name}.html"
            generator.export(path)
            print(f"{name:12} {measure(browser, path)}", flush=True)
            if options.runs:
                print(f"{name:12} {compare(browser, path, generator)}", flush=True)
        browser.close()


def open_page(browser: Browser, path: Path) -> Any:
    """The page in a window of its own, with all samples drawn."""
    page = browser.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-drawn]", timeout=120_000)
    return page


def measure(browser: Browser, path: Path) -> str:
    """Size and times of a page."""
    page = open_page(browser, path)
    first = page.evaluate('performance.getEntriesByName("first picture")[0].startTime') / 1e3
    one, many = (page.evaluate(TIME, n) for n in (1, 64))
    page.close()
    return f"{path.stat().st_size / 1e6:5.2f} MB, first picture {first:4.2f} s, 1: {one:6.2f} ms, 64: {many:7.1f} ms"


def compare(browser: Browser, path: Path, generator: Generator) -> str:
    """The largest difference of a pixel from those of Python, in levels of grey."""
    page, size, largest, different = open_page(browser, path), 1000, 0, 0
    for seed in range(NUM_COMPARED // size):
        drawn = np.array(page.evaluate(PIXELS, [size, seed]), dtype=int)
        difference = np.abs(drawn - generator.sample(size, seed).ravel().astype(int))
        largest, different = max(largest, int(difference.max())), different + int((difference > 0).sum())
    page.close()
    share = different / (NUM_COMPARED * drawn.size / size)
    return f"{NUM_COMPARED:,} samples: at most {largest} level from Python's, {share:.2%} of pixels differ"


if __name__ == "__main__":
    main()
