"""Figures notice items that get worse, and keep their order."""

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch

from sparring.bench import corruptions
from sparring.bench.corruptions import SLOW, Result, measure
from sparring.cli.main import main
from sparring.data.corruptions import (
    add_grain,
    add_noise,
    add_specks,
    blur,
    cut_band,
    exchange_colours,
    overdrive,
    play_faster,
    swap_quarters,
)
from sparring.data.vowels import sing_vowels
from sparring.metrics import Estimate
from sparring.metrics.waves import measure_pitches
from sparring.modalities import MODALITIES, SOURCES, Modality
from sparring.modalities.images import Images
from sparring.modalities.points import Points
from sparring.seeding import Stream

NOTICED = {
    "noise": "frechet_distance kernel_distance precision recall density coverage class_agreement",
    "band": "frechet_distance kernel_distance precision recall density coverage class_agreement loudness_distance",
    "rate": "frechet_distance kernel_distance precision recall coverage class_agreement duration_distance "
    "pitch_distance",
    "clipping": "frechet_distance kernel_distance precision recall coverage duration_distance loudness_distance",
    "repeated": "frechet_distance recall coverage",
    "missing": "frechet_distance kernel_distance recall coverage",
    "copied": "memorization",
}
"""Of vowels: figures that must notice a corruption."""


@pytest.mark.slow
def test_figures_of_sounds_keep_the_order_of_every_corruption() -> None:
    vowels = SOURCES["vowels"].open()
    found = {results[0].corruption: results for results in measure(vowels, None, 150, num_draws=5, leave_out=SLOW)}
    assert found.keys() == NOTICED.keys()
    for name, results in found.items():
        assert {each.figure for each in results if not each.keeps_order} == set(), name
        assert set(NOTICED[name].split()) <= {each.figure for each in results if each.noticed}, name
        if name == "copied":
            continue
        distances = next(each for each in results if each.figure == "frechet_distance").estimates
        assert [each.value for each in distances] == sorted(each.value for each in distances), name


def estimates(*values: float) -> tuple[Estimate, ...]:
    return tuple(Estimate(value, value - 0.1, value + 0.1) for value in values)


def result(
    figure: str, *values: float, power: tuple[float, ...] = (0.05, 0.5, 1.0), extractor: str = "", num_items: int = 1000
) -> Result:
    what = "ring", extractor or "coordinates", "noise", "unit", (0.0, 1.0, 2.0), figure
    return Result(*what, estimates(*values), power, num_items)


@pytest.mark.parametrize(
    ("figure", "values", "keeps_order"),
    [
        ("recall", (0.9, 0.5, 0.1), True),
        ("recall", (0.9, 0.5, 0.8), False),  # better again
        ("recall", (0.5, 0.55, 0.5), True),
        ("recall", (0.9, 0.1, 0.5), False),
        ("frechet_distance", (0.1, 0.5, 0.9), True),
        ("frechet_distance", (0.9, 0.5, 0.1), False),
    ],
)
def test_what_keeps_the_order(figure: str, values: tuple[float, ...], keeps_order: bool) -> None:
    assert result(figure, *values).keeps_order == keeps_order


@pytest.mark.parametrize(
    ("power", "noticed"),
    [((0.05, 1.0, 1.0), 1.0), ((0.05, 0.9, 0.95), 2.0), ((0.05, 1.0, 0.9), None), ((1.0, 0.9, 0.9), None)],
)
def test_from_which_strength_a_corruption_is_noticed(power: tuple[float, ...], noticed: float | None) -> None:
    """All greater strengths must be noticed as well."""
    assert result("recall", 0.9, 0.5, 0.1, power=power).noticed == noticed


