"""Films: the frames are those of the samples, in every format, and errors leave nothing behind."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterable
from io import BytesIO
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
from sparring.modalities.plane import CELLS, FAKE, PIXELS, REAL, draw_plane
from sparring.training.run_folder import Run
from sparring.web.film import LINE_PIXELS, film_training


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


# Of a training


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    settings = {"steps": 40, "width": 4, "page_frames": 8, "evaluation_share": 0.0, "progress": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparring.training.frames.SHARE", 1000.0)  # whatever time they take
        run = sparring.train("digits", out=tmp_path_factory.mktemp("trained") / "run", **settings)  # type: ignore[arg-type]
    assert len(run.frame_steps()) >= 8
    return run


def pictured(run: Run, step: int) -> np.ndarray:
    """What the live page shows at a step, in grey."""
    frame = json.loads(run.frame_path(step).read_text())
    with Image.open(BytesIO(base64.b64decode(frame["picture"].partition(",")[2]))) as picture:
        return np.asarray(film.enlarge(picture.convert("RGB")).convert("L"), float)


def test_the_film_of_a_training_goes_evenly_from_its_first_step_to_its_last(trained: Run, tmp_path: Path) -> None:
    steps = trained.frame_steps()
    assert steps[0] == 0
    assert steps[-1] == 40
    shown = list[int]()

    def watch(pictures: Iterable[Image.Image], path: Path) -> None:
        for number, picture in enumerate(pictures):
            height = picture.height - LINE_PIXELS
            grey = np.asarray(picture.convert("L"), float)
            nearest = min(steps, key=lambda step: np.abs(grey[:height] - pictured(trained, step)).max())
            np.testing.assert_array_equal(grey[:height], pictured(trained, nearest))
            shown.append(nearest)
            due = 40 * min(1.0, number / 39)
            assert nearest == max(step for step in steps if step <= due)  # the newest by then
            assert grey[height:].min() < 80  # its number is written
            assert grey[height:, picture.width // 2 :].min() == 255

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparring.web.film.write_film", watch)
        assert film_training(trained.path, tmp_path / "a.webp", seconds=2) == 50
    assert shown[:1] == [0]
    assert shown[39:] == [40] * 11  # a fifth of the film
    assert [*dict.fromkeys(shown)] == steps


def test_each_kind_of_frame_makes_a_film(trained: Run, tmp_path: Path) -> None:
    settings = {"steps": 6, "width": 4, "page_frames": 4, "evaluation_share": 0.0, "progress": False}
    ring = sparring.train("ring", out=tmp_path / "ring", **settings)  # type: ignore[arg-type]
    vowels = sparring.train("vowels", out=tmp_path / "vowels", **settings)  # type: ignore[arg-type]
    for run, ending in ((trained, ".webp"), (trained, ".gif"), (trained, ".mp4"), (ring, ".webp"), (vowels, ".webp")):
        path = tmp_path / f"{run.path.name}{ending}"
        count = film_training(run.path, path)
        assert count == round(len(run.frame_steps()) / 0.8)  # each frame is shown
        assert path.stat().st_size > 1000
    with Image.open(tmp_path / "ring.webp") as image:
        assert image.size == (PIXELS, PIXELS + LINE_PIXELS)


def test_points_lie_where_the_frame_says() -> None:
    def pack(values: list[float] | np.ndarray) -> str:
        return base64.b64encode(np.rint(np.asarray(values) * 65535).astype("<u2").tobytes()).decode()

    likely = np.full((CELLS, CELLS), 0.4)
    likely[-1] = 0.6  # the top row is the last one
    drawn = {"map": pack(likely), "samples": pack([0.25, 0.75])}
    picture = np.asarray(draw_plane(drawn, {"real": pack([0.5, 0.25])}), int)
    assert np.abs(picture[PIXELS // 4, PIXELS // 4] - FAKE).max() < 30  # y grows upwards
    assert np.abs(picture[3 * PIXELS // 4, PIXELS // 2] - REAL).max() < 80
    assert picture[0, 100, 2] > picture[0, 100, 0]  # blue, as what is probably real
    assert picture[-1, 100, 2] < picture[-1, 100, 0]
    assert (np.asarray(draw_plane(drawn, {}), int)[3 * PIXELS // 4, PIXELS // 2, 2] < 200).all()


def test_frames_that_are_damaged_or_missing(trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(shutil.copytree(trained.path, tmp_path / "run"))
    steps = run.frame_steps()
    run.frame_path(steps[1]).write_text("{")
    run.frame_path(steps[2]).write_text(json.dumps({"step": steps[2], "picture": "data:image/webp;base64,AAAA"}))
    run.frame_path(steps[3]).write_text(json.dumps({"step": steps[3]}))
    assert film_training(run.path, tmp_path / "a.webp") == round((len(steps) - 3) / 0.8)
    out = ["--out", str(tmp_path / "b.webp")]
    for path, options, words in (
        (run.path, ["--precision", "float16", *out], "leave --precision, --licence and --back away"),
        (run.path, ["--seconds", "0", *out], "greater than 0"),
        (run.path, ["--seconds", "3", "--out", str(tmp_path / "b.html")], "--seconds is the length of a film"),
        (run.path, ["--out", str(tmp_path / "b.avi")], "or of a run a film (.gif, .webp, .mp4)"),
        (run.generator, out, "holds no run"),
    ):
        assert exit_code("export", str(path), *options) == 2
        assert words in capsys.readouterr().err
    for step in steps:
        run.frame_path(step).unlink()
    assert exit_code("export", str(run.path), *out) == 2
    assert "keeps no frames to film" in capsys.readouterr().err
    assert exit_code("export", str(trained.path), "--seconds", "1", *out) == 0
    assert f"{out[1]}: 25 pictures of the training" in capsys.readouterr().out


def test_a_full_disk_leaves_the_older_film(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.webp").write_bytes(b"older")

    def fail(image: Image.Image, path: Path, *_: object, **__: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(UsageError, match="No space left on device"):
        film_training(trained.path, tmp_path / "a.webp")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("a.webp", b"older")]


def test_a_package_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    with pytest.raises(UsageError, match=r"pip install 'sparring\[video\]'"):
        film.write_film(iter([]), tmp_path / "a.mp4")
