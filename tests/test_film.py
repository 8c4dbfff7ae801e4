"""Films: the frames are those of the samples, in every format, and errors leave nothing behind."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sparring
from sparring import UsageError
from sparring.cli.main import main
from sparring.game.sources import spherical
from sparring.generator import film
from sparring.generator.config import Config
from sparring.generator.generator import Generator
from sparring.modalities.images import Images


@pytest.fixture
def generator() -> Generator:
    config = Config(Images((1, 8, 8)), "mlp", latent_dim=4, prior="gaussian", width=8)
    module = config.build().eval()
    with torch.no_grad():
        for weights in module.parameters():
            weights.mul_(8)  # samples that differ clearly
    return Generator(module, config)


def test_a_walk_passes_the_seeds_and_comes_back(generator: Generator) -> None:
    frames = [*film.walk(generator, [3, 7, 12], num_frames=9, n=2)]
    assert len(frames) == 9
    for number, seed in enumerate([3, 7, 12]):
        np.testing.assert_array_equal(frames[3 * number], generator.sample(2, seed))
    start, end = generator.latents(2, 12), generator.latents(2, 3)  # the last leg leads to the first seed
    between = torch.stack([spherical(*pair, torch.tensor([2 / 3]))[0] for pair in zip(start, end, strict=True)])
    np.testing.assert_array_equal(frames[8], generator.generate(between))


@pytest.mark.parametrize("ending", film.FILMS)
def test_a_film_is_read_back(generator: Generator, tmp_path: Path, ending: str) -> None:
    pictures = [generator.modality.picture(frame) for frame in film.walk(generator, [1, 2], num_frames=6)]
    path = tmp_path / f"walk{ending}"
    film.write_film(iter(pictures), path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    factor = -(-film.LEAST_PIXELS // pictures[0].width)
    read = read_film(path, pictures[0].width * factor)
    assert len(read) == 6
    for frame, picture in zip(read, pictures, strict=True):
        grey = np.asarray(picture.convert("L").resize((picture.width * factor,) * 2, resample=0), float)
        assert frame.shape == grey.shape
        assert np.abs(frame - grey).mean() < 6  # what compression changes
    assert np.abs(read[0] - read[3]).mean() > 6  # and it moves


def read_film(path: Path, side: int) -> list[np.ndarray]:
    if path.suffix != ".mp4":
        with Image.open(path) as image:
            assert image.info["loop"] == 0
            count = getattr(image, "n_frames", 1)
            frames = []
            for number in range(count):
                image.seek(number)
                frames.append(np.asarray(image.convert("L"), float))
                assert image.info["duration"] == 40
            return frames
    from imageio_ffmpeg import get_ffmpeg_exe

    command = [get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    return [*np.frombuffer(data, np.uint8).reshape(-1, side, side).astype(float)]


def exit_code(*arguments: str) -> object:
    with pytest.raises(SystemExit) as end:
        main([*arguments])
    return end.value.code


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = sparring.train("digits", steps=2, width=4, conditional=True, out=tmp_path / "run")
    command = ["sample", str(run.path), "-n", "4", "--label", "7", "--walk", "1,2", "--seconds", "0.2"]
    assert exit_code(*command, "--out", str(tmp_path / "walk.webp")) == 0
    assert "5 frames in" in capsys.readouterr().out
    with Image.open(tmp_path / "walk.webp") as image:
        assert getattr(image, "n_frames", 1) == 5
    for wrong, words in (
        (["--walk", "1", "--out", "a.gif"], "two seeds"),
        (["--walk", "1,x", "--out", "a.gif"], "two seeds"),
        (["--walk", "1,2", "--out", str(tmp_path / "a.png")], "a film is a .gif"),
        (["--walk", "1,2", "--seconds", "0", "--out", "a.gif"], "greater than 0"),
        (["--seconds", "3", "--out", "a.png"], "add --walk"),
        (["--walk", "1,2", "--label", "12", "--out", str(tmp_path / "a.gif")], "12"),
    ):
        assert exit_code("sample", str(run.path), *wrong) == 2
        assert words in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"run", "walk.webp"}


def test_a_package_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    with pytest.raises(UsageError, match=r"pip install 'sparring\[video\]'"):
        film.write_film(iter([]), tmp_path / "a.mp4")
