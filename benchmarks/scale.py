"""Fits a model of the cost of a step on this machine, and compares its predictions with 2 and 4 processes.

    python benchmarks/scale.py [--rounds 3] [--only-arithmetic]

    seconds a step = ⌈P / cores⌉ · (a + c · B / P)            each of P processes computes its part of the batch B
                   + Σ (latency + bytes / bandwidth)          over the sums that the processes exchange
                   + evaluation / its interval + checkpoint / its interval

a and c are fitted to one process's part of a step. It exchanges nothing, and every core runs one such process. Of two
steps the slower one counts, since the processes wait for each other. Latency and bandwidth are fitted to sums alone.
The tables are those of docs/scale.md: this machine; published throughput in the same form; and what the model says
about many GPUs, whose numbers are assumed and not measured.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.flop_counter import FlopCounterMode

from sparring.distributed import collectives as distributed
from sparring.distributed.launch import launch, num_cores
from sparring.game.game import Report
from sparring.networks import NETWORKS
from sparring.training.build import build
from sparring.training.loop import Listener, Training, _agree_to_stop, play, play_step
from sparring.training.meter import Meter
from sparring.training.recipe import make_request
from sparring.training.recorder import Recorder
from sparring.training.resolve import resolve
from sparring.training.run_folder import create_run

BATCH, STEPS, EVERY = 64, 120, 60
PENALTY_STEPS = 4  # the largest interval of a penalty
NETWORKS_HERE = {"conv": 28, "resnet": 32}
COUNTS = (2, 4)


def build_training(network: str, batch: int) -> Training:
    """A training on the digits without their labels."""
    side = NETWORKS_HERE[network]
    settings = {"conditional": False, "num_clusters": 1, "evaluation_steps": EVERY, "checkpoint_steps": EVERY}
    request = make_request("digits", network=network, size=side, batch_size=batch, steps=STEPS, **settings)
    return build(*resolve(request))


# The work of the processes that this script starts. Each writes JSON.


def part(network: str, out: Path) -> None:
    """Measure one of two processes' part of a step: seconds by the number of images, and the sums it would exchange."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", rank=0, world_size=2, store=FakeStore())  # its sums do nothing and take no time
    exchanged: list[int] = []
    add_up, gather = dist.all_reduce, dist.all_gather

    def count_sum(values: torch.Tensor) -> None:
        exchanged.append(values.nbytes)
        add_up(values)

    def count_gather(rows: list[torch.Tensor], values: torch.Tensor) -> None:
        exchanged.append(values.nbytes)
        gather(rows, values)

    dist.all_reduce, dist.all_gather = count_sum, count_gather  # type: ignore[assignment]
    trainings = {images: build_training(network, 2 * images) for images in (BATCH, BATCH // 2, BATCH // 4)}
    seconds: dict[int, list[float]] = {images: [] for images in trainings}
    for number in range(4):
        for images, training in trainings.items():
            found = [_seconds(partial(play_step, training)) for _ in range(40)]
            seconds[images] += found if number else []  # the first ones take longer
    exchanged.clear()
    for _ in range(PENALTY_STEPS):
        play_step(trainings[BATCH])
        _agree_to_stop(trainings[BATCH], [])
    out.write_text(json.dumps([{images: _mean_of_slower(each) for images, each in seconds.items()}, exchanged]))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _mean_of_slower(seconds: list[float]) -> float:
    """The mean of the slower of two steps, since each process waits for the other; both with or without a penalty."""
    return statistics.fmean(map(max, seconds, seconds[PENALTY_STEPS:]))


def sums(out: Path) -> None:
    """Measure the seconds of a sum by its bytes. Other work comes between, as in a step: who waits must wake up."""
    found = {}
    with distributed.process_group():
        for count in (16, 2**12, 2**16, 2**18):
            values, times = torch.ones(count), 400 if count < 2**14 else 80
            both, work = _between_work(values, times, exchange=True), _between_work(values, times, exchange=False)
            found[values.nbytes] = both - work
        if distributed.rank() == 0:
            out.write_text(json.dumps(found))


def _between_work(values: torch.Tensor, times: int, exchange: bool) -> float:
    images, weights = torch.ones(16, 32, 14, 14), torch.ones(32, 32, 3, 3)
    dist.barrier()
    start = time.perf_counter()
    for _ in range(times):
        torch.nn.functional.conv2d(images, weights, padding=1)
        if exchange:
            distributed.sum_in_place(values)
            values.fill_(1)
    dist.barrier()
    return (time.perf_counter() - start) / times


class Clock(Listener):
    """Notes the time after each step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def stepped(self, training: Training, report: Report | None) -> None:
        """Note the time."""
        self.times.append(time.perf_counter())


def training(network: str, out: Path) -> None:
    """Measure the seconds of a step of a whole training in these processes, with evaluations and checkpoints."""
    with distributed.process_group(), TemporaryDirectory() as folder:
        training = build_training(network, BATCH)
        if distributed.rank() > 0:
            play(training)
            return
        run, clock = create_run(Path(folder) / "run", "digits"), Clock()
        run.write_recipe(training.recipe)
        play(training, [clock, Meter(training), Recorder(run)])
        run.unlock()
        last = STEPS - EVERY  # from just before one evaluation to just before the next
        out.write_text(json.dumps((clock.times[last] - clock.times[0]) / last))


def alone(network: str, out: Path) -> None:
    """Measure the same with one process and all cores."""
    torch.set_num_threads(num_cores())
    training(network, out)


def pauses(network: str, out: Path) -> None:
    """Measure the seconds of an evaluation and of a checkpoint."""
    with TemporaryDirectory() as folder:
        training = build_training(network, BATCH)
        run = create_run(Path(folder) / "run", "digits")
        meter, recorder = Meter(training), Recorder(run)
        recorder.started(training)
        evaluations, checkpoints = [], []  # the first ones take longer
        for _ in range(4):
            play_step(training)
            evaluations.append(_seconds(lambda: meter._make_line(training, evaluate=True)))
            checkpoints.append(_seconds(lambda: recorder._save(training)))
        run.unlock()
        out.write_text(json.dumps([statistics.median(evaluations[1:]), statistics.median(checkpoints[1:])]))


TASKS = {"part": part, "training": training, "alone": alone, "pauses": pauses}


def measure(task: str, *arguments: str, processes: int = 1, apart: bool = False) -> Any:
    """The result of a task in processes with one thread each.

    Args:
        task: a name in `TASKS`, or "sums".
        arguments: of the task.
        processes: how many.
        apart: whether they run beside each other without being joined.
    """
    with TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        command = [__file__, "--task", task, *arguments]
        os.environ["OMP_NUM_THREADS"] = "1"
        if processes == 1 or apart:
            others = [[*command, "--out", str(Path(folder) / f"{number}.json")] for number in range(processes - 1)]
            running = [subprocess.Popen([sys.executable, *each]) for each in ([*command, "--out", str(out)], *others)]
            if any(process.wait() for process in running):
                raise SystemExit(1)
        elif launch(processes, *command, "--out", str(out)):
            raise SystemExit(1)
        return json.loads(out.read_text())


# The model.


@dataclass(frozen=True)
class Model:
    """The parameters of the model.

    Args:
        a: seconds of a step without images.
        c: seconds for each image of a process's part.
        latency: seconds of an empty sum, by the number of processes.
        bandwidth: bytes a second, by the number of processes.
        sums: number of sums in a step.
        exchanged: bytes of these sums.
        pauses: seconds of evaluations and checkpoints, per step.
    """

    a: float
    c: float
    latency: dict[int, float]
    bandwidth: dict[int, float]
    sums: float
    exchanged: float
    pauses: float

    def compute(self, processes: int) -> float:
        """Seconds of arithmetic in a step; the processes share the cores."""
        return math.ceil(processes / num_cores()) * (self.a + self.c * BATCH / processes)

    def communication(self, processes: int) -> float:
        """Seconds of sums in a step."""
        return self.sums * self.latency[processes] + self.exchanged / self.bandwidth[processes]


def fit(network: str) -> Model:
    """Measure the parameters."""
    by_images, exchanged = measure("part", network, processes=num_cores(), apart=True)
    c, a = np.polyfit([int(images) for images in by_images], list(by_images.values()), 1)
    latency, bandwidth = {}, {}
    for processes in COUNTS:
        by_bytes = {int(size): seconds for size, seconds in measure("sums", processes=processes).items()}
        latency[processes] = by_bytes[min(by_bytes)]
        bandwidth[processes] = max(by_bytes) / (by_bytes[max(by_bytes)] - latency[processes])
    paused = sum(measure("pauses", network)) / EVERY
    return Model(a, c, latency, bandwidth, len(exchanged) / PENALTY_STEPS, sum(exchanged) / PENALTY_STEPS, paused)


def here(rounds: int) -> None:
    """Print the parameters, and each prediction next to the measurement."""
    print("| network | processes | compute | sums | evaluation, checkpoints | predicted | measured | off by |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    parameters = []
    for network in NETWORKS_HERE:
        found: dict[int, list[tuple[float, ...]]] = {processes: [] for processes in COUNTS}
        for _ in range(rounds):
            model = fit(network)
            parameters.append((network, model))
            for processes in COUNTS:
                parts = model.compute(processes), model.communication(processes), model.pauses
                measured = measure("training", network, processes=processes)
                found[processes].append((*parts, sum(parts), measured, sum(parts) / measured - 1))
        for processes, each in found.items():
            *times, _ = (statistics.median(values) for values in zip(*each, strict=True))
            off = sorted(values[-1] for values in each)
            shown = " | ".join(f"{1000 * seconds:.1f}" for seconds in times)
            print(f"| {network} | {processes} | {shown} | {_percent(off)} |", flush=True)
    print("\nmilliseconds a step; medians of the rounds, and of their errors with the least and the largest")
    for network in NETWORKS_HERE:
        print(f"{network} in one process with {num_cores()} threads: {1000 * measure('alone', network):.1f}")
    print()
    print(
        "| network | a, ms | c, ms an image | sums a step | MB a step | latency of 2, 4, ms | bandwidth of 2, 4, MB/s |"
    )
    print("|---|---|---|---|---|---|---|")
    for network, model in parameters:
        latency = ", ".join(f"{1000 * model.latency[count]:.2f}" for count in COUNTS)
        bandwidth = ", ".join(f"{model.bandwidth[count] / 1e6:,.0f}" for count in COUNTS)
        print(
            f"| {network} | {1000 * model.a:.1f} | {1000 * model.c:.3f} | {model.sums:.0f} "
            f"| {model.exchanged / 1e6:.2f} | {latency} | {bandwidth} |"
        )


def _percent(errors: Sequence[float]) -> str:
    middle = statistics.median(errors)
    return f"{100 * middle:+.0f} % ({100 * errors[0]:+.0f} to {100 * errors[-1]:+.0f})"


# Published throughput, in the same form.

PUBLISHED = {
    # s/kimg on 2, 4 and 8 GPUs with 32 images a batch: NVlabs/stylegan3, docs/configs.md
    "StyleGAN3-T, 128 px, A100": (32, (13.74, 7.52, 4.40)),
    "StyleGAN3-T, 128 px, V100": (32, (37.30, 20.66, 11.31)),
    "StyleGAN3-R, 128 px, A100": (32, (17.29, 9.53, 5.69)),
    "StyleGAN3-T, 256 px, A100": (32, (25.05, 13.26, 7.32)),
    "StyleGAN3-R, 1024 px, A100": (32, (92.58, 46.53, 23.42)),
    # the middle of what NVlabs/stylegan2-ada-pytorch's README gives, with 64 images a batch from 2 GPUs on
    "StyleGAN2-ADA, 128 px, V100": (64, (6.65, 4.35, 4.40)),
}


def published() -> None:
    """Print a and c by the figures for 2 and 4 GPUs, and their prediction for 8 GPUs."""
    print("| what | a, ms | c, ms an image | 8 GPUs predicted, s/kimg | published | where a is half of the step |")
    print("|---|---|---|---|---|---|")
    for name, (batch, (two, four, eight)) in PUBLISHED.items():
        seconds = [batch / 1000 * each for each in (two, four)]
        c = (seconds[0] - seconds[1]) / (batch / 2 - batch / 4)
        a = seconds[1] - c * batch / 4
        predicted = (a + c * batch / 8) / batch * 1000
        half = f"{a / c:.1f} images a GPU" if a > 0 else "–"
        print(f"| {name} | {1000 * a:.0f} | {1000 * c:.1f} | {predicted:.2f} | {eight:.2f} | {half} |")


# Many GPUs: arithmetic counted, the machine assumed.

PIXELS, WIDTH, LARGE_BATCH = 256, 64, 4096
RATE = 0.3 * 312e12 / 2
"""Multiply-adds a second: three tenths of what an A100 can do in bfloat16."""
LAUNCH = 10e-6
"""Seconds that the host takes to start an operation."""
WITHIN, BETWEEN = 200e9, 20e9
"""Bytes a second that a GPU sends in a sum, within a machine of 8 GPUs and between machines."""
HOP = 20e-6
"""Seconds for each hop of a sum."""
PASSES = {"discriminator": 8 + 1.5, "generator": 3.0}
"""Passes of the batch in a step, with r1r2 in every fourth."""


def many() -> None:
    """Print the step of `resnet` at 256 px on 8, 64 and 1,024 GPUs."""
    resnet, shape = NETWORKS["resnet"], (3, PIXELS, PIXELS)
    adds, saved, weights = {}, {}, 0
    with torch.device("meta"):
        players = {
            "generator": (resnet.generator(shape, 64, WIDTH, 0), torch.zeros(1, 64)),
            "discriminator": (resnet.discriminator(shape, WIDTH, "none", 0), torch.zeros(1, *shape)),
        }
        for name, (player, given) in players.items():
            with FlopCounterMode(display=False) as counter:
                saved[name] = _numbers_saved(player, given)
            adds[name] = counter.get_total_flops() / 2
            weights += sum(each.numel() for each in player.parameters())
    c = sum(PASSES[name] * adds[name] for name in adds) / RATE
    operations = _operations()
    a = LAUNCH * operations
    print(f"width {WIDTH}: {weights / 1e6:.0f} million weights, {adds['generator'] / 1e9:.1f} and ", end="")
    print(
        f"{adds['discriminator'] / 1e9:.1f} thousand million multiply-adds an image, {operations:,} operations a step"
    )
    activations = 2 * (2 * saved["discriminator"] + saved["generator"])  # bytes an image: bfloat16; real and generated
    print(
        "\n| GPUs | images a GPU | activations a GPU | arithmetic | operations | sums | a step | images/s | of ideal |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    alone = None
    for gpus in (1, 8, 64, 1024):
        bandwidth = WITHIN if gpus <= 8 else BETWEEN
        exchange = 2 * (gpus - 1) / gpus * 4 * weights / bandwidth + 2 * 2 * math.log2(gpus) * HOP if gpus > 1 else 0.0
        arithmetic = c * LARGE_BATCH / gpus
        step = max(arithmetic, a) + exchange  # operations are started while others compute
        alone = alone or step
        held = activations * LARGE_BATCH / gpus / 1e9
        print(
            f"| {gpus:,} | {LARGE_BATCH // gpus:,} | {held:,.0f} GB | {1000 * arithmetic:,.0f} ms | {1000 * a:.0f} ms "
            f"| {1000 * exchange:.0f} ms | {1000 * step:,.0f} ms | {LARGE_BATCH / step:,.0f} "
            f"| {100 * alone / step / gpus:.0f} % |"
        )


def _numbers_saved(player: torch.nn.Module, given: torch.Tensor) -> int:
    """How many numbers a pass keeps for the backward pass, the weights apart."""
    own = {each.untyped_storage()._cdata for each in player.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(values: torch.Tensor) -> torch.Tensor:
        kept[values.untyped_storage()._cdata] = values.untyped_storage()
        return values

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda values: values):
        player(given)
    return sum(each.nbytes() for key, each in kept.items() if key not in own) // 4


def _operations() -> int:
    """Operations of a step of `resnet` at 256 px, the mean over one interval of the penalty."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
        number = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            Counter.number += 1
            return function(*args, **(kwargs or {}))

    shape = {"network": "resnet", "size": PIXELS, "width": 2, "batch_size": 2, "conditional": False, "num_clusters": 1}
    training = build(*resolve(make_request("digits", evaluation_share=0.0, steps=PENALTY_STEPS, **shape)))
    with Counter():  # type: ignore[no-untyped-call]
        for _ in range(PENALTY_STEPS):
            play_step(training)
    return Counter.number // PENALTY_STEPS


def main() -> None:
    """Print the tables, or do the work of one process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only-arithmetic", action="store_true")
    parser.add_argument("--task")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.task == "sums":
        sums(arguments.out)
    elif arguments.task:
        torch.set_num_threads(1)
        TASKS[arguments.task](arguments.network, arguments.out)
    else:
        if not arguments.only_arithmetic:
            here(arguments.rounds)
        published()
        many()


if __name__ == "__main__":
    main()
