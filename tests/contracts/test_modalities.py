"""What holds for every modality: those that are registered, and a toy one in its own file."""

import base64
import io
import json
import math
import re
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toy import Sequences, sequences  # noqa: F401 - a fixture

import sparring
from sparring import UsageError
from sparring.data import to_float
from sparring.data.containers import Reading
from sparring.errors import DataError
from sparring.files import parse_json
from sparring.modalities import MODALITIES, RECIPES, SOURCES, Dataset, Modality, keep, open_dataset
from sparring.networks import NETWORKS
from sparring.seeding import Stream
from sparring.training.recipe import Recipe, check_setting

HALF_A_STEP = {"images": 1 / 255, "points": 0.0, "sequences": 1 / 9, "words": 0.0}
"""By how far decoding may round, in the units of samples."""

LOSSY = {"sounds": 0.08}
"""Modalities whose decoding is approximate, and by how much samples of real items may differ on average after it."""

CHOOSES = {"tables"}
"""Modalities that choose among values: any samples are decoded into exact items, but not encoded into the same ones.

Their samples depend on which values all items of a data set have.
"""

STORED = {"sounds": 4 / 255}
"""By how much samples may differ after items are stored or written; 1e-6 for the others."""


@pytest.fixture(params=[*MODALITIES, Sequences.name])
def kind(request: pytest.FixtureRequest, sequences: type[Modality]) -> type[Modality]:  # noqa: F811
    return MODALITIES[request.param]


NEED_MORE = {"words": "an array of vectors lacks their words"}
"""Modalities whose items cannot be read from an array of them alone, and why."""


@pytest.fixture
def dataset(kind: type[Modality], tmp_path: Path) -> Dataset:
    if kind.sources:
        return kind.sources[0].open()
    vectors = Stream(0, "words").normal(60, 8).numpy()
    np.savez(tmp_path / "words.npz", words=[f"word{number}" for number in range(60)], vectors=vectors)
    return open_dataset(str(tmp_path / "words.npz"))


@pytest.fixture
def items(dataset: Dataset) -> np.ndarray:
    return dataset.modality.decode(dataset.train.batch(40, Stream(0, "data")))


def check_stored(dataset: Dataset, items: np.ndarray) -> None:
    """Whether a finite data set has these items, in whatever order."""
    found = torch.cat([to_float(part.items) for part in (dataset.train, dataset.heldout)])
    pair = [
        samples[samples.double().flatten(1).mean(1).argsort()] for samples in (found, dataset.modality.encode(items))
    ]
    assert pair[0].shape == pair[1].shape
    assert (pair[0] - pair[1]).abs().mean() <= STORED.get(dataset.modality.name, 1e-6)


def rate_of(dataset: Dataset) -> int | None:
    rate: int | None = getattr(dataset.modality, "sample_rate_hz", None)
    return rate


def test_encode_and_decode_invert_each_other(dataset: Dataset, items: np.ndarray) -> None:
    modality = dataset.modality
    samples = modality.encode(items)
    assert samples.shape == (40, *modality.item_shape)
    assert samples.dtype == torch.float32
    if modality.name in LOSSY:
        assert (modality.encode(modality.decode(samples)) - samples).abs().mean() <= LOSSY[modality.name]
        return
    assert np.array_equal(modality.decode(samples), items)
    anything = 2 * Stream(0, "samples").uniform(40, *modality.item_shape) - 1
    if modality.name in CHOOSES:
        made = modality.decode(anything)
        assert np.array_equal(modality.decode(modality.encode(made)), made)
        return
    back = modality.encode(modality.decode(anything))
    assert (back - anything).abs().max() <= HALF_A_STEP[modality.name] + 1e-6


def test_an_array_of_items_is_accepted_and_stored_as_it_is(dataset: Dataset, items: np.ndarray) -> None:
    accepted = type(dataset.modality).accept(items, "items", Reading(sample_rate_hz=rate_of(dataset)))
    if dataset.modality.name in NEED_MORE:
        assert accepted is None
        return
    assert accepted is not None
    modality, same = accepted
    assert modality.item_shape == dataset.modality.item_shape or modality.name in CHOOSES
    assert np.array_equal(same, items)
    tolerance = STORED.get(modality.name, 1e-6)
    assert torch.allclose(to_float(modality.store(items)), modality.encode(items), atol=tolerance)


