"""Translates pictures of two domains without pairs, where the right answers are known, and counts how near it comes.

    python benchmarks/two_domains.py [--tasks colour inverted thick emoji] [--recipe restyle] [--minutes 10]
                                     [--seeds 0 1 2] [--set KEY=VALUE ...] [--out runs]

- colour, inverted, thick: digits, and the same kind of digits changed by a known map. The training digits are split in
  two halves, one for each domain, so no digit has its answer among the data. The error is the mean of |made − wanted|
  over the pixels of 1,000 held-out digits, with pixels in [−1, 1].
- emoji: Twitter's to Google's, 32×32 pixels. 500 emoji are held out from both domains, and the others are split in two
  halves. A held-out translation is right if the nearest of Google's 500, by the mean squared difference of pixels, is
  of its code point. The images come from npm (C. Henderson; the pictures: Twitter, CC BY 4.0, and Google, Apache 2.0).

It prints the same figures for the untranslated items, and saves a picture in each run, with rows of what went in, what
came out, and what was wanted.
"""

import argparse
import base64
import hashlib
import io
import tarfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import sparring
from sparring.data.digits import load_digits
from sparring.modalities.output import stack_rows
from sparring.seeding import Stream
from sparring.training.recipe import check_setting

NPM = "https://registry.npmjs.org/emoji-datasource-{0}/-/emoji-datasource-{0}-16.0.0.tgz"
SHA512 = {
    "twitter": "7F+uCuHH+7Qnrc15P5tnbvKkg9E6tlzi4MnT2uW1RlN4pLYTza6cP/dstIfSDMtpjFLWuZewWg8jBbuL2eyELQ==",
    "google": "ZRexfzs7MVoLnmzZmNsO4TKhnAJp5D++Vm6PpUpH/jEQQlemp3l88CjZ+DoZ2faM9R4QxZkOPJCoT8DlPhfQ3A==",
}
EMOJI_SIDE, NUM_HELDOUT_EMOJI = 32, 500
PAPER, INK = torch.tensor([20.0, 40.0, 120.0]), torch.tensor([250.0, 220.0, 60.0])


@dataclass(frozen=True)
class Task:
    """Two domains, and held-out items with their right answers; uint8 arrays [n, height, width(, 3)]."""

    source: np.ndarray
    target: np.ndarray
    heldout: np.ndarray
    answers: np.ndarray


def colour(images: Tensor) -> Tensor:
    """Yellow ink on blue paper, of grey images in three channels."""
    share = images.float() / 255
    return (PAPER.view(3, 1, 1).lerp(INK.view(3, 1, 1), share)).round().to(torch.uint8)


def thick(images: Tensor) -> Tensor:
    """Each pixel becomes the brightest of the nine around it."""
    return torch.nn.functional.max_pool2d(images.float(), 3, stride=1, padding=1).to(torch.uint8)


MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "colour": colour,
    "inverted": lambda images: 255 - images,
    "thick": thick,
}


def digits(name: str) -> Task:
    """Digits, and other digits as a map changes them."""
    train, heldout = (each.items for each in load_digits())
    if name == "colour":
        train, heldout = train.expand(-1, 3, -1, -1), heldout.expand(-1, 3, -1, -1)
    change = MAPS[name]
    parts = train[0::2], change(train[1::2]), heldout, change(heldout)
    source, target, items, answers = (each.permute(0, 2, 3, 1).squeeze(3).numpy() for each in parts)
    return Task(source, target, items, answers)


