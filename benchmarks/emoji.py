"""A real folder: Twitter's emoji, 3,786 PNGs of 64×64 with transparency, fetched and trained on.

    python benchmarks/emoji.py [--size 64] [--minutes 30] [--out runs/emoji-64]

The images are of npm's package emoji-datasource-twitter (C. Henderson; the pictures: Twitter, CC BY 4.0), which is
checked against the published checksum and unpacked once. Writes docs/images/emoji-SIZE.png: real images above, samples
below.
"""

import argparse
import base64
import hashlib
import io
import tarfile
import urllib.request
from pathlib import Path

import numpy as np
import torch

import sparring
from sparring import pictures
from sparring.data import Items, open_dataset, to_float
from sparring.generator import to_numpy

URL = "https://registry.npmjs.org/emoji-datasource-twitter/-/emoji-datasource-twitter-16.0.0.tgz"
SHA512 = "7F+uCuHH+7Qnrc15P5tnbvKkg9E6tlzi4MnT2uW1RlN4pLYTza6cP/dstIfSDMtpjFLWuZewWg8jBbuL2eyELQ=="
INSIDE = Path("package/img/twitter/64")
PICTURES = Path("docs/images")


def fetch(folder: Path) -> Path:
    """The images in a folder, which is made if it isn't there."""
    images = folder / "emoji"
    if images.exists():
        return images
    with urllib.request.urlopen(URL, timeout=60) as answer:
        data = answer.read()
    if base64.b64encode(hashlib.sha512(data).digest()).decode() != SHA512:
        raise SystemExit(f"{URL} is not what was published: its checksum differs")
    unpacked = folder / "emoji.part"
    unpacked.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            path = Path(member.name)
            if path.parent == INSIDE and path.suffix == ".png" and (file := archive.extractfile(member)):
                (unpacked / path.name).write_bytes(file.read())
    unpacked.rename(images)
    return images


def main() -> None:
    """Fetch, train, and write the grid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--network", help="the usual one for the size if not given")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    folder = fetch(Path("runs"))
    settings = {"network": arguments.network} if arguments.network else {}
    out = arguments.out or Path(f"runs/emoji-{arguments.size}")
    run = sparring.train(str(folder), size=arguments.size, minutes=arguments.minutes, out=out, **settings)
    train = open_dataset(str(folder), arguments.size).train
    assert isinstance(train, Items)
    real = to_numpy(to_float(train.take(torch.linspace(0, len(train) - 1, 32).long())))
    PICTURES.mkdir(parents=True, exist_ok=True)
    fake = sparring.load(run.path).sample(96, seed=1)
    pictures.save(pictures.grid(np.concatenate([real, fake]), 16), PICTURES / f"emoji-{arguments.size}.png")
    summary = run.summary()
    print(f"{summary.steps:,} steps, {summary.images / summary.seconds:,.0f} images/s")
    print(summary.metrics, [alarm.name for alarm in summary.health])


if __name__ == "__main__":
    main()
