"""Groups of images that two domains share, learned without labels.

Two views of each image are drawn, which show the same: turned, sheared, stretched, shifted, bent, thicker or thinner,
and scribbled on, so that one detail, such as the bar of a seven, does not tell them from other images. Their features
should find each other among all others of their domain (InfoNCE), and fall into the same of a few groups, of which each
domain uses all equally (invariant information clustering). Neither compares images of different domains, so the
features don't tell the domain, and what both domains show falls into the same groups.
"""

import copy
import hashlib
import math
from collections.abc import Sequence
from typing import final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from torch.nn.utils import convert_conv2d_weight_memory_format

from sparring.data.clusters import k_means
from sparring.data.items import Items, to_float
from sparring.files import cache_folder, write_atomically
from sparring.game.augment import warp
from sparring.game.optimizers import Adam
from sparring.game.sources import Source
from sparring.seeding import Stream
from sparring.types import Features, OnProgress, Samples

NUM_HEADS, NUM_GROUPS = 3, 20  # groupings of the images while features are learned, and the groups of each
FEATURE_STEPS, ROUND_STEPS, BATCH = 700, 230, 128  # items of each domain in a step
SCRIBBLED = 0.6  # the share of views with a stray stroke
LEARNED, KEPT = 0.9, 0.98  # shares of each group, the surest items: those a classifier learns from, and the result
TEMPERATURE = 0.2
SHARPNESS, NUM_BALANCINGS = 0.1, 50
NUM_FITTED, NUM_STARTS = 5_000, 60  # items of each domain, and starts, of k-means


def info_nce(first: Features, second: Features) -> Tensor:
    """−log of the share of the right pair, by the features' cosines, mean over both directions.

    Source: van den Oord et al. 2018, arXiv:1807.03748, eq. 4; as in Chen et al. 2020, arXiv:2002.05709, eq. 1.
    """
    cosines = first @ second.T / TEMPERATURE
    right = torch.arange(len(first), device=first.device)
    return (cross_entropy(cosines, right) + cross_entropy(cosines.T, right)) / 2


def shared_information(first: Tensor, second: Tensor) -> Tensor:
    """The mutual information of the groups of two views, from their probabilities [batch, groups].

    Source: Ji et al. 2019, "Invariant information clustering", arXiv:1807.06653, eq. 3.
    """
    joint = first.T @ second / len(first)
    joint = ((joint + joint.T) / 2).clamp_min(1e-8)
    return (joint * (joint.log() - joint.sum(1, keepdim=True).log() - joint.sum(0, keepdim=True).log())).sum()


def scribble(images: Samples, stream: Stream) -> Samples:
    """Draw a bright straight stroke across a part of some images [batch, channels, height, width] in [−1, 1].

    Of any direction, a seventh to three sevenths of the side long, and about 3 pixels wide.
    """
    height, width = images.shape[2:]
    drawn = stream.uniform(len(images), 5).to(images)[:, :, None, None]
    right, down, turn, length, chance = drawn.unbind(1)
    rows, columns = (torch.linspace(-1, 1, side, device=images.device) for side in (height, width))
    x, y = columns - 0.7 * (2 * right - 1), rows[:, None] - 0.7 * (2 * down - 1)
    cos, sin = (math.pi * turn).cos(), (math.pi * turn).sin()
    along, across = (x * cos + y * sin).abs(), (y * cos - x * sin).abs() * min(height, width) / 2
    ink = (1.6 - across).clamp(0, 1) * (along < (1 + 2 * length) / 7) * (chance < SCRIBBLED)
    return torch.maximum(images, 2 * ink[:, None] - 1)


