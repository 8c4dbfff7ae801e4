"""Trains the digit classifier that comes with the package, and prints how many held-out digits it gets right.

    python benchmarks/digit_classifier.py --out digit_classifier.safetensors

It trains on the 9,000 training digits only, randomly rotated, scaled, sheared and shifted. The recipe is fixed and the
last weights are the result, so the held-out digits choose nothing. Batch normalisation is folded into the layers
afterwards, and the weights are stored in half precision (250 KB). Takes six minutes on one thread.
"""

import argparse
import math
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from sparring import Items, open_dataset
from sparring.metrics.digit_classifier import build

EPOCHS, BATCH, RATE, WEIGHT_DECAY = 40, 100, 3e-3, 0.05


def fold(trained: nn.Sequential) -> nn.Sequential:
    """The same function without batch normalisation, which is merged into the layers before it."""
    layers: list[nn.Module] = []
    for layer in trained.eval():
        if isinstance(layer, nn.BatchNorm2d) and isinstance(layers[-1], nn.Conv2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
        elif isinstance(layer, nn.BatchNorm1d) and isinstance(layers[-1], nn.Linear):
            layers[-1] = fuse_linear_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    folded = build()
    folded.load_state_dict(nn.Sequential(*layers).state_dict())
    return folded


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """A random small rotation, scaling, shear and shift of each image."""

    def uniform(limit: float) -> Tensor:
        return (torch.rand(len(images), generator=generator) * 2 - 1) * limit

    angle, shear = uniform(math.radians(12)), uniform(0.2)
    scale_x, scale_y = torch.exp(uniform(0.15)), torch.exp(uniform(0.15))
    shift_x, shift_y = uniform(2.5 / 14), uniform(2.5 / 14)  # 2.5 pixels
    cos, sin = angle.cos(), angle.sin()
    first = torch.stack([scale_x * cos, scale_x * (shear * cos - sin), shift_x], 1)
    second = torch.stack([scale_y * sin, scale_y * (shear * sin + cos), shift_y], 1)
    grid = affine_grid(torch.stack([first, second], 1), list(images.shape), align_corners=False)
    # + 1 − 1: grid_sample pads with 0, which must be the background.
    return grid_sample(images + 1, grid, align_corners=False) - 1


def tensors(items: Items) -> tuple[Tensor, Tensor]:
    """Images in [−1, 1] and labels."""
    assert items.item_labels is not None
    return items.items.float().div(127.5).sub(1), items.item_labels


@torch.inference_mode()
def accuracy(network: nn.Sequential, images: Tensor, labels: Tensor) -> float:
    """The share of images that a network classifies correctly."""
    return float((network(images).argmax(1) == labels).double().mean())


def main() -> None:
    """Train, store, and test the stored weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("digit_classifier.safetensors"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the same result every time
    torch.manual_seed(arguments.seed)
    generator = torch.Generator().manual_seed(arguments.seed)
    dataset = open_dataset("digits")
    assert isinstance(dataset.train, Items)
    assert isinstance(dataset.heldout, Items)
    images, labels = tensors(dataset.train)

    network = build(batch_norm=True)
    steps_an_epoch = len(images) // BATCH
    steps = EPOCHS * steps_an_epoch
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(  # an epoch of linear warm-up, and a cosine to zero
        optimizer, lambda step: min(1.0, (step + 1) / steps_an_epoch) * 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    for epoch in range(EPOCHS):
        for index in torch.split(torch.randperm(len(images), generator=generator), BATCH):
            loss = cross_entropy(network(augment(images[index], generator)), labels[index])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1} of {EPOCHS}: loss {loss.item():.4f}", flush=True)

    weights = {name: value.half().contiguous() for name, value in fold(network).state_dict().items()}
    save_file(weights, arguments.out)
    stored = build().eval()
    stored.load_state_dict({name: value.float() for name, value in load_file(arguments.out).items()})
    print(f"train {accuracy(stored, images, labels):.4f}  held out {accuracy(stored, *tensors(dataset.heldout)):.4f}")


if __name__ == "__main__":
    main()
