"""The proof of the interface: a modality in one file and one entry does all that images do.

Red where anything outside of `modalities/` takes items for images or points.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy import Sequences, sequences  # noqa: F401 - a fixture

import sparring
from sparring import UsageError
from sparring.cli.main import main

pytestmark = pytest.mark.usefixtures("sequences", "short_divergence")
SMALL = {"width": 8, "schedule": "constant", "evaluation_share": 0.0}


def run_command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return int(end.value.code or 0)


def test_it_trains_samples_resumes_and_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = sparring.train("counting", steps=6, out=tmp_path / "whole", **SMALL)
    recipe = whole.recipe()
    assert (recipe.network, recipe.batch_size, recipe.size, recipe.conditional) == ("mlp", 16, None, True)
    parts = sparring.train("counting", steps=3, out=tmp_path / "parts", **SMALL)
    sparring.resume(parts.path, steps=6)
    for name in ("generator/model.safetensors", "generator/config.json"):
        assert (whole.path / name).read_bytes() == (parts.path / name).read_bytes()

    generator = sparring.load(whole.path)
    assert generator.modality == Sequences((5,))
    items = generator.sample(7, labels=1)
    assert items.dtype == np.int64
    assert items.shape == (7, 5)
    with Image.open(whole.sample_path(6)) as picture:
        assert picture.size == (40, 160)

    assert run_command("sample", str(whole.path), "-n", "3", "--out", str(tmp_path / "some.npz")) == 0
    assert np.array_equal(np.load(tmp_path / "some.npz")["sequences"], generator.sample(3))
    assert run_command("sample", str(whole.path), "-n", "3", "--out", str(tmp_path / "texts")) == 0
    assert len(list((tmp_path / "texts").iterdir())) == 3

    card = sparring.evaluate(whole.path, n=60)
    assert {"frechet_distance", "coverage", "class_agreement", "memorization"} <= card.figures.keys()
    assert "sequences of 5 digits" in sparring.diagnose(whole.path).read_text(encoding="utf-8")
    assert run_command("list") == 0
    listed = capsys.readouterr().out
    assert "short sequences of digits" in listed
    assert "counting" in listed


def test_it_is_monitored_and_clustered(tmp_path: Path) -> None:
    settings = {"conditional": False, "num_clusters": 4, "evaluation_steps": 2, "steps": 4} | SMALL
    run = sparring.train("counting", out=tmp_path / "run", **settings)
    assert len(sparring.load(run.path).config.class_shares) == 4
    figures = run.log()[-1]["evaluation"]
    assert {"distance", "precision", "coverage", "memorization", "separation"} <= figures.keys()


def test_arrays_and_files_of_it_are_data(tmp_path: Path) -> None:
    items = np.arange(200)[:, None] % 6 + np.arange(5)
    run = sparring.train(items, steps=1, out=tmp_path / "array", **SMALL)
    assert sparring.load(run.path).modality == Sequences((5,))
    Sequences((5,)).write(items, tmp_path / "texts")
    run = sparring.train(tmp_path / "texts", steps=1, out=tmp_path / "files", **SMALL)
    assert sparring.load(run.path).modality == Sequences((5,))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 32}, "no size"),
        ({"mirror": True}, "no finite set of images to mirror"),
        ({"augment": 0.5}, "only images can be augmented"),
        ({"network": "conv"}, "takes images"),
    ],
)
def test_what_is_for_images_is_refused(settings: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        sparring.train("counting", steps=1, out=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()