def fetch(drawer: str, folder: Path) -> dict[str, np.ndarray]:
    """All emoji of a drawer by their code points, on white; downloaded once."""
    file = folder / f"emoji-{drawer}-{EMOJI_SIDE}.npz"
    if not file.exists():
        with urllib.request.urlopen(NPM.format(drawer), timeout=60) as answer:
            data = answer.read()
        if base64.b64encode(hashlib.sha512(data).digest()).decode() != SHA512[drawer]:
            raise SystemExit(f"{NPM.format(drawer)} is not the published file: its checksum differs")
        images = {}
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                path = Path(member.name)
                is_emoji = path.parent == Path(f"package/img/{drawer}/64") and path.suffix == ".png"
                if is_emoji and (part := archive.extractfile(member)):
                    drawn = Image.open(part).convert("RGBA")
                    paper = Image.new("RGBA", drawn.size, "white")
                    image = Image.alpha_composite(paper, drawn).convert("RGB")
                    images[path.stem] = np.asarray(image.resize((EMOJI_SIDE, EMOJI_SIDE), Image.Resampling.BOX))
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(file, names=np.array([*images]), images=np.stack([*images.values()]))
    with np.load(file, allow_pickle=False) as arrays:
        return dict(zip(arrays["names"].tolist(), arrays["images"], strict=True))


def emoji(folder: Path) -> Task:
    """Twitter's emoji, and other emoji by Google."""
    drawn, others = fetch("twitter", folder), fetch("google", folder)
    names = sorted(drawn.keys() & others.keys())
    mixed = [names[i] for i in Stream(0, "benchmark/emoji").permutation(len(names)).tolist()]
    heldout, train = mixed[:NUM_HELDOUT_EMOJI], mixed[NUM_HELDOUT_EMOJI:]
    pairs = (drawn, train[0::2]), (others, train[1::2]), (drawn, heldout), (others, heldout)
    return Task(*(np.stack([images[name] for name in chosen]) for images, chosen in pairs))


def describe_error(made: np.ndarray, answers: np.ndarray) -> str:
    """The mean absolute error in [−1, 1]."""
    return f"error {np.abs(made.astype(float) - answers).mean() / 127.5:.4f}"


def describe_nearest(made: np.ndarray, answers: np.ndarray) -> str:
    """How many are nearest to their own answer, and how many have it among the nearest five."""
    given, wanted = (torch.from_numpy(each.astype(np.float64)).flatten(1) for each in (made, answers))
    nearest = torch.cdist(given, wanted).topk(5, largest=False).indices
    is_right = nearest == torch.arange(len(made))[:, None]
    first, five = is_right[:, 0].double().mean().item(), is_right.any(1).double().mean().item()
    return f"nearest {first:.1%}, among the nearest five {five:.1%}, chance {1 / len(made):.1%}"


def main() -> None:
    """Train and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="*", default=[*MAPS, "emoji"])
    parser.add_argument("--recipe", default="restyle")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    given = (each.partition("=") for each in arguments.set)
    settings = {key: check_setting(key, value, strict=False) for key, _, value in given}
    settings |= {"recipe": arguments.recipe, "minutes": arguments.minutes, "progress": False}
    for name in arguments.tasks:
        task = emoji(arguments.out) if name == "emoji" else digits(name)
        describe = describe_nearest if name == "emoji" else describe_error
        print(f"{name}, untranslated: {describe(task.heldout, task.answers)}; the target's mean item: "
              f"{describe_error(task.target.mean(0)[None], task.answers)}", flush=True)  # fmt: skip
        for seed in arguments.seeds:
            out = arguments.out / f"{name}-{arguments.recipe}-{seed}"
            run = sparring.train(task.target, source=task.source, seed=seed, out=out, **settings)
            made, summary = sparring.load(run).translate(task.heldout), run.summary()
            print(f"{name}, {arguments.recipe}, seed {seed}, {summary.steps} steps in {summary.seconds:.0f} s of "
                  f"{torch.get_num_threads()} threads: {describe(made, task.answers)}", flush=True)  # fmt: skip
            shown = (each[:: len(each) // 24][:24] for each in (task.heldout, made, task.answers))
            sparring.load(run).modality.picture(stack_rows(24, *shown), 24).save(run.path / "translated.png")


if __name__ == "__main__":
    main()
