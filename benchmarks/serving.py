"""How many pictures a second `sparring serve` sends, and how long requests wait.

    python benchmarks/serving.py RUN [--rounds 3] [--seconds 5]
    python benchmarks/serving.py RUN --hostile 10000     # random requests: no answer of 500, and the memory stays

The server runs on one core and the client on another, over connections that stay open. Beside both engines of
`sparring serve` it measures a naïve endpoint, which calls `generator.sample(1)` for each request. It prints the median
over the rounds of the pictures a second, of the median and the 99th percentile of the milliseconds that a request
took, and of the milliseconds of the core's time that the server spent on a picture, for one client and for 32. Only the
last number does not depend on what else the machine does.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import string
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CLIENTS = 1, 32
NAIVE = "naive"  # the endpoint that this file starts as a program of its own
CORES = sorted(os.sched_getaffinity(0))


def main() -> None:
    """Start each server in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--hostile", type=int, metavar="N")
    options = parser.parse_args()
    os.sched_setaffinity(0, {CORES[-1]})
    if options.hostile:
        attack(options.run, options.hostile)
        return
    engines = "onnxruntime", "pytorch", NAIVE
    results: dict[tuple[str, int], list[tuple[float, ...]]] = {(e, c): [] for e in engines for c in CLIENTS}
    for _ in range(options.rounds):
        for engine in engines:
            with server(options.run, engine) as (port, process):
                for clients in CLIENTS:
                    asyncio.run(load(port, clients, 1.0))
                    spent = -seconds_of(process)
                    rate, *waits, count = asyncio.run(load(port, clients, options.seconds))
                    spent += seconds_of(process)
                    results[engine, clients].append((rate, *waits, 1000 * spent / count))
        print(f"# load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    print(f"{'engine':14} clients  pictures/s  median ms  99 % ms  core ms")
    for (engine, clients), rows in results.items():
        rate, middle, worst, core = (statistics.median(column) for column in zip(*rows, strict=True))
        rates = [row[0] for row in rows]
        columns = f"{rate:11,.0f} {middle:10.2f} {worst:8.2f} {core:8.2f}"
        print(f"{engine:14} {clients:7} {columns}   ({min(rates):,.0f} to {max(rates):,.0f} in {len(rows)} rounds)")


@contextmanager
def server(run: Path, engine: str) -> Iterator[tuple[int, int]]:
    """A server on the first core; its port, and the number of its process."""
    command = [sys.executable, "-m", "sparring", "serve", str(run), "--engine", engine]
    if engine == NAIVE:
        command = [sys.executable, __file__, "--naive", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=_use_first_core)
    assert process.stdout is not None
    try:
        address = next(line for line in process.stdout if line.startswith("http"))
        yield int(address.strip().rpartition(":")[2]), process.pid
    finally:
        process.terminate()
        process.wait()


def _use_first_core() -> None:
    os.sched_setaffinity(0, {CORES[0]})


def seconds_of(process: int) -> float:
    """The time that a process has spent on its core."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


async def load(port: int, clients: int, seconds: float) -> tuple[float, float, float, int]:
    """Pictures a second, the median and the 99th percentile of the milliseconds of a request, and their number."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def ask(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        seed = number * 10**6
        while (begun := time.perf_counter()) < end:
            seed += 1
            body = b'{"seed":%d}' % seed
            head = f"POST /sample HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            status, content = await read_answer(reader)
            assert status == 200, content
            times.append(time.perf_counter() - begun)
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*map(ask, range(clients)))
    took = time.perf_counter() - begun
    times.sort()
    return len(times) / took, 1000 * statistics.median(times), 1000 * times[int(0.99 * len(times))], len(times)


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The status and the body of an answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    return int(head[9:12]), await reader.readexactly(length)