def test_the_command_fails_if_an_order_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a figure by the extractor that measures the data, and where no figure notices the mildest corruption."""
    monkeypatch.setattr(corruptions, "MODALITIES", {"points": Points})

    def run(*results: Result) -> tuple[int, str]:
        monkeypatch.setattr(corruptions, "measure", lambda *given, **named: [list(results)])
        with pytest.raises(SystemExit) as end:
            main(["bench", "metrics", "--quick"])
        return int(end.value.code or 0), capsys.readouterr().out

    seen = (0.05, 1.0, 1.0)
    code, text = run(result("recall", 0.9, 0.5, 0.1, power=seen))
    assert code == 0
    assert "noticed from 1" in text
    assert "no figure notices" not in text
    code, text = run(result("recall", 0.9, 0.1, 0.5, power=seen))
    assert code == 1
    assert "wrong order" in text
    disordered = result("recall", 0.9, 0.1, 0.5, extractor="another")
    assert run(result("recall", 0.9, 0.5, 0.1, power=seen), disordered)[0] == 0
    code, text = run(result("recall", 0.9, 0.5, 0.1))
    assert code == 1
    assert "no figure notices the mildest noise of ring" in text
    assert run(result("recall", 0.9, 0.5, 0.1, num_items=300))[0] == 0
    assert run(result("recall", 0.9, 0.5, 0.1, power=(0.05, 0.5, 0.5), num_items=300))[0] == 1


def test_eyes_see_specks_that_random_convolutions_overlook() -> None:
    """On 150 coloured pictures a side, five draws. All five beyond five others: by chance once in 252, each figure."""
    stacked, noticed = SOURCES["stacked-digits"].open(), {}
    for extractor in stacked.extractors():
        specks = next(measure(stacked, extractor, 150, num_draws=5, leave_out=SLOW))
        assert specks[0].corruption == "specks"
        assert all(each.keeps_order for each in specks) or extractor.name == "random convolutions"
        noticed[extractor.name] = {each.figure: each.noticed for each in specks}
    distances = "frechet_distance", "kernel_distance"
    assert [noticed["EfficientNet-Lite0"][name] for name in (*distances, "precision", "coverage")] == 4 * [0.01]
    assert [noticed["random convolutions"][name] for name in distances] == [0.05, 0.05]
    assert noticed["random convolutions"]["precision"] is None


def test_the_order_of_points_by_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(corruptions, "MODALITIES", {"points": Points})
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["bench", "metrics", "--quick", "--json"])
    found = {each["figure"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["coverage"]["noticed"]
    assert "precision" not in found  # it judges each sample alone
    assert "divergence" not in found


@pytest.mark.parametrize(
    ("spoil", "by"),
    [
        (cut_band, 8),
        (play_faster, 1.2),
        (overdrive, 5),
        (lambda waves, by: add_noise(waves, by, Stream(0, "noise")), 0.1),
    ],
)
def test_corruptions_keep_the_form_and_change_every_sound(spoil: Callable[..., np.ndarray], by: float) -> None:
    waves, _ = sing_vowels(5)
    spoiled = spoil(waves, by)
    assert (spoiled.shape, spoiled.dtype) == (waves.shape, waves.dtype)
    assert (np.abs(spoiled - waves).max(axis=1) > 0.01).all()


def test_corruptions_do_what_they_say() -> None:
    tones = 0.5 * np.sin(2 * np.pi * np.array([[200.0], [3000.0]]) / 8000 * np.arange(4000)).astype(np.float32)
    cut = cut_band(tones, 2)  # above 2,000 Hz
    assert np.abs(cut[0] - tones[0]).max() < 0.01
    assert np.abs(cut[1]).max() < 0.01
    faster = play_faster(tones[:1], 1.5)
    assert measure_pitches(torch.from_numpy(faster), 8000).item() == pytest.approx(300, rel=0.01)
    assert np.abs(faster[0, 2700:]).max() == 0
    clipped = overdrive(tones, 5)
    assert np.abs(clipped).max() <= 0.5
    assert (np.abs(clipped) == np.abs(tones).max(axis=1, keepdims=True)).mean() > 0.7
    noise = add_noise(tones, 0.1, Stream(0, "noise")) - tones
    assert noise.std() == pytest.approx(0.1 * 0.5 / 2**0.5, rel=0.05)


@pytest.mark.parametrize("shape", [(20, 24), (20, 24, 1), (20, 24, 3), (20, 24, 4)])
@pytest.mark.parametrize("name", ["specks", "noise", "blur", "jpeg", "parts", "colours"])
def test_corruptions_of_images_keep_the_form_and_the_transparency(name: str, shape: tuple[int, ...]) -> None:
    pictures = (255 * Stream(0, "pictures").uniform(6, *shape)).to(torch.uint8).numpy()
    channels = shape[2] if len(shape) == 3 else 1
    found = {each.name: each for each in Images((channels, 20, 24)).corruptions()}
    assert (name in found) == (name != "colours" or channels > 1)
    for strength in found[name].strengths if name in found else ():
        before = pictures.copy()
        spoiled = found[name].spoil(pictures, strength, Stream(0, "spoil"))
        assert (spoiled.shape, spoiled.dtype) == (pictures.shape, pictures.dtype)
        assert (spoiled != pictures).any()
        assert (pictures == before).all()
        if channels == 4 and name in ("noise", "jpeg", "colours"):
            assert (spoiled[..., 3] == pictures[..., 3]).all()


def test_corruptions_of_images_do_what_they_say() -> None:
    grey = np.full((2, 40, 40), 100, np.uint8)
    specked = add_specks(grey, 0.1, Stream(0, "specks"))
    assert set(np.unique(specked)) == {0, 100, 255}
    assert 0.03 < (specked == 0).mean() < 0.07  # .05; the standard deviation is .004
    clear = np.zeros((1, 40, 40, 4), np.uint8)
    specked = add_specks(clear, 0.5, Stream(0, "specks"))
    assert {tuple(pixel) for pixel in specked.reshape(-1, 4)} == {(0, 0, 0, 0), (0, 0, 0, 255), (255, 255, 255, 255)}
    assert (add_grain(grey, 0.02, Stream(0, "grain")) - 100.0).std() == pytest.approx(5.1, rel=0.1)
    board = (255 * (np.indices((1, 40, 40)).sum(0) % 2)).astype(np.uint8)
    assert blur(board, 4)[:, 4:-4, 4:-4].std() < 10  # all grey
    assert (blur(grey, 4) == grey).all()
    numbered = np.arange(4, dtype=np.uint8)[:, None, None] + np.zeros((4, 8, 8), np.uint8)
    swapped = swap_quarters(numbered, 2)
    assert [int(swapped[3, row, column]) for row in (0, 7) for column in (0, 7)] == [2, 1, 3, 3]
    red = np.zeros((400, 1, 1, 3), np.uint8) + np.array([9, 0, 0], np.uint8)
    exchanged = exchange_colours(red, 0.25, Stream(0, "colours"))
    assert {tuple(pixel) for pixel in exchanged.reshape(-1, 3)} == {(9, 0, 0), (0, 0, 9)}
    assert 60 < (exchanged[..., 2] == 9).sum() < 140  # 100; the standard deviation is 8.7


def test_every_modality_has_a_source_for_the_bench() -> None:
    """Whose items can be made worse."""
    worsened = [each for each in MODALITIES.values() if each.corruptions is not Modality.corruptions]
    assert worsened
    assert all(modality.sources for modality in worsened)