@final
class Likeness(nn.Module):
    """From images of 28×28 or other sides divisible by 4, at least 16, to features of length 1, [batch, 64]."""

    def __init__(self, item_shape: tuple[int, ...], width: int = 24) -> None:
        super().__init__()
        channels, height, columns = item_shape

        def conv(inputs: int, outputs: int, kernel: int, stride: int) -> list[nn.Module]:
            layer = nn.Conv2d(inputs, outputs, kernel, stride, 1, bias=False)
            return [layer, nn.BatchNorm2d(outputs), nn.ReLU()]

        self.layers = nn.Sequential(
            *conv(channels, width, 4, 2), *conv(width, 2 * width, 4, 2),
            *conv(2 * width, 2 * width, 3, 1), *conv(2 * width, 4 * width, 4, 2),
            nn.Flatten(), nn.Linear(4 * width * (height // 8) * (columns // 8), 128),
        )  # fmt: skip
        self.projection = nn.Sequential(nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 64))
        self.heads = nn.Linear(128, NUM_HEADS * NUM_GROUPS)

    def forward(self, images: Samples) -> Features:
        """The features."""
        return normalize(self.projection(self.layers(images)), dim=1)

    def loss(self, first: Samples, second: Samples, num_domains: int) -> Tensor:
        """Of two views of a batch that consists of equal parts, one of each domain."""
        hidden = self.layers(torch.cat([first, second]).contiguous(memory_format=torch.channels_last)).float()
        features = normalize(self.projection(hidden), dim=1)
        groups = self.heads(hidden).unflatten(1, (NUM_HEADS, NUM_GROUPS)).softmax(2)
        total = features.new_zeros(())
        ones, twos = (half.chunk(num_domains) for half in features.chunk(2))
        for one, two in zip(ones, twos, strict=True):
            total = total + 0.5 * info_nce(one, two) / num_domains
        ones, twos = (half.chunk(num_domains) for half in groups.chunk(2))
        for one, two in zip(ones, twos, strict=True):
            for head in range(NUM_HEADS):
                total = total - 2 * shared_information(one[:, head], two[:, head]) / (NUM_HEADS * num_domains)
        return total


def share_groups(
    domains: Sequence[tuple[Items, Items]], num_groups: int, seed: int, on_progress: OnProgress
) -> list[tuple[Items, Items]]:
    """Sort the images of several domains into the same groups, each as frequent in one domain as in the other.

    First features are learned, then groups are found by k-means, and at last a classifier learns from the surest items
    of each group and sorts all of them.

    Args:
        domains: the training items and the held-out items of each.
        num_groups: how many groups.
        seed: of the networks, views and batches.
        on_progress: called with what is being done.

    Returns:
        The same with the groups as labels; of each group's training items only the surest are left.
    """
    probabilities = iter(_sort_once(domains, num_groups, seed, on_progress))
    found = []
    for train, heldout in domains:
        of_train, of_heldout = next(probabilities), next(probabilities)
        kept = surest(of_train, KEPT)
        found.append((
            Items(train.take(kept), of_train.argmax(1)[kept], num_classes=num_groups),
            Items(heldout.items, of_heldout.argmax(1), num_classes=num_groups),
        ))  # fmt: skip
    return found


def _sort_once(
    domains: Sequence[tuple[Items, Items]], num_groups: int, seed: int, on_progress: OnProgress
) -> list[Tensor]:
    """The probabilities of the groups, [n, num_groups], of all parts; they are kept in the cache for a resume."""
    trains, parts = [train for train, _ in domains], [part for pair in domains for part in pair]
    settings = (
        FEATURE_STEPS, ROUND_STEPS, BATCH, SCRIBBLED, LEARNED, NUM_HEADS, NUM_GROUPS, TEMPERATURE, SHARPNESS,
        NUM_BALANCINGS, NUM_FITTED, NUM_STARTS,
    )  # fmt: skip
    digest = hashlib.sha256(f"{settings} {num_groups} {seed}".encode())
    for part in parts:
        for numbers in torch.split(torch.arange(part.num_items), 500):
            digest.update(part.take(numbers).numpy().tobytes())
    file = cache_folder() / "groups" / f"{digest.hexdigest()[:16]}.safetensors"
    if not file.exists():
        network = learn_likeness(trains, seed, on_progress)
        found = find_groups(network, trains, num_groups, seed)
        on_progress("sorting the images of both domains", 0.8)
        classifier = learn_from_the_surest(network, trains, found, seed, on_progress)
        sorted_parts = {str(number): evenly(_apply(classifier, part)) for number, part in enumerate(parts)}
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, lambda beside: save_file(sorted_parts, beside))
    loaded = load_file(file)
    return [loaded[str(number)] for number in range(len(parts))]


def learn_likeness(domains: Sequence[Source], seed: int, on_progress: OnProgress) -> Likeness:
    """A network of features that has learned from all domains."""
    with Stream(seed, "likeness/weights").as_default():
        network = Likeness(domains[0].item_shape)
    convert_conv2d_weight_memory_format(network, torch.channels_last)
    optimizer = Adam(network.parameters(), lr=2e-3, fused=True)
    for step in range(FEATURE_STEPS):
        _follow(optimizer, 2e-3, step, FEATURE_STEPS, 50)
        stream = Stream(seed, "likeness", step)
        images = torch.cat([each.batch(BATCH, stream.part(str(i))) for i, each in enumerate(domains)])
        views = [scribble(warp(images, each), each.part("scribble")) for each in map(stream.part, ("first", "second"))]
        with torch.autocast(images.device.type, torch.bfloat16):
            loss = network.loss(views[0], views[1], num_domains=len(domains))
        _descend(optimizer, loss)
        on_progress("learning what the images of both domains have in common", 0.8 * step / FEATURE_STEPS)
    network.eval().requires_grad_(False)
    return network


