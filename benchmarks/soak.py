"""Trains for an hour with random kills, and the same without: do both end with the same bytes?

    python benchmarks/soak.py [--minutes 60] [--seed 0] [--out runs/soak]

Both have the same number of steps, one thread each, and run side by side. The disturbed one is killed every 30 to 90
seconds (by SIGKILL, one time in four by SIGTERM) and resumed at once. The memory, file handles and threads of the
undisturbed one must not grow after the warm-up.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import sparring

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
SETTINGS = ("--set", "evaluation_steps=500", "--set", "sample_steps=1000", "--set", "checkpoint_steps=500")
CALIBRATION_STEPS = 600
MAX_GROWTH = 0.02
"""The memory may grow by this share, from the first half after the warm-up to the second."""
WARM_UP = 0.2
"""A share of the training; nothing may grow after it."""


@dataclass(frozen=True)
class Usage:
    """What a process uses."""

    memory: int
    files: int
    threads: int


def start(*arguments: str) -> subprocess.Popen[bytes]:
    """Start the command in a process of its own."""
    command = [sys.executable, "-m", "sparring", *arguments]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def training(run: Path, steps: int, seed: int) -> tuple[str, ...]:
    """The arguments of the command that trains."""
    return ("train", "digits", "--steps", str(steps), "--seed", str(seed), *SETTINGS, "--out", str(run))


def usage(process: int) -> Usage:
    """What a process uses now."""
    folder = Path(f"/proc/{process}")
    status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line)
    memory = int(status["VmRSS"].split()[0]) * 1024
    return Usage(memory, len(list((folder / "fd").iterdir())), int(status["Threads"]))


def last_step(run: Path) -> int:
    """The last step in the log, whose last line may be half written."""
    path = run / "log.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return int(json.loads(lines[-1])["step"]) if lines else 0


def contents(run: Path, steps: int) -> dict[str, str]:
    """The SHA-256 of each file that a training leaves, without its times."""
    paths = [
        *run.glob("samples/*"),
        *run.glob("generator/*"),
        *run.glob("best/*.safetensors"),
        *run.glob(f"checkpoints/step-{steps:06d}/state*"),
    ]
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    for line in log:
        line.pop("seconds")
        line.get("evaluation", {}).pop("seconds", None)
    found = {str(path.relative_to(run)): path.read_bytes() for path in paths}
    found["log.jsonl"] = json.dumps(log).encode()
    return {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}


def soak(out: Path, minutes: float, seed: int) -> bool:
    """Train twice, kill one of them at times, and return whether both end the same and nothing grew."""
    shutil.rmtree(out, ignore_errors=True)
    calibration = sparring.train("digits", steps=CALIBRATION_STEPS, out=out / "calibration").summary()
    steps = round(60 * minutes * CALIBRATION_STEPS / calibration.seconds / 500) * 500
    chance = random.Random(seed)
    calm = start(*training(out / "calm", steps, seed))
    disturbed = start(*training(out / "disturbed", steps, seed))
    kills = {signal.SIGKILL: 0, signal.SIGTERM: 0}
    lost, watched = [], []
    next_kill = time.monotonic() + chance.uniform(30, 90)
    while disturbed.poll() is None or calm.poll() is None:
        time.sleep(1)
        if calm.poll() is None:
            with suppress(OSError, KeyError):  # it may have just ended
                watched.append((last_step(out / "calm"), usage(calm.pid)))
        if disturbed.poll() is None and time.monotonic() > next_kill:
            number = chance.choice([signal.SIGKILL] * 3 + [signal.SIGTERM])
            disturbed.send_signal(number)
            disturbed.communicate()
            if disturbed.returncode == 0:
                continue  # it ended before the signal
            kills[number] += 1
            reached = last_step(out / "disturbed")
            disturbed = start("resume", str(out / "disturbed"))
            checkpoints = [int(path.name[5:]) for path in (out / "disturbed/checkpoints").glob("step-*")]
            if number == signal.SIGKILL:  # SIGTERM loses nothing
                lost.append(max(0, reached - max(checkpoints, default=0)))
            next_kill = time.monotonic() + chance.uniform(30, 90)
    for process in (calm, disturbed):
        errors = process.communicate()[1].decode()
        if process.returncode:
            raise SystemExit(f"a training ended with {process.returncode}: {errors}")
    warm = [each for step, each in watched if step > WARM_UP * steps]
    half = len(warm) // 2
    growth = max(each.memory for each in warm[half:]) / max(each.memory for each in warm[:half]) - 1
    same = contents(out / "calm", steps) == contents(out / "disturbed", steps)
    print(f"{steps:,} steps, {kills[signal.SIGKILL]} times SIGKILL and {kills[signal.SIGTERM]} times SIGTERM")
    print(f"steps lost by a SIGKILL: {sum(lost) / max(1, len(lost)):.0f} on average, {max(lost, default=0)} at most")
    parts = warm[:half], warm[half:]
    files, threads = ([max(getattr(each, name) for each in part) for part in parts] for name in ("files", "threads"))
    print(
        f"memory after warm-up: {warm[0].memory / 1e6:.0f} MB, largest of the second half {growth:+.2%} (at most +2 %)"
    )
    print(
        f"most file handles in the first half {files[0]}, in the second {files[1]}; threads {threads[0]}, {threads[1]}"
    )
    print("the same bytes" if same else "NOT the same bytes")
    return same and growth <= MAX_GROWTH and files[1] <= files[0] and threads[1] <= threads[0]


def main() -> None:
    """Run it; exit with 1 if the bytes differ or something grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    arguments = parser.parse_args()
    sys.exit(not soak(arguments.out, arguments.minutes, arguments.seed))


if __name__ == "__main__":
    main()
