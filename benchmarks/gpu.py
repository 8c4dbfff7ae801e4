"""What a GPU does with sparring, in at most eight minutes: the table "On GPUs" of docs/scale.md.

    python benchmarks/gpu.py [--out gpu.json] [--pictures FOLDER] [--fashion FOLDER] [--device cpu --quick]

It needs this checkout and Python with PyTorch and the packages in `NEEDED`, and no installation. Each part runs in a
process of its own with its own limit of time; a part that fails or has nothing to work on says so, and the others go
on. The result is a file of JSON, and a table in Markdown beside it. With `--quick` all parts are tiny and run in this
process: it only shows that the script works.
"""

import argparse
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

NEEDED = (
    "torch", "numpy", "PIL", "safetensors", "pydantic", "annotated_types", "tyro", "rich", "matplotlib", "jinja2",
    "filelock", "jaxtyping",
)  # fmt: skip
TOTAL_SECONDS = 470.0
Rows = list[tuple[str, str]]


@dataclass(frozen=True)
class Given:
    """What a part is given."""

    device: Literal["cpu", "cuda"]
    quick: bool
    folder: Path  # for its files
    pictures: Path | None  # the user's own
    fashion: Path | None  # a folder with its four files; None for where they usually are


class SkippedError(Exception):
    """Why a part has nothing to work on."""


def check_devices(given: Given) -> Rows:
    """The paths of a device: train, save, resume, sample; float64 against the CPU, and a batch in parts."""
    import torch

    import sparring

    run = given.folder / "run"
    steps = 2 if given.quick else 100
    small: dict[str, Any] = {"device": given.device, "progress": False, "evaluation_share": 0.0, "width": 8}
    sparring.train("digits", out=run, steps=steps, **small)
    done = sparring.resume(run, steps=2 * steps, progress=False)
    assert done.summary().steps == 2 * steps
    assert sparring.load(run).sample(20, seed=1).shape == (20, 28, 28)
    rows = [("train, save, resume, load, sample", "as on the CPU")]
    kinds: dict[str, dict[str, Any]] = {
        "": {},
        " with r1r2": {"penalty": "r1r2"},
        " in four parts": {"accumulate": 4},
        " with activations computed again": {"recompute": True},
    }
    for name, settings in kinds.items():
        states = []
        for device in ("cpu", given.device):
            game = build(device, 16, 8, steps=3, precision="float32", **settings)
            for player in (game.generator, game.discriminator):
                player.double()
            play(game, 16, 8, 3, dtype=torch.float64)
            states.append([value.double().cpu() for value in game.generator.state_dict().values()])
        worst = max((mine - other).abs().max().item() for mine, other in zip(*states, strict=True))
        assert worst < 1e-6, f"float64{name}: weights differ by {worst}"
        rows.append((f"largest difference of weights from the CPU's after 3 steps in float64{name}", f"{worst:.0e}"))
    return rows


def build(device: str, side: int, batch: int, **settings: Any) -> Any:
    """A game on coloured squares."""
    from sparring.generator.config import Config
    from sparring.modalities.images import Images
    from sparring.training.build import build_game
    from sparring.training.recipe import make_request
    from sparring.training.resolve import _choose_preset, complete

    network = {"network": "resnet", "normalization": "none"}
    request = make_request("digits", None, size=side, batch_size=batch, device=device, **network | settings)
    images = Images((3, side, side))
    recipe = complete(request, _choose_preset(request, images), images)
    return build_game(recipe, Config(images, recipe.network, recipe.latent_dim, recipe.prior, recipe.width))


def play(game: Any, side: int, batch: int, steps: int, dtype: Any = None) -> list[float]:
    """Play steps on the same random images, and return each generator's loss."""
    import torch

    torch.manual_seed(0)
    real = torch.rand(batch, 3, side, side).mul(2).sub(1).to(next(game.generator.parameters()).device, dtype)
    return [game.step(real).generator_loss for _ in range(steps)]


def compare_precisions(given: Given) -> Rows:
    """Steps a second and losses of float32, bfloat16 and compiled networks."""
    import torch

    side, batch, steps = (16, 8, 2) if given.quick else (128, 64, 20)
    kinds: dict[str, dict[str, Any]] = {"float32": {"precision": "float32"}, "bfloat16": {"precision": "bfloat16"}}
    if not given.quick:
        kinds["bfloat16, compiled"] = {"precision": "bfloat16", "compile": True}
    rows: Rows = []
    first: list[float] = []
    for name, settings in kinds.items():
        game = build(given.device, side, batch, steps=1, **settings)
        losses = play(game, side, batch, 5)  # the first ones take longer
        first = first or losses
        worst = max(abs(mine - other) for mine, other in zip(losses, first, strict=True))
        assert worst < 0.2, f"{name}: the generator's loss differs by {worst} from float32's"
        start = time.perf_counter()
        play(game, side, batch, steps)
        if given.device == "cuda":
            torch.cuda.synchronize()
        rate = steps / (time.perf_counter() - start)
        rows.append((f"{name}: steps/s, {side} px, batch {batch}", f"{rate:.1f}"))
        rows.append((f"{name}: largest difference of a loss from float32's in 5 steps", f"{worst:.1e}"))
    return rows


