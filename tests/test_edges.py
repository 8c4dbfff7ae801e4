"""The command's edges: odd numbers, targets and paths, and what its files hold."""

import re
import resource
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sparring
from sparring.cli.main import main
from sparring.errors import SparringWarning, UsageError, how_to_install
from sparring.modalities.images import Images
from sparring.modalities.points import Points
from sparring.training.recipe import make_request
from sparring.training.resolve import complete, images_per_second
from sparring.training.run_folder import Run

SMALL = {"width": 2, "batch_size": 8, "evaluation_share": 0.0, "progress": False}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return sparring.train("digits", steps=5, out=tmp_path_factory.mktemp("runs") / "run", **SMALL)  # type: ignore[arg-type]


def fail(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command prints when it refuses its use."""
    with pytest.raises(SystemExit, match=r"^2$"):
        main([*arguments])
    return " ".join(re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().err).split())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("train --minutes abc", "--minutes: 'abc' is no number"),
        ("train --steps 1.5", "--steps: '1.5' is no whole number"),
        ("train --processes two", "--processes: 'two' is no whole number"),
        ("resume runs/a --images many", "--images: 'many' is no whole number"),
        ("sample runs/a --out a.png -n 1e3", "'1e3' is no whole number"),
        ("sample runs/a --out a.png --truncation x", "--truncation: 'x' is no number"),
        ("study a.toml --workers x", "--workers: 'x' is no whole number"),
        ("train --steps", "Missing value for argument '--steps'"),
        ("sample", "--out PATH"),
    ],
)
def test_wrong_options_lead_to_the_help_of_their_command(
    arguments: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = fail(capsys, *arguments.split())
    assert reason in message
    assert f"sparring {arguments.split()[0]} --help" in message


@pytest.mark.parametrize("target", ["coverage>2", "coverage>1", "precision<0", "recall<1.5", "missing>-1",
                                    "fake_probability>nan", "real_probability>1"])  # fmt: skip
def test_targets_that_decide_nothing_are_refused(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "lies between 0 and 1" in fail(capsys, "train", "ring", "--until", target, "--dry-run")


@pytest.mark.parametrize("target", ["coverage>0.99", "coverage<1", "recall>0", "distance>3", "distance<-0.5"])
def test_other_targets_are_taken(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["train", "ring", "--until", target, "--dry-run"])


def test_samples_as_arrays_have_labels_and_pictures_any_usual_format(run: Run, tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz", "c.png", "c.jpg", "c.jpeg", "c.webp"):
        label = ["--label", "7"] if name == "b.npz" else []
        with pytest.raises(SystemExit, match=r"^0$"):
            main(["sample", str(run.path), "-n", "9", "--seed", "3", "--out", str(tmp_path / name), *label])
    arrays, generator = np.load(tmp_path / "a.npz"), sparring.load(run)
    assert (arrays["images"] == generator.sample(9, 3)).all()
    assert (arrays["images"] == generator.sample(9, 3, labels=arrays["labels"])).all()
    assert np.load(tmp_path / "b.npz")["labels"].tolist() == [7] * 9
    pictures = [Image.open(tmp_path / name) for name in ("c.png", "c.jpg", "c.jpeg", "c.webp")]
    assert [picture.format for picture in pictures] == ["PNG", "JPEG", "JPEG", "WEBP"]
    plain = [np.asarray(picture.convert("L"), float) for picture in pictures]
    assert all(abs(each - plain[0]).mean() < 8 for each in plain)


def test_classes_with_names_are_written_by_their_names(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (80, 16, 16), np.uint8)
    run = sparring.train(images, labels=["cat", "dog"] * 40, steps=1, out=tmp_path / "run", **SMALL)  # type: ignore[arg-type]
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["sample", str(run.path), "-n", "20", "--out", str(tmp_path / "a.npz")])
    arrays = np.load(tmp_path / "a.npz")
    assert set(arrays["labels"]) == {"cat", "dog"}
    assert (arrays["images"] == sparring.load(run).sample(20, labels=arrays["labels"])).all()


@pytest.mark.usefixtures("short_divergence")
def test_whatever_holds_a_generator_is_evaluated(run: Run, tmp_path: Path) -> None:
    card = sparring.evaluate(run, n=200)
    assert sparring.evaluate(run.generator, n=200) == card
    assert sparring.evaluate(run.checkpoints / "step-000005", n=200) == card
    assert (run.checkpoints / "step-000005/card.json").exists()
    shared = shutil.copytree(run.generator, tmp_path / "generator")
    with pytest.raises(UsageError, match="give its data"):
        sparring.evaluate(shared, n=200)
    assert sparring.evaluate(shared, n=200, data="digits") == card
    with pytest.raises(UsageError, match="ring holds points, and the generator makes images"):
        sparring.evaluate(shared, n=200, data="ring")
    np.savez(tmp_path / "a.npz", images=np.eye(28).repeat(28, 0).reshape(28, 28, 28) > 0, labels=["a", "b"] * 14)
    with pytest.raises(UsageError, match=r"classes of .* are not those"):
        sparring.evaluate(shared, n=200, data=tmp_path / "a.npz")


@pytest.mark.usefixtures("short_divergence")
def test_a_card_of_many_samples_gives_way_with_a_word(run: Run) -> None:
    sparring.evaluate(run, n=220)
    with pytest.warns(SparringWarning, match="card of 220 samples in .* gives way to one of 210"):
        sparring.evaluate(run, n=210)


def test_a_resume_below_the_present_step_says_so(run: Run) -> None:
    with pytest.raises(UsageError, match=r"already at step 5, after 40 images .* more than that by --steps"):
        sparring.resume(run, steps=3)


def test_a_wrong_file_is_named_with_its_fault_alone(run: Run, tmp_path: Path) -> None:
    shared = shutil.copytree(run.generator, tmp_path / "generator")
    config = shared / "config.json"
    config.write_text(config.read_text().replace('"width": 2', '"width": 5000'))
    with pytest.raises(UsageError, match=r"config.json is not a valid Config: item_shape, latent_dim and width must"):
        sparring.load(shared)


def test_extras_are_named_by_their_packages() -> None:
    extras = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    for package in ("study", "fid", "data"):
        for needed in extras["optional-dependencies"][package]:
            assert f"'{needed}'" in how_to_install(package)


def test_one_slow_step_does_not_spoil_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps take a hundredth of a second, but for one of 16 s: another process held a core."""
    now, played = 0.0, 0

    def step(*_: object) -> None:
        nonlocal now, played
        played += 1
        now += 16.0 if played == 10 else 0.01

    monkeypatch.setattr("sparring.training.resolve.Game.step", step)
    monkeypatch.setattr("sparring.training.resolve.time.perf_counter", lambda: now)
    recipe = complete(make_request("ring", batch_size=8), Points((2,)).presets[0], Points((2,)))
    assert images_per_second(recipe, Points((2,))) == pytest.approx(800)


def test_large_items_are_timed_by_parts_of_a_batch() -> None:
    """A whole batch of these would need gigabytes; a quarter of the rate of small ones is too much by far."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rates = []
    for side in (32, 256):
        modality = Images((3, side, side))
        recipe = complete(make_request("digits", network="resnet", batch_size=256), modality.presets[0], modality)
        rates.append(images_per_second(recipe, modality))
    assert 0 < rates[1] < rates[0] / 4
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1e6  # kilobytes