def serve_naively(run: str) -> None:
    """What one would write first: an endpoint that draws a sample for each request by itself."""
    import io

    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    import sparring
    from sparring.web.watch import open_socket

    generator = sparring.load(run)

    async def sample(request: Request) -> Response:
        items = generator.sample(1, (await request.json())["seed"])
        target = io.BytesIO()
        generator.modality.picture(items).save(target, "PNG")
        return Response(target.getvalue(), media_type="image/png")

    listener = open_socket("127.0.0.1", None)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    app = Starlette(routes=[Route("/sample", sample, methods=["POST"])])
    uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning")).run(sockets=[listener])


def attack(run: Path, count: int) -> None:
    """Send random requests, and print how they were answered and how the server's memory grew."""
    with server(run, "auto") as (port, process):
        memory = [memory_of(process)]
        statuses: Counter[int] = Counter()
        for part in range(4):
            statuses += asyncio.run(send_hostile(port, count // 4, seed=part))
            memory.append(memory_of(process))
    print(dict(sorted(statuses.items())), "MB after each quarter:", [round(each / 1000) for each in memory])
    sys.exit(any(status >= 500 for status in statuses))


async def send_hostile(port: int, count: int, seed: int) -> Counter[int]:
    """Random requests from 16 clients; the numbers of the answers by their status, 0 where the server hung up."""
    statuses: Counter[int] = Counter()
    waiting = [hostile_request(random.Random(f"{seed} {number}"), port) for number in range(count)]

    async def attack() -> None:
        while waiting:
            request, is_whole = waiting.pop()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(request)
                if not is_whole:
                    writer.write_eof()  # nothing follows, even where the head says so
                async with asyncio.timeout(30):
                    head = await reader.readuntil(b"\r\n")
                statuses[int(head.split()[1])] += 1
            except (OSError, asyncio.IncompleteReadError):
                statuses[0] += 1
            finally:
                writer.close()

    await asyncio.gather(*(attack() for _ in range(16)))
    return statuses


def hostile_request(draw: random.Random, port: int) -> tuple[bytes, bool]:
    """The bytes of a random request, near enough to good ones to reach into the server, and whether it is whole."""
    noise = "".join(draw.choices(string.printable + "äß\u2028", k=draw.randrange(30)))

    def value(depth: int = 0) -> Any:
        if depth > 2 or draw.random() < 0.7:
            return draw.choice([0, 1, 7, -1, 0.5, 1e300, 2**64, 10**400, None, True, "7", "0", noise, "\ud800", {}, []])
        return draw.choice([[value(depth + 1), value(depth + 1)], {noise: value(depth + 1)}])

    names = ["n", "seed", "labels", "truncation", "format", "model", noise]
    usual = {"n": draw.randrange(1, 80), "seed": draw.randrange(9), "format": draw.choice(["png", "npz", "json"])}
    wanted = usual | {draw.choice(names): value() for _ in range(draw.randrange(3))}
    bodies = [json.dumps(wanted).encode()] * 16 + [
        b"",
        noise.encode(),
        draw.randbytes(99),
        b"[" * 50_000,
        b"x" * 70_000,
    ]
    body = draw.choice(bodies)
    path = draw.choice(
        ["/sample"] * 24 + ["/translate", "/", "/models", "/metrics", "/openapi.json", "/x", "/%00", "/..//"]
    )
    method = draw.choice(["POST"] * 24 + ["GET", "HEAD", "PUT", "OPTIONS", "BREW", "get"])
    host = draw.choice([f"127.0.0.1:{port}"] * 40 + ["evil.example", "", "[::1"])
    length = draw.choice([len(body)] * 60 + ["-1", 10**30, "x"])
    extra = draw.choice(
        [""] * 40 + ["origin: http://evil.example\r\n", "sec-fetch-site: cross-site\r\n", f"a: {'b' * 9999}\r\n"]
    )
    head = f"{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n{extra}\r\n"
    whole = head.encode() + body, length == len(body)
    return draw.choice([whole] * 30 + [(draw.randbytes(200), False), (head.encode()[:20], False)])


def memory_of(process: int) -> int:
    """The kilobytes of memory that a process holds."""
    text = Path(f"/proc/{process}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--naive"]:
        serve_naively(sys.argv[2])
    else:
        main()
