"""Translators: one game for both ways, trained, resumed, saved and used like every other generator."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import sparring
from sparring.errors import DataError, UsageError
from sparring.game.both_ways import Both, BothWays, interleave, one_way
from sparring.game.game import Game
from sparring.game.sources import Gaussian
from sparring.networks.translate import Translator
from sparring.seeding import Stream

SETTINGS = {
    "recipe": "cyclegan",
    "width": 4,
    "batch_size": 8,
    "evaluation_share": 0.0,
    "checkpoint_steps": 4,
    "log_steps": 2,
}


def pictures(seed: int, n: int = 40, side: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side), np.uint8)


@pytest.fixture
def domains(tmp_path: Path) -> tuple[str, str]:
    """A source and a target: dark and light pictures."""
    np.savez(tmp_path / "dark.npz", images=pictures(0) // 2)
    np.savez(tmp_path / "light.npz", images=255 - pictures(1) // 2)
    return str(tmp_path / "dark.npz"), str(tmp_path / "light.npz")


def train(domains: tuple[str, str], out: Path, **settings: object) -> sparring.Run:
    given = {"source": domains[0], "out": out, "progress": False} | SETTINGS | settings
    return sparring.train(domains[1], **given)  # type: ignore[arg-type]


def networks(seed: int) -> tuple[nn.Module, nn.Module]:
    with Stream(seed, "test").as_default():
        return nn.Linear(3, 3).double(), nn.Sequential(nn.Linear(3, 5), nn.Softplus(), nn.Linear(5, 1)).double()


def test_one_game_of_both_ways_equals_two_games() -> None:
    """With SGD, whose steps are the gradients: the mean over twice the batch halves them, so the rate is doubled."""

    def game(players: tuple[nn.Module, nn.Module], prior: sparring.Source, rate: float) -> Game:
        optimizers = [torch.optim.SGD(player.parameters(), rate) for player in players]
        penalties = [sparring.R1R2(1.0)]
        return Game(
            *players, penalties=penalties, prior=prior,
            generator_optimizer=optimizers[0], discriminator_optimizer=optimizers[1],
        )  # fmt: skip

    class Fixed(sparring.Source):
        def __init__(self, seed: int) -> None:
            self.seed, self.item_shape = seed, (3,)

        def batch(self, size: int, stream: Stream) -> torch.Tensor:
            return Stream(self.seed, "fixed", stream.step).normal(size, 3)

    there, back = networks(0), networks(1)
    pair = tuple(BothWays(one, other) for one, other in zip(networks(0), networks(1), strict=True))
    source, target = Fixed(0), Fixed(1)
    games = game(there, source, 0.1), game(back, target, 0.1), game(pair, Both(source, target), 0.2)  # type: ignore[arg-type]
    for step in range(5):
        x, y = (Stream(seed, "real", step).normal(4, 3).double() for seed in (2, 3))
        for each, real in zip(games, (y, x, interleave(y, x)), strict=True):
            each.step(real)
    for number, (one, other) in enumerate(zip(there, back, strict=True)):
        for alone, together in ((one, pair[number].there), (other, pair[number].back)):
            for a, b in zip(alone.parameters(), together.parameters(), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_a_restraint_changes_the_generator_and_is_reported() -> None:
    generator, discriminator = networks(0)
    sgd = torch.optim.SGD(generator.parameters(), 1e-3)
    restraints = [sparring.RESTRAINTS["identity"](100.0)]
    game = Game(generator, discriminator, restraints=restraints, prior=Gaussian((3,)), generator_optimizer=sgd)
    real = Stream(0, "real").normal(16, 3).double()
    reports = [game.step(real) for _ in range(200)]
    assert reports[0].restraint == pytest.approx(100 * (networks(0)[0](real) - real).abs().mean().item())
    assert reports[-1].restraint < 0.8 * reports[0].restraint


def test_it_trains_and_translates_both_ways(domains: tuple[str, str], tmp_path: Path) -> None:
    run = train(domains, tmp_path / "run", steps=6)
    generator = sparring.load(run)
    assert isinstance(generator.module, BothWays)
    items = pictures(2, 5)
    made, returned = generator.translate(items), generator.translate(items, back=True)
    assert made.shape == returned.shape == items.shape
    assert made.dtype == np.uint8
    assert (made != returned).any()
    assert (generator.translate(items[:2]) == made[:2]).all()
    wanted = generator.modality.decode(one_way(generator.module)(generator.modality.encode(items)))
    assert (wanted == made).all()
    assert "to images (8×8 px, grey) and back" in repr(generator)
    line = run.log()[-1]
    assert line["restraint"] > 0
    with Image.open(run.sample_path(6)) as picture:
        assert picture.height > picture.width  # each row of inputs above its row of outputs


def test_a_translator_learns_from_images_that_it_made_all_white() -> None:
    with Stream(0, "test").as_default():
        translator = Translator(1, width=4)
    assert translator.last.bias is not None
    translator.last.bias.data.fill_(5.0)
    assert (translator.eval()(torch.ones(2, 1, 8, 8)) == 1).all()
    made = translator.train()(torch.ones(2, 1, 8, 8))
    torch.autograd.backward(made.sum())
    assert translator.last.bias.grad is not None
    assert translator.last.bias.grad.item() == pytest.approx(0.1 * made.numel())


def test_one_way_without_a_cycle(domains: tuple[str, str], tmp_path: Path) -> None:
    run = train(domains, tmp_path / "run", steps=2, restraints={"identity": 1.0})
    generator = sparring.load(run)
    assert not isinstance(generator.module, BothWays)
    with pytest.raises(UsageError, match="translates one way"):
        generator.translate(pictures(0, 2), back=True)


def test_a_resumed_translator_has_the_same_bytes(domains: tuple[str, str], tmp_path: Path) -> None:
    whole = train(domains, tmp_path / "whole", steps=11, schedule="constant")
    parts = train(domains, tmp_path / "parts", steps=5, schedule="constant")
    sparring.resume(parts, steps=11, progress=False)
    for name in ("generator/model.safetensors", "checkpoints/step-000011/state.safetensors"):
        assert (whole.path / name).read_bytes() == (parts.path / name).read_bytes()


def test_it_is_measured_by_held_out_translations(domains: tuple[str, str], tmp_path: Path) -> None:
    for path, seed in zip(domains, (5, 6), strict=True):
        np.savez(path, images=pictures(seed, 1200))
    run = train(domains, tmp_path / "run", steps=4, evaluation_steps=2)
    assert any("distance" in line.get("evaluation", {}) for line in run.log())
    card = sparring.evaluate(run, n=120, progress=False)
    assert card.figures["coverage"].generated.value >= 0
    assert "report.html" in sparring.diagnose(run).name


@pytest.mark.parametrize(("names", "swapped"), [(("dark", "light"), 0.0), (("light", "dark"), 1.0)])
def test_swapped_classes_are_seen(names: tuple[str, str], swapped: float, tmp_path: Path) -> None:
    """The identity keeps grey levels: it is right where classes have the same names, and swaps others."""
    levels = np.repeat([20, 220], 100)
    images = (pictures(0, 200) // 8 + levels[:, None, None]).astype(np.uint8)
    for name, classes in (("source", ("dark", "light")), ("target", names)):
        np.savez(tmp_path / f"{name}.npz", images=images, labels=np.repeat(classes, 100))
    settings = {"source": tmp_path / "source.npz", "out": tmp_path / "run", "evaluation_steps": 1, "steps": 1}
    settings |= {
        "learning_rate": 1e-9,
        "recipe": "cyclegan",
        "restraints": {"identity": 1.0},
        "batch_size": 16,
        "progress": False,
    }
    with Stream(0, "networks").as_default():
        players = Identity(), nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    run = sparring.train(tmp_path / "target.npz", generator=players[0], discriminator=players[1], **settings)  # type: ignore[arg-type]
    assert run.log()[-1]["evaluation"]["swapped"] == swapped


class Identity(nn.Module):
    """Gives back what it gets, and has a weight to train."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        return items * self.factor


