"""Trains on a real folder: Twitter's emoji, 3,786 PNGs of 64×64 pixels with transparency.

    python benchmarks/emoji.py [--size 64] [--minutes 30] [--out runs/emoji-64]

The images come from npm's package emoji-datasource-twitter (C. Henderson; the pictures: Twitter, CC BY 4.0), which is
downloaded, checked against the published checksum and unpacked once. Writes docs/images/emoji-SIZE.png, with real
images above samples.
"""

import argparse
import base64
import hashlib
import io
import shutil
import tarfile
import urllib.request
from pathlib import Path

import numpy as np
import torch

import sparring
from sparring.data import Items, to_float

URL = "https://registry.npmjs.org/emoji-datasource-twitter/-/emoji-datasource-twitter-16.0.0.tgz"
SHA512 = "7F+uCuHH+7Qnrc15P5tnbvKkg9E6tlzi4MnT2uW1RlN4pLYTza6cP/dstIfSDMtpjFLWuZewWg8jBbuL2eyELQ=="
INSIDE, KINDS = Path("package/img/twitter/64"), Path("package/emoji.json")
PICTURES = Path("docs/images")


def fetch(folder: Path) -> Path:
    """Download the images, and beside them emoji.json, which tells their kinds; unless both are there already."""
    images, kinds = folder / "emoji", folder / "emoji.json"
    if images.exists() and kinds.exists():
        return images
    with urllib.request.urlopen(URL, timeout=60) as answer:
        data = answer.read()
    if base64.b64encode(hashlib.sha512(data).digest()).decode() != SHA512:
        raise SystemExit(f"{URL} is not the published file: its checksum differs")
    unpacked = folder / "emoji.part"
    unpacked.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(images, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            path = Path(member.name)
            if path.parent == INSIDE and path.suffix == ".png" and (file := archive.extractfile(member)):
                (unpacked / path.name).write_bytes(file.read())
            elif path == KINDS and (file := archive.extractfile(member)):
                kinds.write_bytes(file.read())
    unpacked.rename(images)
    return images


def main() -> None:
    """Download, train, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--network", help="the usual one for the size by default")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    folder = fetch(Path("runs"))
    settings = {"network": arguments.network} if arguments.network else {}
    out = arguments.out or Path(f"runs/emoji-{arguments.size}")
    run = sparring.train(str(folder), size=arguments.size, minutes=arguments.minutes, out=out, **settings)
    dataset = sparring.open_dataset(str(folder), (arguments.size, arguments.size))
    assert isinstance(dataset.train, Items)
    chosen = torch.linspace(0, len(dataset.train) - 1, 32).long()
    real = dataset.modality.decode(to_float(dataset.train.take(chosen)))
    fake = sparring.load(run.path).sample(96, seed=1)
    PICTURES.mkdir(parents=True, exist_ok=True)
    dataset.modality.picture(np.concatenate([real, fake]), 16).save(PICTURES / f"emoji-{arguments.size}.png")
    summary = run.summary()
    print(f"{summary.steps:,} steps, {summary.images / summary.seconds:,.0f} images/s")
    print(summary.metrics, [alarm.name for alarm in summary.health])


if __name__ == "__main__":
    main()
