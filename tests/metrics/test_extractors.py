"""Extractors: always the same, named by their hash, and telling worse samples from better ones."""

import sys
import types

import pytest
import torch
from torch import Tensor, nn

from sparring import DataError, UsageError, open_dataset
from sparring.data import Items, to_float
from sparring.metrics import (
    Extractor,
    digit_features,
    frechet_distance,
    inception_features,
    memorization,
    random_features,
)
from sparring.seeding import Stream


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Two thousand training digits of all kinds, and the held-out ones."""
    dataset = open_dataset("digits")
    assert isinstance(dataset.train, Items)
    assert isinstance(dataset.heldout, Items)
    chosen = Stream(0, "digits").permutation(len(dataset.train.items))[:2000]
    return to_float(dataset.train.items[chosen]), to_float(dataset.heldout.items)


@pytest.mark.slow
@pytest.mark.parametrize("extractor", [digit_features(), random_features((1, 28, 28))], ids=lambda e: e.name)
def test_the_worse_the_samples_the_larger_the_distance(extractor: Extractor) -> None:
    """Noise of σ 0, 0.3 and 1 on held-out digits; each interval lies above the one before."""
    train, heldout = digits()
    noise = torch.randn(heldout.shape, generator=torch.Generator().manual_seed(0))
    features = extractor(train)
    last = 0.0
    for sigma in (0.0, 0.3, 1.0):
        estimate = frechet_distance(features, extractor(heldout + sigma * noise), num_resamples=10)
        assert estimate.low > last
        last = estimate.high


@pytest.mark.parametrize("extractor", [digit_features(), random_features((1, 28, 28))], ids=lambda e: e.name)
def test_other_digits_are_no_copies_and_copies_are(extractor: Extractor) -> None:
    """Over eight splits the figure of other digits had a standard deviation of 0.04: 0.16 is four of them."""
    train, heldout = digits()
    known, others, unseen = (extractor(part) for part in (train[:1000], train[1000:], heldout))
    assert abs(memorization(known, unseen, others).value) < 0.16
    assert memorization(known, unseen, known + 1e-6).value == 1.0


def test_the_random_network_is_the_same_everywhere() -> None:
    """Figures of two machines can be compared only if this holds; a change here makes all cards of before worthless."""
    assert random_features((1, 28, 28)).hash == "ec4d7844a389dadb"
    assert random_features((1, 28, 28)).hash == random_features((1, 28, 28)).hash != random_features((3, 28, 28)).hash


def test_a_hash_names_weights_and_structure() -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.load_state_dict(first.state_dict())
    assert Extractor("a", first).hash == Extractor("b", second).hash
    assert Extractor("a", first).hash != Extractor("a", nn.Sequential(first, nn.ReLU())).hash
    with torch.no_grad():
        second.weight[0, 0] += 1e-6
    assert Extractor("a", first).hash != Extractor("a", second).hash


def test_a_module_of_the_users_is_left_as_it_was() -> None:
    """Batch normalisation in training mode would mix the samples of a batch, and learn from them."""
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    samples = torch.randn(600, 3)
    features = Extractor("mine", module)(samples)
    assert torch.allclose(features[:10], Extractor("mine", module)(samples[:10]), atol=1e-6)
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_samples_that_an_extractor_cannot_take() -> None:
    with pytest.raises(DataError, match=r"'digit classifier' cannot take samples of shape \[1, 32, 32\]"):
        digit_features()(torch.zeros(2, 1, 32, 32))
    with pytest.raises(UsageError, match="at least 4×4"):
        random_features((2,))


class FakeInception(nn.Module):
    """Stands in for the network, which needs a download: it refuses what the real one refuses."""

    def __init__(self, name: str, features: list[str]) -> None:
        super().__init__()
        assert features == ["2048"]

    def forward(self, images: Tensor) -> tuple[Tensor]:
        assert images.dtype == torch.uint8
        assert images.shape[1] == 3
        return (images.flatten(1)[:, :1].float().expand(-1, 2048),)


def test_inception_gets_coloured_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = FakeInception  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_fidelity", types.ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", module)
    grey = torch.tensor([-1.0, 0.0, 1.0])[:, None, None, None].expand(3, 1, 28, 28)
    features = inception_features()(grey)
    assert features.shape == (3, 2048)
    assert features[:, 0].tolist() == [0.0, 128.0, 255.0]


def test_fid_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(UsageError, match=r"pip install 'torch-fidelity"):
        inception_features()
