"""Two domains are sorted into the same groups, without labels."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import sparring
from sparring.data import likeness
from sparring.data.items import Items
from sparring.data.likeness import evenly, info_nce, scribble, share_groups, shared_information, surest
from sparring.game.augment import warp
from sparring.seeding import Stream
from sparring.types import OnProgress

SIDE = 16


def shapes(number: int, filled: float, empty: float, seed: int) -> tuple[Tensor, Tensor]:
    """Squares (0) and crosses (1) in turn, uint8 [number, 1, 16, 16], at random places and of random sizes."""
    places, sizes = Stream(seed, "places").integers(3, number, 2) + 6, Stream(seed, "sizes").integers(2, number) + 4
    far = torch.arange(SIDE) - places[:, :, None]
    down, right = far[:, 0, :, None].abs(), far[:, 1, None, :].abs()
    inside = (down <= sizes[:, None, None]) & (right <= sizes[:, None, None])
    square = inside & ((down >= sizes[:, None, None] - 1) | (right >= sizes[:, None, None] - 1))
    cross = inside & ((down < 1) | (right < 1))
    kinds = torch.arange(number) % 2
    drawn = torch.where(kinds[:, None, None] == 0, square, cross)
    return (empty + (filled - empty) * drawn[:, None]).to(torch.uint8), kinds


def images(number: int = 6) -> Tensor:
    return shapes(number, 255, 0, seed=0)[0] / 127.5 - 1


def test_a_warp_of_no_strength_changes_nothing() -> None:
    torch.testing.assert_close(warp(images(), Stream(0, "warp"), strength=0.0), images(), atol=1e-4, rtol=0)


def test_a_warp_changes_every_image_and_keeps_shape_and_range() -> None:
    given = images()
    warped = warp(given, Stream(0, "warp"))
    assert warped.shape == given.shape
    assert warped.min() >= -1 - 1e-5
    assert warped.max() <= 1 + 1e-5
    assert ((warped - given).abs().flatten(1).mean(1) > 0.05).all()
    assert (warp(given, Stream(0, "warp"), strength=0.3) - given).abs().mean() < (warped - given).abs().mean()


def test_a_scribble_adds_one_stroke_to_some_images() -> None:
    given = -torch.ones(200, 1, 28, 28)
    added = (scribble(given, Stream(0, "scribble")) + 1) / 2
    assert added.min() == 0
    assert added.max() == 1
    ink = added.flatten(1).sum(1)
    assert (ink > 0).float().mean() == pytest.approx(likeness.SCRIBBLED, abs=0.1)
    assert ink.max() < 13 * 3 * 1.2  # the longest has 12 pixels, and about 3 across
    assert torch.equal(
        scribble(images(), Stream(0, "scribble")).maximum(images()), scribble(images(), Stream(0, "scribble"))
    )


def test_even_groups_have_equal_means() -> None:
    logits = Stream(0, "logits").normal(500, 4) + torch.tensor([2.0, 0.0, 0.0, -1.0])
    probabilities = evenly(logits)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(500))
    torch.testing.assert_close(probabilities.mean(0), torch.full((4,), 0.25), atol=1e-3, rtol=0)
    ratios = (probabilities[:, 0] / probabilities[:, 1]).log() - (logits[:, 0] - logits[:, 1])
    torch.testing.assert_close(ratios, ratios[:1].expand(500), atol=1e-3, rtol=0)  # one bias for all items


def test_the_surest_are_the_same_share_of_each_group() -> None:
    probabilities = (3 * Stream(0, "logits").normal(1000, 3) + torch.tensor([1.0, 0.0, 0.0])).softmax(1)
    groups, kept = probabilities.argmax(1), surest(probabilities, 0.7)
    assert len(kept.unique()) == len(kept)
    best = probabilities.topk(2)[0]
    sureness = best[:, 0] - best[:, 1]
    for group in range(3):
        members, chosen = (groups == group).nonzero()[:, 0], kept[groups[kept] == group]
        assert len(chosen) == pytest.approx(0.7 * len(members), abs=1)
        left = members[~torch.isin(members, chosen)]
        assert sureness[chosen].min() >= sureness[left].max()


def test_losses_at_known_places() -> None:
    far_apart = torch.eye(4)
    assert info_nce(far_apart, far_apart) < 0.03
    same = torch.ones(4, 1)
    torch.testing.assert_close(info_nce(same, same), torch.tensor(4.0).log())  # any of the four could be the right one
    torch.testing.assert_close(shared_information(far_apart, far_apart), torch.tensor(4.0).log(), atol=1e-4, rtol=0)
    assert shared_information(far_apart, torch.full((4, 4), 0.25)).abs() < 1e-4  # independent of each other


def test_the_same_shapes_of_two_domains_get_the_same_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bright on dark, and grey on less dark; the second time the groups come from the cache."""
    monkeypatch.setattr(likeness, "FEATURE_STEPS", 40)
    monkeypatch.setattr(likeness, "ROUND_STEPS", 20)
    monkeypatch.setattr(likeness, "BATCH", 64)
    domains, kinds = [], []
    for number, (filled, empty) in enumerate(((255, 0), (150, 20))):
        train, of_train = shapes(400, filled, empty, seed=number)
        heldout, of_heldout = shapes(100, filled, empty, seed=number + 2)
        domains.append((Items(train), Items(heldout)))
        kinds.append((of_train, of_heldout))
    told = list[float]()
    found = share_groups(domains, 2, 0, lambda what, share: told.append(share))
    assert told == sorted(told)
    meant = found[0][1].item_labels == kinds[0][1]  # which number a group gets is chance
    for (train_items, heldout_items), (_, of_heldout) in zip(found, kinds, strict=True):
        assert train_items.num_items == pytest.approx(likeness.KEPT * 400, abs=2)
        agree = (heldout_items.item_labels == of_heldout).float().mean()
        assert (agree if meant.float().mean() > 0.5 else 1 - agree) > 0.95

    def train_again(*arguments: object) -> None:
        raise AssertionError("the groups were in the cache")

    monkeypatch.setattr(likeness, "learn_likeness", train_again)
    again = share_groups(domains, 2, 0, lambda what, share: None)
    for one, other in zip(found, again, strict=True):
        for first, second in zip(one, other, strict=True):
            assert first.item_labels is not None
            assert second.item_labels is not None
            assert torch.equal(first.item_labels, second.item_labels)
            assert torch.equal(first.items, second.items)
    with pytest.raises(AssertionError, match="in the cache"):
        share_groups(domains, 2, 1, lambda what, share: None)  # another seed is another training


def test_a_training_sorts_its_images_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By itself; where several processes train, those beside rank 0 look the groups up afterwards."""
    calls = []

    def sort(pairs: list[tuple[Items, Items]], num_groups: int, seed: int, on_progress: OnProgress) -> object:
        calls.append(seed)
        return [tuple(Items(part.items, torch.arange(len(part)) % 2, num_classes=2) for part in each) for each in pairs]

    monkeypatch.setattr(likeness, "share_groups", sort)
    items = shapes(200, 255, 0, seed=0)[0][:, 0].numpy()
    settings = {"source": items, "recipe": "translate", "num_clusters": 2, "width": 4, "steps": 1, "batch_size": 8}
    sparring.train(items, out=tmp_path / "run", evaluation_share=0.0, progress=False, seed=7, **settings)  # type: ignore[arg-type]
    assert calls == [7]
