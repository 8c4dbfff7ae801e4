"""Figures notice items that get worse, and keep their order."""

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch

from sparring.bench import corruptions
from sparring.bench.corruptions import SLOW, Result, measure
from sparring.cli.main import main
from sparring.data.corruptions import add_noise, cut_band, overdrive, play_faster
from sparring.data.vowels import sing_vowels
from sparring.metrics import Estimate
from sparring.metrics.waves import measure_pitches
from sparring.modalities import MODALITIES, SOURCES, Modality
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
}
"""Of vowels: figures that must notice a corruption."""


@pytest.mark.slow
def test_figures_of_sounds_keep_the_order_of_every_corruption() -> None:
    found = {results[0].corruption: results for results in measure(SOURCES["vowels"].open(), 150, SLOW)}
    assert found.keys() == NOTICED.keys()
    for name, results in found.items():
        assert {each.figure for each in results if not each.keeps_order} == set(), name
        assert set(NOTICED[name].split()) <= {each.figure for each in results if each.notices}, name
        distances = next(each for each in results if each.figure == "frechet_distance").estimates
        assert [each.value for each in distances] == sorted(each.value for each in distances), name


def estimates(*values: float) -> tuple[Estimate, ...]:
    return tuple(Estimate(value, value - 0.1, value + 0.1) for value in values)


@pytest.mark.parametrize(
    ("figure", "values", "keeps_order", "notices"),
    [
        ("recall", (0.9, 0.5, 0.1), True, True),
        ("recall", (0.9, 0.5, 0.8), False, False),  # better again
        ("recall", (0.5, 0.55, 0.5), True, False),
        ("recall", (0.9, 0.1, 0.5), False, True),
        ("frechet_distance", (0.1, 0.5, 0.9), True, True),
        ("frechet_distance", (0.9, 0.5, 0.1), False, False),
    ],
)
def test_what_keeps_the_order(figure: str, values: tuple[float, ...], keeps_order: bool, notices: bool) -> None:
    result = Result("data", "noise", "", (0.0, 1.0, 2.0), figure, estimates(*values))
    assert (result.keeps_order, result.notices) == (keeps_order, notices)


def test_the_command_fails_if_an_order_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both that of a figure, and where no figure notices a corruption."""
    monkeypatch.setattr(corruptions, "MODALITIES", {"points": Points})

    def run(*values: float) -> tuple[int, str]:
        result = Result("ring", "noise", "unit", (0.0, 1.0, 2.0), "recall", estimates(*values))
        monkeypatch.setattr(corruptions, "measure", lambda dataset, leave_out: [[result]])
        with pytest.raises(SystemExit) as end:
            main(["bench", "metrics", "--quick"])
        return int(end.value.code or 0), capsys.readouterr().out

    code, text = run(0.9, 0.5, 0.1)
    assert code == 0
    assert "noticed" in text
    assert run(0.9, 0.1, 0.5)[0] == 1
    assert run(0.5, 0.5, 0.5)[0] == 1


def test_the_order_of_points_by_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(corruptions, "MODALITIES", {"points": Points})
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["bench", "metrics", "--quick", "--json"])
    found = {each["figure"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["coverage"]["notices"]
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


def test_every_modality_has_a_source_for_the_bench() -> None:
    """Whose items can be made worse."""
    worsened = [each for each in MODALITIES.values() if each.corruptions is not Modality.corruptions]
    assert worsened
    assert all(modality.sources for modality in worsened)
