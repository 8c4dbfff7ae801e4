"""What a generator costs in a browser, exported as a page: its size, and how fast it draws.

    python benchmarks/html_export.py [RUN ...] [--browser chromium|firefox] [--path /usr/bin/chromium]
    npm install onnxruntime-web; python benchmarks/html_export.py --against node_modules/onnxruntime-web/dist

Without runs it measures untrained networks: size and speed do not depend on what the weights are. It needs playwright.
For each page it prints the size of the file, the seconds from opening it to the first picture, and the median of the
milliseconds for one sample and for 64, latents and all. A run's pixels are also compared with those of Python. With
`--against`, the same browser runs the generator's .onnx by onnxruntime-web on one thread, which gets its latents ready;
its page would hold the program, its WebAssembly and the .onnx, the last two in base64. The two take turns, and ratios
above 1 mean that the page is slower or larger.
"""

import argparse
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
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
PROGRAM, BINARY = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
ROUNDS = 5
OPEN = """async (labels) => {
    const ort = await import("/ort.wasm.bundle.min.mjs");
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = { wasm: "/ort-wasm-simd-threaded.wasm" };
    globalThis.session = await ort.InferenceSession.create("/generator.onnx");
    globalThis.feed = (n, size) => ({
        latents: new ort.Tensor("float32", Float32Array.from({ length: n * size }, Math.random), [n, size]),
        ...(labels ? { labels: new ort.Tensor("int64", new BigInt64Array(n), [n]) } : {}),
    });
}"""
TIME_OTHER = """async ([n, size]) => {
    const times = [], given = feed(n, size);
    for (const end = performance.now() + 3000; times.length < 5 || performance.now() < end;) {
        const start = performance.now();
        await session.run(given);
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
    parser.add_argument("--against", default=None, type=Path, help="the folder of onnxruntime-web's programs")
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
            if options.against:
                print(f"{name:12} {measure_against(browser, path, generator, options.against)}", flush=True)
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


def measure_against(browser: Browser, path: Path, generator: Generator, programs: Path) -> str:
    """The ratios of the page's times and size to those of onnxruntime-web, and their range over some rounds."""
    model = path.with_suffix(".onnx")
    generator.export(model)
    files = {f"/{each}": programs / each for each in (PROGRAM, BINARY)} | {"/generator.onnx": model}
    parts = [
        (programs / PROGRAM).stat().st_size,
        (programs / BINARY).stat().st_size * 4 / 3,
        model.stat().st_size * 4 / 3,
    ]
    sizes, ratios = path.stat().st_size / sum(parts), dict[int, list[float]]()
    with serve(files) as address:
        own, other = open_page(browser, path), browser.new_page()
        other.goto(address)
        other.evaluate(OPEN, generator.config.label_size > 0)
        for _ in range(ROUNDS):
            for n in (1, 64):
                theirs = other.evaluate(TIME_OTHER, [n, generator.config.latent_dim])
                ratios.setdefault(n, []).append(own.evaluate(TIME, n) / theirs)
        own.close()
        other.close()
    times = [f"{n}: {np.median(each):.2f} ({min(each):.2f} to {max(each):.2f})" for n, each in ratios.items()]
    return f"ratios to onnxruntime-web: size {sizes:.2f}, time {', '.join(times)}"


@contextmanager
def serve(files: dict[str, Path]) -> Iterator[str]:
    """The address of a server of some files, and of an empty page at its root."""

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files[self.path].read_bytes() if self.path in files else b"<!doctype html>"
            kinds = {".mjs": "text/javascript", ".wasm": "application/wasm", "": "text/html"}
            self.send_response(200)
            self.send_header("content-type", kinds.get(Path(self.path).suffix, "application/octet-stream"))
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


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
