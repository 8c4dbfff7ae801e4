"""An hour of training with random kills, beside the same training undisturbed: do they come to the same bytes?

    python benchmarks/soak.py [--minutes 60] [--seed 0] [--out runs/soak]

Both have the same number of steps, one thread each, and run side by side. The disturbed one is killed (SIGKILL, or
SIGTERM one time in four) after half a minute to a minute and a half, and resumed at once. Meanwhile the undisturbed
one's memory, file handles and threads are watched: they may not grow once it is warm.
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
"""Of the memory, from the first half after the warm-up to the second."""
WARM_UP = 0.2
"""The share of the training after which nothing may grow."""


@dataclass(frozen=True)
class Held:
    """What a process holds."""

    memory: int
    files: int
    threads: int


def start(*arguments: str) -> subprocess.Popen[bytes]:
    """The command, in a process of its own."""
    command = [sys.executable, "-m", "sparring", *arguments]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def training(run: Path, steps: int, seed: int) -> tuple[str, ...]:
    """The command that trains."""
    return ("train", "digits", "--steps", str(steps), "--seed", str(seed), *SETTINGS, "--out", str(run))


def held(process: int) -> Held:
    """What it holds now."""
    folder = Path(f"/proc/{process}")
    status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line)
    memory = int(status["VmRSS"].split()[0]) * 1024
    return Held(memory, len(list((folder / "fd").iterdir())), int(status["Threads"]))


def last_step(run: Path) -> int:
    """Of the log, whose last line may be half written."""
    path = run / "log.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return int(json.loads(lines[-1])["step"]) if lines else 0


def contents(run: Path, steps: int) -> dict[str, str]:
    """The SHA-256 of all that a training leaves, without its times."""
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
    """Train twice, disturb one, and tell whether both came to the same and nothing grew."""
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
            with suppress(OSError, KeyError):  # it may just be ending
                watched.append((last_step(out / "calm"), held(calm.pid)))
        if disturbed.poll() is None and time.monotonic() > next_kill:
            number = chance.choice([signal.SIGKILL] * 3 + [signal.SIGTERM])
            disturbed.send_signal(number)
            disturbed.communicate()
            if disturbed.returncode == 0:
                continue  # it was faster
            kills[number] += 1
            reached = last_step(out / "disturbed")
            disturbed = start("resume", str(out / "disturbed"))
            checkpoints = [int(path.name[5:]) for path in (out / "disturbed/checkpoints").glob("step-*")]
            if number == signal.SIGKILL:  # the other one saves first
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
    print(f"steps lost a SIGKILL: {sum(lost) / max(1, len(lost)):.0f} in the mean, {max(lost, default=0)} at most")
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
    """Soak; exit 1 where the bytes are others, or something grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    arguments = parser.parse_args()
    sys.exit(not soak(arguments.out, arguments.minutes, arguments.seed))


if __name__ == "__main__":
    main()