class WithFeatures(Identity):
    """Its patches are rows."""

    def features(self, items: torch.Tensor) -> list[torch.Tensor]:
        return [items[:, 0] * self.factor]


def test_files_are_translated(domains: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sparring.cli.main import main

    run = train(domains, tmp_path / "run", steps=2)
    folder = tmp_path / "in"
    folder.mkdir()
    for name, image in zip(("b", "a"), pictures(3, 2), strict=True):
        Image.fromarray(image).save(folder / f"{name}.png")
    with pytest.raises(SystemExit) as end:
        main(["translate", str(run.path), str(folder), "--out", str(tmp_path / "out")])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"2 items in {tmp_path / 'out'}\n"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["000000-a.png", "000001-b.png"]
    with Image.open(tmp_path / "out" / "000001-b.png") as made:
        assert (np.asarray(made) == sparring.load(run).translate(pictures(3, 1))[0]).all()
    with pytest.raises(SystemExit):
        main(["translate", str(run.path), domains[0], "--back", "--out", str(tmp_path / "back.npz")])
    assert np.load(tmp_path / "back.npz")["images"].shape == (40, 8, 8)


def test_misuse_is_explained(domains: tuple[str, str], tmp_path: Path) -> None:
    np.savez(tmp_path / "colour.npz", images=np.stack([pictures(seed) for seed in range(3)], axis=3))
    np.savez(tmp_path / "points.npz", points=np.random.default_rng(0).normal(size=(40, 2)))
    np.savez(tmp_path / "few.npz", images=pictures(0, 3))
    run = train(domains, tmp_path / "run", steps=2)
    generator = sparring.load(run)
    with pytest.raises(UsageError, match="translates images and samples nothing: use translate"):
        generator.sample(3)
    with pytest.raises(DataError, match=r"the items to translate must be uint8 \[n, 8, 8\]"):
        generator.translate(pictures(0, 3, 12))
    others = SETTINGS | {"recipe": None, "progress": False}
    plain = sparring.train(domains[1], steps=1, out=tmp_path / "plain", **others)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="makes samples of noise and translates nothing: use sample"):
        sparring.load(plain).translate(pictures(0, 2))
    for settings, message in [
        ({"source": str(tmp_path / "colour.npz")}, "have another shape than those of"),
        ({"source": str(tmp_path / "points.npz")}, "a translator takes items of one kind"),
        ({"source": str(tmp_path / "few.npz")}, "few.npz has 2 items to translate, fewer than a batch of 8"),
        ({"conditional": True}, "takes no labels: leave conditional"),
        ({"recipe": "dcgan"}, "is for generators that start from noise: leave --source away"),
        ({"network": "conv"}, "the network 'conv' starts from noise: give --network translate or redraw"),
        ({"restraints": {"cicle": 1.0}}, "unknown restraint 'cicle'.*cycle"),
        ({"recipe": "cut", "network": "redraw"}, "'contrastive' compares features of .* give --network translate, or"),
        ({"both_ways": False, "batch_size": 9}, "cannot be played in 1 parts with as many items of each domain"),
    ]:
        with pytest.raises(UsageError, match=message):
            train(domains, tmp_path / "no", **{"steps": 1} | settings)
    for settings, message in [
        ({"recipe": "translate"}, "is for generators that translate: give --source"),
        ({"both_ways": True}, "only a translator goes both ways"),
        ({"input_warp": 0.5}, "only images that are translated can be warped"),
        ({"network": "translate"}, "the network 'translate' translates: give --network .* or --source"),
        ({"restraints": {"cycle": 1.0}}, "the restraint 'cycle' is for translators"),
    ]:
        with pytest.raises(UsageError, match=message):
            sparring.train(domains[1], steps=1, out=tmp_path / "no", **others | settings)  # type: ignore[arg-type]
    assert not (tmp_path / "no").exists()


