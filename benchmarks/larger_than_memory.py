"""Trains on 20 GB of synthetic images in a process with far less memory, and watches its memory and speed.

    python benchmarks/larger_than_memory.py [--gigabytes 20] [--minutes 3]

The file is sparse: it has 20 GB and takes 2 on the disk; a tenth of its images are written, the others are black.
On Linux, as root, the training runs in a control group, whose limit also counts the system's cached pages of the file;
elsewhere a limit holds for the process's own data. Prints resident memory and images per second during the training,
and the same for a set that fits into memory; then for a whole epoch that is read without training, so that every byte
of the file is read.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from sparring import Items, open_dataset
from sparring.seeding import Stream

SIDE = 64
LIMIT_GB = 1.5
BATCH = 64


def write(path: Path, gigabytes: float) -> int:
    """Write a .npy file of 64×64 RGB images, a tenth of them noise, unless it exists. Return their number."""
    count = int(gigabytes * 1e9) // (SIDE * SIDE * 3)
    if path.exists():
        return count
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, SIDE, SIDE, 3))
    noise = np.random.default_rng(0).integers(0, 256, (1000, SIDE, SIDE, 3), np.uint8)
    for start in range(0, count, 10_000):
        images[start : start + min(1000, count - start)] = noise[: count - start]
    images.flush()
    return count


def with_limit(command: list[str]) -> list[str]:
    """A command that runs another one under a limit of its memory."""
    groups = Path("/sys/fs/cgroup/memory")
    group = groups / "sparring-benchmark"
    try:
        group.mkdir(exist_ok=True)
        (group / "memory.limit_in_bytes").write_text(str(int(LIMIT_GB * 1e9)))
        return ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh", *command]
    except OSError:
        return ["sh", "-c", f'ulimit -d {int(LIMIT_GB * 1e6)}; exec "$@"', "sh", *command]


def resident(process: int) -> float:
    """Resident memory of a process in MB."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def watch(path: Path, out: Path, minutes: float) -> None:
    """Train, and print a row after each sixth of the time."""
    command = [sys.executable, "-m", "sparring", "train", str(path), "--minutes", str(minutes), "--out", str(out)]
    settings = ["network=conv", "num_clusters=1", "checkpoint_seconds=1e9", "sample_seconds=1e9", "evaluation_share=0"]
    for setting in settings:
        command += ["--set", setting]
    process = subprocess.Popen(with_limit(command), stdout=subprocess.DEVNULL)
    marks = [minutes * 60 * part / 6 for part in range(1, 7)]
    seen, last, peak = 0, (0.0, 0), 0.0
    log = out / "log.jsonl"
    while process.poll() is None:
        time.sleep(0.5)
        if not log.exists() or not (lines := log.read_text().splitlines()):
            continue
        line = json.loads(lines[-1])
        try:
            now = resident(process.pid)
        except OSError:
            break
        peak = max(peak, now)
        if seen < len(marks) and line["seconds"] >= marks[seen] - 1:
            rate = (line["images"] - last[1]) / (line["seconds"] - last[0])
            print(f"| {line['seconds']:.0f} | {now:,.0f} | {rate:,.0f} |", flush=True)
            seen, last = seen + 1, (line["seconds"], line["images"])
    print(f"largest: {peak:,.0f} MB; exit code {process.wait()}")


def read_through(path: Path) -> None:
    """Draw every batch of an epoch in this process, and print a row after each fifth."""
    images = open_dataset(str(path)).train
    assert isinstance(images, Items)
    assert images.num_items is not None
    batches = images.num_items // BATCH
    part = batches // 5
    for first in range(0, 5 * part, part):
        start = time.perf_counter()
        for step in range(first, first + part):
            images.batch(BATCH, Stream(0, "data", step))
        rate = BATCH * part / (time.perf_counter() - start)
        gigabytes = (first + part) * BATCH * SIDE * SIDE * 3 / 1e9
        print(f"| {gigabytes:.1f} | {resident(os.getpid()):,.0f} | {rate:,.0f} |", flush=True)


def main() -> None:
    """Two files, two trainings and two epochs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=20.0)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--out", type=Path, default=Path("runs/larger-than-memory"))
    parser.add_argument("--read", type=Path, help="only read a file once")
    arguments = parser.parse_args()
    if arguments.read:
        read_through(arguments.read)
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    for gigabytes in (0.3, arguments.gigabytes):
        path = arguments.out / f"{gigabytes:g}.npy"
        count = write(path, gigabytes)
        print(f"{gigabytes:g} GB, {count:,} images; at most {LIMIT_GB} GB of memory")
        print("| seconds | resident MB | images/s |")
        print("|---|---|---|")
        watch(path, arguments.out / f"run-{gigabytes:g}-{time.time():.0f}", arguments.minutes)
        print("| GB read | resident MB | images/s |")
        print("|---|---|---|")
        subprocess.run(with_limit([sys.executable, __file__, "--read", str(path)]), check=True)


if __name__ == "__main__":
    main()