def test_what_is_written_is_read_back(dataset: Dataset, items: np.ndarray, tmp_path: Path) -> None:
    modality = dataset.modality
    modality.write(items, tmp_path / "items.npz")
    if modality.name in NEED_MORE:
        assert np.array_equal(modality.read_file(tmp_path / "items.npz"), items)
        return
    opened = open_dataset(str(tmp_path / "items.npz"))
    assert type(opened.modality) is type(modality)
    check_stored(opened, items)
    check_stored(open_dataset(str(keep(items, sample_rate_hz=rate_of(dataset)))), items)
    if type(modality).write_files is Modality.write_files:
        with pytest.raises(UsageError, match=r"as a \.png or a \.npz"):
            modality.write(items, tmp_path / "folder")
    else:
        modality.write(items, tmp_path / "folder")
        opened = open_dataset(str(tmp_path / "folder"))
        assert type(opened.modality) is type(modality)
        check_stored(opened, items)
        with pytest.raises(UsageError, match="not empty"):
            modality.write(items, tmp_path / "folder")
    with pytest.raises(UsageError, match=r"cannot write \.doc"):
        modality.write(items, tmp_path / "items.doc")


def test_items_are_drawn(dataset: Dataset, items: np.ndarray, tmp_path: Path) -> None:
    modality = dataset.modality
    assert modality.num_pictured(0) >= 1
    assert modality.num_pictured(3) >= 3
    picture = modality.picture(items, columns=10)
    assert picture.mode in ("L", "RGB")
    assert np.asarray(picture).std() > 0
    assert modality.picture(items[:20], columns=10).tobytes() != picture.tobytes()
    modality.write(items, tmp_path / "items.png")
    with Image.open(tmp_path / "items.png") as image:
        assert image.tobytes() == modality.picture(items).tobytes()


def test_a_frame_for_the_live_page_is_drawn(dataset: Dataset, tmp_path: Path, sequences: type[Modality]) -> None:  # noqa: F811
    """After a few steps: of each sample its probability, and either tiles of one picture or what the modality draws."""
    data = {"data": dataset.name} | ({"source": dataset.name} if dataset.modality.name in NEED_MORE else {})
    run = sparring.train(**data, steps=2, width=4, batch_size=16, out=tmp_path / "run", progress=False)
    assert run.frame_steps() == [0, 2]
    for step in run.frame_steps():
        frame = json.loads(run.frame_path(step).read_text())
        assert (frame["step"], frame["images"]) == (step, step * run.recipe().images_per_step)
        count = len(frame["probabilities"])
        assert 10 <= count <= 500
        assert all(0 <= each <= 1 for each in frame["probabilities"])
        assert frame["labels"] == [] or len(frame["labels"]) == count
        assert frame["thumbnails"]["shape"][0] == count
        assert len(base64.b64decode(frame["thumbnails"]["data"])) == math.prod(frame["thumbnails"]["shape"])
        view = dataset.modality.draw_game(dataset.train, 0)
        if view is not None:
            assert set(frame) >= {view.name}
            assert (run.frames / "data.json").exists()
            continue
        kind, _, data_of = frame["picture"].partition(",")
        assert kind == "data:image/webp;base64"
        with Image.open(io.BytesIO(base64.b64decode(data_of))) as picture:
            (width, height), columns = frame["tile"], frame["columns"]
            num_tiles = 1 if dataset.modality.draw_tiles(dataset.train.batch(2, Stream(0, "a"))) is None else count
            assert picture.size == (columns * width, math.ceil(num_tiles / columns) * height)


def test_items_are_shown_on_a_page(dataset: Dataset, items: np.ndarray) -> None:
    """Without another file, in elements that are closed, and with labels as text."""
    page = dataset.modality.show(items[:2], ["<a>", "b&"])
    assert "&lt;a&gt;" in page
    assert "<a>" not in page
    assert set(re.findall(r'src="(.*?)[;,]', page)) <= {"data:image/png", "data:audio/wav"}
    assert all(page.count(f"<{tag}") == page.count(f"</{tag}>") for tag in ("div", "figure", "audio", "figcaption"))
    assert dataset.modality.show(items[:1]) != page