def test_a_restraint_that_compares_features_takes_a_generator_that_has_them(
    domains: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sparring.cli.main import main

    words = ["train", domains[1], "--source", domains[0], "--network", "redraw", "--recipe", "cut", "--steps", "1"]
    with pytest.raises(SystemExit) as end:
        main([*words, "--out", str(tmp_path / "run")])
    assert end.value.code == 2
    assert "which a generator of the network 'redraw' does not have" in capsys.readouterr().err
    settings = {"recipe": "cut", "width": None, "steps": 1}
    for generator in (Identity(), WithFeatures()):
        settings |= {"generator": generator, "discriminator": nn.Sequential(nn.Flatten(), nn.Linear(64, 1))}
        if isinstance(generator, WithFeatures):
            assert train(domains, tmp_path / "run", **settings).log()[-1]["restraint"] >= 0
        else:
            with pytest.raises(UsageError, match="the network 'custom: Identity' does not have"):
                train(domains, tmp_path / "run", **settings)
            assert not (tmp_path / "run").exists()


def test_two_processes_make_the_same_translator(domains: tuple[str, str], tmp_path: Path) -> None:
    """In float32, over few steps."""
    weights = []
    for processes in ("1", "2"):
        words = [
            *domains[1:],
            "--source",
            domains[0],
            "--processes",
            processes,
            "--steps=3",
            "--width=4",
            "--batch-size=8",
        ]
        words = [sys.executable, "-m", "sparring", "train", *words, "--out", str(tmp_path / processes)]
        words += ["--recipe", "cyclegan"]
        for name, value in SETTINGS.items():
            words += [] if name in ("width", "batch_size", "recipe") else ["--set", f"{name}={value}"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        module = sparring.load(tmp_path / processes).module
        weights.append(torch.cat([each.flatten() for each in module.state_dict().values()]))
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-5)


def test_a_source_of_another_size_is_resized(domains: tuple[str, str], tmp_path: Path) -> None:
    np.savez(domains[0], images=pictures(0, side=12))
    generator = sparring.load(train(domains, tmp_path / "run", steps=1))
    assert generator.config.source is not None
    assert generator.config.source.item_shape == (1, 8, 8)


def test_arrays_in_memory_are_domains(tmp_path: Path) -> None:
    settings = SETTINGS | {"steps": 1, "out": tmp_path / "run", "progress": False}
    run = sparring.train(pictures(0), source=pictures(1), **settings)  # type: ignore[arg-type]
    assert sparring.load(run).translate(pictures(2, 3)).shape == (3, 8, 8)
