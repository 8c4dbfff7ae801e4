"""Several processes play the game that one process plays."""

import gc
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
import torch
from float64 import train_to_the_end
from torch import Tensor, nn
from torch.distributed import HashStore, distributed_c10d
from warm import start_together

import sparring
from sparring.data import Items
from sparring.distributed import collectives as distributed
from sparring.distributed.batch_norm import synchronize_batch_norm
from sparring.game.objectives import OBJECTIVES
from sparring.game.penalties import PENALTIES
from sparring.seeding import Stream
from sparring.training.build import build
from sparring.training.recipe import make_request
from sparring.training.resolve import resolve

STEPS, BATCH = 6, 8
CASES = [(objective, penalty) for objective in OBJECTIVES for penalty in PENALTIES]


def games(dtype: torch.dtype) -> dict[tuple[str, str], list[Tensor]]:
    """The weights after every game: normalised generators, and discriminators where the penalty permits."""
    return {case: weights(*case, dtype) for case in CASES}


def weights(objective: str, penalty: str, dtype: torch.dtype) -> list[Tensor]:
    torch.set_default_dtype(dtype)
    normalized = not PENALTIES[penalty].per_sample
    with Stream(0, "networks").as_default():
        generator = nn.Sequential(nn.Linear(4, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Unflatten(1, (6, 2, 2)),
                                  nn.ConvTranspose2d(6, 4, 4, 2, 1), nn.Tanh(),
                                  nn.ConvTranspose2d(4, 1, 4, 2, 1))  # fmt: skip
        discriminator = nn.Sequential(nn.Conv2d(1, 4, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(4, 6, 4, 2, 1),
                                      nn.BatchNorm2d(6) if normalized else nn.Identity(), nn.LeakyReLU(0.2),
                                      nn.Flatten(), nn.Linear(24, 1))  # fmt: skip
    for player in (generator, discriminator):
        synchronize_batch_norm(player)
    game = sparring.Game(
        generator,
        discriminator,
        objective=objective,
        penalties=[PENALTIES[penalty]()],
        generator_optimizer=torch.optim.SGD(generator.parameters(), 0.02),
        discriminator_optimizer=torch.optim.SGD(discriminator.parameters(), 0.02),
        discriminator_steps=2 if objective == "wasserstein" else 1,
        simultaneous=objective in ("relativistic", "hinge"),
        clip_gradients=5.0,
    )
    images = Items(Stream(1, "images").uniform(20, 1, 8, 8))
    part = distributed.rank(), distributed.world_size()
    size = BATCH // distributed.world_size()
    for _ in range(STEPS):
        real = images.batch(size, Stream(0, "data", game.steps).for_rank(*part)).to(dtype)
        game.step([real] * game.discriminator_steps)
    torch.set_default_dtype(torch.float32)
    return [*game.state().values()]


def trainings() -> list[Tensor]:
    """What the digits' default ends with, with clusters and with labels, after ten steps in float64; and `hybrid`."""
    settings = {"width": 8, "steps": 10, "evaluation_share": 0.0}
    requests = [make_request("digits", None, conditional=conditional, **settings) for conditional in (False, True)]
    requests.append(make_request("digits", None, network="hybrid", **settings | {"steps": 2, "batch_size": 8}))
    return [value for request in requests for value in train_to_the_end(build(*resolve(request)))]


def training_in_parts(accumulate: int) -> list[Tensor]:
    """What a training without batch normalisation ends with, each process's share of a batch in parts."""
    settings = {"width": 8, "steps": 5, "evaluation_share": 0.0, "network": "mlp", "penalty": "r1", "augment": 0.5}
    request = make_request("digits", None, **settings, accumulate=accumulate, conditional=True)
    return train_to_the_end(build(*resolve(request)))


def operations() -> list[object]:
    """What the collective operations give."""
    rank, count = distributed.rank(), distributed.world_size()
    rows = torch.arange(12.0).reshape(4, 3)[rank * 4 // count : (rank + 1) * 4 // count]
    maximum = distributed.maximum([float(-rank), 3.0 if rank == count - 1 else 0.0])
    first = distributed.on_rank_zero(lambda: {"made by": distributed.rank()})
    try:
        distributed.on_rank_zero(lambda: 1 // 0)
        failed = ""
    except (ZeroDivisionError, sparring.ProcessError) as error:
        failed = type(error).__name__
    return [distributed.deviation(rows).item(), *distributed.mean([rows.sum(0)]), maximum, first, rank, failed]


def preparations() -> list[bool]:
    """What the first process makes while the others wait, longer than they would within a step."""
    distributed_c10d._set_pg_timeout(timedelta(seconds=0.5), None)
    made = [distributed.on_rank_zero(lambda: time.sleep(1.5) is None, may_take_hours=True)]
    if distributed.rank() == 0:
        time.sleep(1.5)
    distributed.barrier()
    return made


def threads_of_groups() -> list[str]:
    """The names of the threads that a process group has in this process."""
    gc.collect()
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    return [name for name in names if "gloo" in name]


@cache
def alone_in(dtype: torch.dtype) -> dict[tuple[str, str], list[Tensor]]:
    """By one process."""
    return games(dtype)


def play(task: str, processes: int, folder: Path) -> list[object]:
    """What each process makes of a task; no thread is left that could run into the interpreter's end."""
    code = (
        f"import pickle, sys, torch; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import test_distributed as tests\nfrom sparring.distributed import collectives as distributed\n"
        f"with distributed.process_group():\n"
        f"    made = tests.{task}\n    pickle.dump(made, open({str(folder)!r} + f'/{{distributed.rank()}}', 'wb'))\n"
        "assert not tests.threads_of_groups()"
    )
    started = start_together(processes, code=code, cwd=folder)
    errors = [process.communicate()[1] for process in started]
    assert not any(process.returncode for process in started), "\n".join(errors)
    return [pickle.loads((folder / str(rank)).read_bytes()) for rank in range(processes)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "dtype", "tolerance"),
    [(2, torch.float64, 1e-10), (4, torch.float64, 1e-10), (2, torch.float32, 1e-5)],
)
def test_every_game_of_several_processes_is_that_of_one(
    processes: int, dtype: torch.dtype, tolerance: float, tmp_path: Path
) -> None:
    alone = alone_in(dtype)
    for weights_of in play(f"games({dtype})", processes, tmp_path):
        assert isinstance(weights_of, dict)
        for case in CASES:
            for mine, theirs in zip(weights_of[case], alone[case], strict=True):
                torch.testing.assert_close(
                    mine, theirs, rtol=0, atol=tolerance, msg=lambda text, case=case: f"{case} {text}"
                )


def test_a_training_of_two_processes_is_that_of_one(tmp_path: Path) -> None:
    expected = trainings()
    first, second = play("trainings()", 2, tmp_path)
    assert isinstance(first, list)
    assert isinstance(second, list)
    for mine, other, alone in zip(first, second, expected, strict=True):
        assert torch.equal(mine, other)
        torch.testing.assert_close(mine, alone, rtol=0, atol=1e-10)


def test_two_processes_that_play_parts_of_a_batch_are_one_that_plays_all(tmp_path: Path) -> None:
    expected = training_in_parts(1)
    for made in play("training_in_parts(4)", 2, tmp_path):
        assert isinstance(made, list)
        for mine, alone in zip(made, expected, strict=True):
            torch.testing.assert_close(mine, alone, rtol=0, atol=1e-10)


def test_the_collective_operations(tmp_path: Path) -> None:
    deviation = torch.arange(12.0).std().item()
    for rank, made in enumerate(play("operations()", 2, tmp_path)):
        assert isinstance(made, list)
        assert made[0] == pytest.approx(deviation)
        assert made[1].tolist() == [9.0, 11.0, 13.0]
        assert made[2] == [0.0, 3.0]
        assert made[3] == {"made by": 0}
        assert made[4] == rank
        assert made[5] == ("ZeroDivisionError" if rank == 0 else "ProcessError")


def test_a_start_is_told_from_those_before(tmp_path: Path) -> None:
    """Red where what dead processes left in the launcher's store is taken for what this start's say."""
    store = HashStore()
    for start in range(3):
        for rank in (1, 2):
            store.set(f"call/{rank}", f"dead {start}")
        with ThreadPoolExecutor(3) as pool:
            names = list(pool.map(lambda rank: distributed._name_of_start(store, rank, 3), range(3)))
        assert len(set(names)) == 1
        assert not store.check([f"seen/{names[0]}"])
        store.set(f"seen/{names[0]}", "")


def test_preparations_may_take_longer_than_a_step(tmp_path: Path) -> None:
    """Silence is the thing under test, and nothing but time tells when it was long enough."""
    assert play("preparations()", 2, tmp_path) == [[True], [True]]


def test_a_batch_that_cannot_be_shared_evenly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparring.training.resolve.world_size", lambda: 3)
    with pytest.raises(sparring.UsageError, match="batch of 64 cannot be shared by 3 processes"):
        resolve(make_request("digits", None, batch_size=64))