def test_a_graph_holds_its_decoding_or_leaves_it(dataset: Dataset, items: np.ndarray) -> None:
    """As tensors, without numpy; a modality that cannot do it takes and gives samples, and says so by the name."""
    modality = dataset.modality
    samples = modality.encode(items)
    if modality.tensor_name == "samples":
        assert modality.decode_tensor(samples) is modality.encode_tensor(samples) is samples
        return
    assert modality.tensor_name == modality.array_name
    torch.testing.assert_close(modality.encode_tensor(torch.from_numpy(items.copy())), samples, atol=1e-3, rtol=0)
    usual, plain = modality.decode(samples), modality.decode_tensor(samples).numpy()
    assert (plain.shape, plain.dtype) == (usual.shape, usual.dtype)
    error, size = np.abs(plain.astype(float) - usual), np.abs(usual.astype(float))
    assert error.mean() <= (0.05 * size.mean() if modality.shown_as == "sound" else 0)  # by steps that enlarge rounding


def test_it_says_what_it_is(kind: type[Modality], dataset: Dataset) -> None:
    assert MODALITIES[kind.name] is kind
    for text in (kind.summary, kind.array_name, kind.layouts, dataset.modality.describe()):
        assert text
    assert all(SOURCES[source.name] is source for source in kind.sources)


def test_presets_are_settings_of_a_recipe(kind: type[Modality]) -> None:
    assert kind.presets
    known = {field.name for field in fields(Recipe)}
    for preset in kind.presets:
        assert RECIPES[preset.name] is preset
        assert preset.summary
        assert preset.source
        assert set(preset.by_network) <= set(NETWORKS)
        for settings in (preset.settings, *preset.by_network.values()):
            assert set(settings) <= known
            for name, value in settings.items():
                assert value is None or check_setting(name, value) == value


def test_a_usual_network_takes_its_items(dataset: Dataset) -> None:
    modality = dataset.modality
    network = NETWORKS[modality.usual_network(None)]
    assert network.fit(modality.item_shape) == modality.item_shape


def test_its_extractors_give_finite_features(dataset: Dataset, items: np.ndarray) -> None:
    samples = dataset.modality.encode(items)
    for extractor in (dataset.modality.neutral_extractor(), dataset.modality.thumbnails(), dataset.extractor()):
        features = extractor(samples)
        assert features.shape[0] == len(items)
        assert torch.isfinite(features).all()
        assert features.std(0).max() > 0


def test_it_survives_a_file_that_may_hold_any_modality(dataset: Dataset) -> None:
    text = json.dumps(asdict(dataset.modality))
    assert parse_json(text.encode(), Modality, "config.json") == dataset.modality
    with pytest.raises(UsageError, match="Unexpected"):
        parse_json(json.dumps(asdict(dataset.modality) | {"module": "os"}).encode(), type(dataset.modality), "a")


@pytest.mark.filterwarnings("ignore:.*cropped to the middle")
def test_a_size_and_mirroring_work_or_are_refused(dataset: Dataset) -> None:
    for change in (lambda: dataset.modality.resize(dataset, (16, 24)), lambda: dataset.modality.mirror(dataset)):
        try:
            changed = change()
        except UsageError as error:
            assert "leave --" in str(error)  # noqa: PT017 - either will do
            continue
        assert changed.modality.item_shape == changed.train.item_shape == changed.heldout.item_shape


def test_what_no_modality_accepts_is_told_with_what_they_accept(sequences: type[Modality], tmp_path: Path) -> None:  # noqa: F811
    np.save(tmp_path / "a.npy", np.zeros((20, 5), complex))
    with pytest.raises(DataError) as refused:
        open_dataset(str(tmp_path / "a.npy"))
    assert all(modality.layouts in str(refused.value) for modality in MODALITIES.values())
    np.savez(tmp_path / "b.npz", other=np.zeros(3))
    with pytest.raises(DataError, match=r"nothing to train on, but other: .* images, .* points, sequences, sounds"):
        open_dataset(str(tmp_path / "b.npz"))
    np.savez(tmp_path / "c.npz", sequences=np.full((20, 5), 11))
    with pytest.raises(DataError, match="from 11 to 11: give 0 to 9"):
        open_dataset(str(tmp_path / "c.npz"))