def _follow(optimizer: torch.optim.Optimizer, rate: float, step: int, num_steps: int, warm_up: int) -> None:
    """A learning rate that rises for some steps and falls along a cosine."""
    factor = (1 + math.cos(math.pi * step / num_steps)) / 2 * min(1, (step + 1) / warm_up)
    optimizer.param_groups[0]["lr"] = rate * factor


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()


@torch.no_grad()
def _apply(network: nn.Module, items: Items) -> Tensor:
    """The network's output for all items, in parts."""
    parts = torch.split(torch.arange(items.num_items), 500)
    return torch.cat([network(to_float(items.take(part))) for part in parts])


def evenly(logits: Tensor) -> Tensor:
    """The probabilities softmax(logits + b) [n, clusters], b such that all clusters have the same mean.

    Source: Asano et al. 2020, "Self-labelling via simultaneous clustering and representation learning",
        arXiv:1911.05371, eq. 4 to 6: the algorithm of Sinkhorn and Knopp.
    """
    bias = logits.new_zeros(logits.shape[1])
    for _ in range(NUM_BALANCINGS):
        bias = bias - (logits + bias).softmax(1).mean(0).log()
        bias = bias - bias.mean()
    return (logits + bias).softmax(1)


def find_groups(network: Likeness, domains: Sequence[Items], num_groups: int, seed: int) -> list[Tensor]:
    """For each domain's images, the probability of each group, [n, num_groups]: by k-means, the best of many starts."""
    features = [_apply(network, each) for each in domains]
    fitted = torch.cat(
        [each[Stream(seed, f"groups/{i}").permutation(len(each))[:NUM_FITTED]] for i, each in enumerate(features)]
    )
    starts = [
        normalize(k_means(fitted[Stream(seed, "groups/start", start).permutation(len(fitted))], num_groups), dim=1)
        for start in range(NUM_STARTS)
    ]
    centers = max(starts, key=lambda each: (fitted @ each.T).amax(1).mean().item())
    return [evenly(each @ centers.T / SHARPNESS) for each in features]


def surest(probabilities: Tensor, share: float) -> Tensor:
    """The numbers of the items [k] whose cluster is surest, the same share of each cluster's items."""
    best, clusters = probabilities.topk(2)
    sureness, kept = best[:, 0] - best[:, 1], []
    for cluster in range(probabilities.shape[1]):
        members = (clusters[:, 0] == cluster).nonzero()[:, 0]
        kept.append(members[sureness[members].argsort(descending=True)[: math.ceil(share * len(members))]])
    return torch.cat(kept)


def learn_from_the_surest(
    network: Likeness, domains: Sequence[Items], probabilities: Sequence[Tensor], seed: int, on_progress: OnProgress
) -> nn.Module:
    """A classifier of warped views of the items that are surest of their group, with logits [n, groups].

    Source: Lee 2013, "Pseudo-label: the simple and efficient semi-supervised learning method for deep neural networks";
        with equally frequent groups, Zou et al. 2018, arXiv:1810.07911.
    """
    with Stream(seed, "surest/weights").as_default():
        outputs = nn.Linear(128, probabilities[0].shape[1])
    head = nn.Sequential(nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.3), outputs)
    classifier = nn.Sequential(copy.deepcopy(network.layers), head).requires_grad_(True).train()
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=1e-2)
    chosen, groups = [surest(each, LEARNED) for each in probabilities], [each.argmax(1) for each in probabilities]
    for step in range(ROUND_STEPS):
        _follow(optimizer, 1e-3, step, ROUND_STEPS, 30)
        stream = Stream(seed, "surest", step)
        drawn = [each[stream.part(str(i)).integers(len(each), BATCH)] for i, each in enumerate(chosen)]
        images = [to_float(items.take(numbers)) for items, numbers in zip(domains, drawn, strict=True)]
        targets = torch.cat([each[numbers] for each, numbers in zip(groups, drawn, strict=True)])
        views = warp(torch.cat(images), stream)
        with torch.autocast(views.device.type, torch.bfloat16), stream.part("dropout").as_default():
            logits = classifier(views.contiguous(memory_format=torch.channels_last))
        _descend(optimizer, cross_entropy(logits.float(), targets, label_smoothing=0.1))
        on_progress("sorting the images of both domains", 0.8 + 0.2 * step / ROUND_STEPS)
    return classifier.eval()
