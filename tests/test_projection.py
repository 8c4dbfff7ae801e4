"""The latents of given items."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sparring
from sparring import DataError, UnknownNameError, UsageError
from sparring.cli.main import main
from sparring.generator.config import Config
from sparring.generator.generator import Generator
from sparring.modalities.images import Images
from sparring.modalities.modality import Modality
from sparring.modalities.points import Points
from sparring.seeding import Stream

CLASSES = {"class_shares": (0.5, 0.5), "class_names": ("cat", "dog")}


def make(modality: Modality, network: str, prior: str = "gaussian", **classes: object) -> Generator:
    """With random weights: its samples differ as those of a trained one do."""
    config = Config(modality, network, latent_dim=4, prior=prior, width=8, **classes)  # type: ignore[arg-type]
    with Stream(0, "test").as_default():
        return Generator(config.build(), config)


GENERATORS = {
    "images": make(Images((1, 8, 8)), "resnet"),
    "colours": make(Images((3, 8, 8)), "mlp", **CLASSES),
    "points": make(Points((2,), scale=5.0), "fourier"),
    "uniform": make(Points((3,)), "mlp", "uniform"),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_what_the_generator_made_is_found_again(name: str) -> None:
    """Within 3 % of the distance of a random sample. All draws are seeded, so it never fails by chance."""
    generator = GENERATORS[name]
    items = generator.sample(3, seed=5)
    found = generator.project(items)
    assert found.distances.max() < 0.03
    assert found.latents.shape == (3, 4)
    assert np.array_equal(found.items, generator.generate(found.latents, found.labels))
    samples, targets = (generator.modality.encode(each) for each in (found.items, items))
    apart = (targets - targets.roll(1, 0)).square().mean()
    assert (samples - targets).square().mean() < 0.03 * apart
    if generator.config.prior == "uniform":
        assert found.latents.abs().max() <= 1
    again = generator.project(items[1:2])
    assert torch.equal(again.latents, found.latents[1:2])  # the same, whatever is searched for beside it
    assert (
        len(
            generator.interpolate(
                found.latents[0], found.latents[1], 5, **({"label": "cat"} if name == "colours" else {})
            )
        )
        == 5
    )


def test_more_starts_come_nearer() -> None:
    generator = make(Points((8,)), "mlp")
    with torch.no_grad():
        generator.module.state_dict()["0.weight"].mul_(20)  # so that there are many local minima
    items = generator.sample(4, seed=7)
    one, many = (generator.project(items, num_starts=number).distances for number in (1, 8))
    assert (many <= one + 1e-6).all()
    assert (many < one - 1e-4).any()


def test_a_label_is_given_or_found() -> None:
    generator = make(Points((3,)), "mlp", **CLASSES)
    with torch.no_grad():
        generator.module.state_dict()["layers.0.weight"][:, 4:] *= 20  # so that the classes lie apart
    items = generator.sample(2, seed=5, labels=["dog", "cat"])
    found, given = generator.project(items), generator.project(items, labels=["dog", "cat"])
    for each in (found, given):
        assert each.labels is not None
        assert each.labels.tolist() == [1, 0]
    wrong = generator.project(items, labels=["cat", "dog"])
    assert (wrong.distances > found.distances + 0.01).all()
    with pytest.raises(UnknownNameError, match="did you mean 'dog'"):
        generator.project(items, labels="dogs")


def test_items_of_another_shape_are_refused() -> None:
    for items in (np.zeros((1, 9, 9), np.uint8), np.zeros((0, 8, 8), np.uint8), np.zeros((1, 8, 8))):
        with pytest.raises(DataError, match=r"must be uint8 \[n, 8, 8\], not"):
            GENERATORS["images"].project(items)
    with pytest.raises(UsageError, match="number of starts must be from 1"):
        GENERATORS["images"].project(np.zeros((1, 8, 8), np.uint8), num_starts=0)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Each item stands beside what was found; pictures and arrays can be mixed."""
    monkeypatch.chdir(tmp_path)
    generator = GENERATORS["images"]
    generator.save("run")
    items = generator.sample(2, seed=5)
    Image.fromarray(items[0]).save("one.png")
    np.savez("two.npz", images=items[1:])
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["project", "run", "one.png", "two.npz", "--out", "found.png", "-n", "4"])
    assert "item 2: distance" in capsys.readouterr().out
    written = np.load("found.npz")
    assert sorted(written) == ["distances", "images", "latents"]
    assert np.array_equal(written["images"], sparring.load("run").generate(torch.from_numpy(written["latents"])))
    pairs = np.stack([items, written["images"]], axis=1).reshape(4, 8, 8)
    with Image.open("found.png") as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(generator.modality.picture(pairs, columns=2)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "at least one file"),
        (["nothing.png"], "no file 'nothing.png'"),
        (["text.txt"], "text.txt"),
        (["small.npz"], r"must be uint8 \[n, 8, 8\]"),
        (["small.npz", "--out", "x.npz"], "the result is a picture"),
    ],
)
def test_bad_use(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    GENERATORS["images"].save("run")
    Path("text.txt").write_text("no picture")
    np.savez("small.npz", images=np.zeros((1, 9, 9), np.uint8))
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["project", "run", *arguments])
    assert message.replace("\\", "") in capsys.readouterr().err
    assert not Path("projection.png").exists()
