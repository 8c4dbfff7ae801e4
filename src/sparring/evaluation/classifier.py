"""A small classifier of a data set's own labels, trained in less than a minute and kept in the cache.

It hears or sees what matters in the data, so its features tell more than those of random convolutions. The training of
a generator never uses it.
"""

import hashlib
import math
from dataclasses import replace

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sparring.data import MAX_CLASSES
from sparring.data.labels import categories, join_categories
from sparring.files import cache_folder, write_atomically
from sparring.metrics import Extractor
from sparring.metrics.classifier import Classifier
from sparring.modalities.modality import Dataset
from sparring.seeding import Stream
from sparring.types import Labels, OnProgress, Samples

BLOCKS = ((24, 2), (48, 2), (96, 1), (64, 2))  # features and stride of 3×3 convolutions
MAX_ITEMS, STEPS, BATCH, RATE, WEIGHT_DECAY = 10_000, 600, 64, 3e-3, 0.05
MAX_SHIFT, MAX_BRIGHTER = 1 / 16, 0.1  # of the width; of the range


def with_classifier(dataset: Dataset, on_progress: OnProgress = lambda what, share: None) -> Dataset:
    """The data set with a classifier of its labels, if its modality is measured by one and it comes with none."""
    sizes = count_categories(dataset)
    if dataset.classifier is not None or not dataset.modality.trains_classifier or not sizes:
        return dataset
    size, stream = min(MAX_ITEMS, dataset.train.num_items or MAX_ITEMS), Stream(0, "classifier")
    samples, labels = dataset.train.batch(size, stream), dataset.train.labels(size, stream)
    assert labels is not None
    answers = categories(dataset.attributes, labels)
    network = build(samples.shape[1], sum(sizes))
    digest = hashlib.sha256(f"{network} {sizes} {STEPS} {BATCH} {RATE} {WEIGHT_DECAY}".encode())
    for values in (samples, answers):
        digest.update(values.numpy().tobytes())
    file = cache_folder() / "classifiers" / f"{digest.hexdigest()[:16]}.safetensors"
    if not file.exists():
        train(network, samples, answers, sizes, on_progress)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, lambda beside: save_file(network.state_dict(), beside))
    network.load_state_dict(load_file(file))
    network.eval().requires_grad_(False)

    @torch.inference_mode()
    def classify(samples: Samples) -> Labels:
        logits = torch.cat([network(batch) for batch in torch.split(samples, 500)])
        return join_categories(torch.stack([part.argmax(1) for part in torch.split(logits, sizes, 1)], 1), sizes)

    extractor = Extractor("classifier of the labels", network[:-1].eval())  # they share layers
    classifier = Classifier(dataset.modality.item_shape, math.prod(sizes), lambda: extractor, classify)
    return replace(dataset, classifier=classifier)


def count_categories(dataset: Dataset) -> list[int]:
    """How many values each of a data set's categories has: its classes, or the attributes that are no numbers.

    It is empty without labels, and where there are more than MAX_CLASSES combinations.
    """
    sizes = [len(each.values) for each in dataset.attributes if each.values] or [len(dataset.train.class_shares)]
    return sizes if 1 < math.prod(sizes) <= MAX_CLASSES else []


def build(channels: int, num_answers: int) -> nn.Sequential:
    """Convolutions, the mean over all places, and a linear layer."""
    layers: list[nn.Module] = []
    with Stream(0, "classifier/weights").as_default():
        for features, stride in BLOCKS:
            conv = nn.Conv2d(channels, features, 3, stride, 1, bias=False)
            layers += [conv, nn.BatchNorm2d(features), nn.ReLU()]
            channels = features
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_answers))


def train(network: nn.Sequential, samples: Samples, answers: Tensor, sizes: list[int], on_progress: OnProgress) -> None:
    """Train on samples [n, channels, height, width] and answers int64 [n, questions], each below its size.

    Samples are shifted sideways by up to a sixteenth of their width, and made brighter or darker by up to a tenth.
    """
    stream = Stream(0, "classifier/batches")
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    network.train()
    for step in range(STEPS):
        chance = stream.at(step).uniform(2 * BATCH + 1)
        index = (chance[:BATCH] * len(samples)).long()
        shift = round((2 * chance[-1].item() - 1) * MAX_SHIFT * samples.shape[3])
        brighter = (2 * chance[BATCH:-1] - 1) * MAX_BRIGHTER
        batch = (samples[index].roll(shift, 3) + brighter[:, None, None, None]).clamp(-1, 1)
        parts = torch.split(network(batch), sizes, 1)
        loss = torch.stack([cross_entropy(part, answers[index, place]) for place, part in enumerate(parts)]).sum()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        on_progress("training a classifier of the labels, to measure by", (step + 1) / STEPS)