def time_quality(data: str, given: Given) -> Rows:
    """The distance by the seconds of training."""
    import sparring

    limit: dict[str, Any] = {"steps": 4, "evaluation_steps": 2} if given.quick else {"minutes": 0.35}
    run = sparring.train(data, out=given.folder / "run", device=given.device, progress=False, **limit)
    lines = [line for line in run.log() if "distance" in line.get("evaluation", {})]
    if not lines:
        raise SkippedError("no evaluation came in time")
    shown = lines[:: max(1, len(lines) // 4)] + lines[-1:]
    return [(f"distance after {each['seconds']:.0f} s", f"{each['evaluation']['distance']:.3f}") for each in shown]


def train_digits(given: Given) -> Rows:
    """Time to quality of the digits."""
    return time_quality("digits", given)


def train_fashion(given: Given) -> Rows:
    """Time to quality of Fashion-MNIST."""
    from sparring.data.idx import DEBIAN_FOLDER, holds_idx
    from sparring.files import cache_folder

    places = [given.fashion] if given.fashion else [each / "fashion-mnist" for each in (DEBIAN_FOLDER, cache_folder())]
    for folder in places:
        if holds_idx(folder):
            return time_quality(str(folder), given)
    raise SkippedError("its four files are not here: give --fashion FOLDER")


def train_pictures(side: int, given: Given) -> Rows:
    """Two minutes on pictures: the user's own, or drawn ones."""
    import sparring

    folder = given.pictures or draw_pictures(given.folder / "drawn", 24 if given.quick else 1000, side)
    limit: dict[str, Any] = {"steps": 2, "batch_size": 4} if given.quick else {"minutes": 2.0}
    run = sparring.train(folder, size=side, out=given.folder / "run", device=given.device, progress=False, **limit)
    summary = run.summary()
    found = [line["evaluation"]["distance"] for line in run.log() if "distance" in line.get("evaluation", {})]
    return [
        ("pictures", "the folder given" if given.pictures else "drawn discs, since no folder was given"),
        ("steps", f"{summary.steps:,}"),
        ("images/s", f"{summary.images / summary.seconds:.1f}"),
        ("distances", ", ".join(f"{each:.3g}" for each in found[:1] + found[-1:]) or "none"),
    ]


def train_128(given: Given) -> Rows:
    """128 px."""
    return train_pictures(32 if given.quick else 128, given)


def train_256(given: Given) -> Rows:
    """256 px."""
    return train_pictures(32 if given.quick else 256, given)


def draw_pictures(folder: Path, count: int, side: int) -> Path:
    """Coloured discs on coloured ground, as PNG files."""
    import numpy as np
    from PIL import Image, ImageDraw

    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for number in range(count):
        image = Image.new("RGB", (side, side), tuple(random.integers(0, 256, 3).tolist()))
        for _ in range(3):
            (x, y), half = random.integers(0, side, 2), random.integers(side // 8, side // 3)
            colour = tuple(random.integers(0, 256, 3).tolist())
            ImageDraw.Draw(image).ellipse([x - half, y - half, x + half, y + half], fill=colour)
        image.save(folder / f"{number}.png", compress_level=1)
    return folder


def time_samples(given: Given) -> Rows:
    """The seconds of `sample(10_000)`."""
    from sparring.generator.config import Config
    from sparring.generator.generator import Generator
    from sparring.modalities.images import Images

    side, count = (16, 20) if given.quick else (64, 10_000)
    game = build(given.device, side, 8, steps=1)
    generator = Generator(game.generator, Config(Images((3, side, side)), "resnet", 64, "gaussian", 8))
    generator.sample(100)
    start = time.perf_counter()
    assert len(generator.sample(count)) == count
    return [(f"sample({count:,}), {side} px, seconds", f"{time.perf_counter() - start:.2f}")]


def use_collectives(given: Given) -> Rows:
    """NCCL (on the CPU gloo) with one process: the sum, and a step beside it."""
    import torch
    import torch.distributed as dist

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    backend = "nccl" if given.device == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"tcp://127.0.0.1:{port}", rank=0, world_size=1)
    try:
        values = torch.ones(1_000_000, device=given.device)
        dist.all_reduce(values)
        assert values.sum().item() == 1_000_000
        game = build(given.device, 16, 8, steps=1)
        play(game, 16, 8, 2)
    finally:
        dist.destroy_process_group()
    return [(f"{backend} with one process", "a sum and two steps are right")]


def compare_memory(given: Given) -> Rows:
    """The peak of a step against the prediction; on the CPU there is only the prediction."""
    import torch

    from sparring.modalities.images import Images
    from sparring.training.footprint import predict_memory
    from sparring.training.recipe import make_request
    from sparring.training.resolve import _choose_preset, complete

    rows: Rows = []
    for side, batch in ((16, 8),) if given.quick else ((64, 64), (128, 32), (256, 16)):
        images = Images((3, side, side))
        settings = {"size": side, "batch_size": batch, "device": given.device, "steps": 1, "precision": "float32"}
        request = make_request("digits", None, network="resnet", normalization="none", **settings)
        predicted = predict_memory(complete(request, _choose_preset(request, images), images), images)
        told = f"{predicted / 1e9:.2f} GB predicted"
        if given.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            play(build(given.device, side, batch, steps=1, precision="float32"), side, batch, 2)
            measured = torch.cuda.max_memory_reserved()
            told += f", {measured / 1e9:.2f} measured ({predicted / measured - 1:+.0%})"
        rows.append((f"peak memory, {side} px, batch {batch}", told))
    return rows


PARTS: dict[str, tuple[Callable[[Given], Rows], float]] = {  # with its most seconds; the long ones last
    "devices": (check_devices, 60),
    "precision": (compare_precisions, 90),
    "samples": (time_samples, 30),
    "collectives": (use_collectives, 30),
    "memory": (compare_memory, 45),
    "digits": (train_digits, 45),
    "fashion-mnist": (train_fashion, 45),
    "pictures, 128 px": (train_128, 140),
    "pictures, 256 px": (train_256, 150),
}


def run_part(name: str, given: Given) -> dict[str, Any]:
    """The rows of a part, or why it has none."""
    start, found = time.perf_counter(), dict[str, Any]()
    try:
        found["rows"] = PARTS[name][0](given)
    except SkippedError as why:
        found["skipped"] = str(why)
    except Exception as error:  # the other parts go on
        found["failed"] = f"{type(error).__name__}: {error}"
    return found | {"seconds": round(time.perf_counter() - start, 1)}


def run_apart(name: str, arguments: list[str], seconds: float) -> dict[str, Any]:
    """Run a part in a process of its own, which is ended after so many seconds."""
    if seconds < 5:
        return {"skipped": "no time was left"}
    with TemporaryDirectory() as folder:
        out = Path(folder) / "part.json"
        command = [sys.executable, __file__, *arguments, "--part", name, "--out", str(out)]
        try:
            done = subprocess.run(command, timeout=seconds, capture_output=True, text=True, check=False)
        except subprocess.TimeoutExpired:
            return {"failed": f"took longer than {seconds:.0f} s"}
        if not out.exists():
            return {"failed": f"ended with {done.returncode}: {done.stderr[-300:]}"}
        found: dict[str, Any] = json.loads(out.read_text())
        return found


def describe_machine(device: str) -> dict[str, str]:
    """The device and the versions."""
    import torch

    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    return {"device": name, "torch": torch.__version__, "cuda": str(torch.version.cuda), "python": sys.version[:7]}


def lines_of(result: dict[str, Any]) -> Iterator[str]:
    """The table in Markdown."""
    machine = result["machine"]
    yield f"{machine['device']}, PyTorch {machine['torch']}{', quick: nothing to publish' if result['quick'] else ''}"
    yield ""
    yield "| part | | |\n|---|---|---|"
    for name, found in result["parts"].items():
        rows = found.get("rows") or [(each, found[each]) for each in ("skipped", "failed") if each in found]
        for what, value in rows:
            yield f"| {name} | {what} | {str(value).replace('|', '/').splitlines()[0]} |"


def main() -> None:
    """Run all parts."""
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        sys.exit(f"these packages are missing: {', '.join(missing)}: pip install them (PIL is pillow)")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--fashion", type=Path)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--part", choices=PARTS)
    asked = parser.parse_args()
    import torch

    if asked.device == "cuda" and not torch.cuda.is_available():
        sys.exit("PyTorch finds no CUDA device here: give --device cpu --quick to see that the script works")
    start, parts = time.monotonic(), dict[str, Any]()
    with TemporaryDirectory() as folder:
        for name in [asked.part] if asked.part else PARTS:
            place = Path(folder) / name.split()[0].strip(",") / str(len(parts))
            place.mkdir(parents=True)
            if asked.part or asked.quick:
                parts[name] = run_part(name, Given(asked.device, asked.quick, place, asked.pictures, asked.fashion))
            else:
                given = ["--device", asked.device]
                for option in ("pictures", "fashion"):
                    given += [f"--{option}", str(value)] if (value := getattr(asked, option)) else []
                left = TOTAL_SECONDS - (time.monotonic() - start)
                parts[name] = run_apart(name, given, min(PARTS[name][1], left))
            print(f"{name}: {parts[name]}", file=sys.stderr, flush=True)
    if asked.part:
        asked.out.write_text(json.dumps(parts[asked.part]))
        return
    result = {"machine": describe_machine(asked.device), "quick": asked.quick, "parts": parts}
    asked.out.write_text(json.dumps(result, indent=2) + "\n")
    text = "\n".join(lines_of(result)) + "\n"
    asked.out.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
