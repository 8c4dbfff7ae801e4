"""Duration, pitch and loudness: of tones, where they are exact, and of sung vowels, whose pitch is known."""

import numpy as np
import pytest
import torch
from torch import Tensor

from sparring.data.vowels import GLIDE, NUM_SAMPLES, PITCHES, SAMPLE_RATE_HZ, sing_vowels
from sparring.metrics.waves import measure_durations, measure_loudness, measure_pitches
from sparring.modalities.sounds import Sounds
from sparring.seeding import Stream


def tone(hertz: float, rate: int, seconds: float = 0.3, size: float = 0.5) -> Tensor:
    return size * torch.sin(2 * torch.pi * hertz / rate * torch.arange(round(seconds * rate)))


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("hertz", [65.0, 100.0, 233.0, 480.0])
def test_a_tone_has_its_pitch(hertz: float, rate: int) -> None:
    """Red if τ is shifted by one sample, which is 6 % of the shortest period here."""
    pitches = measure_pitches(torch.stack([tone(hertz, rate), 1e-3 * tone(hertz, rate)]), rate)
    assert torch.allclose(pitches, torch.full((2,), hertz), rtol=0.002)


def test_harmonics_without_their_fundamental_have_its_pitch() -> None:
    waves = sum((tone(150.0 * harmonic, 8_000) for harmonic in (2, 3, 4)), torch.zeros(2_400))[None]
    assert measure_pitches(waves, 8_000).item() == pytest.approx(150.0, rel=0.005)


def test_noise_silence_and_high_tones_have_no_pitch() -> None:
    noise, silence = Stream(0, "noise").normal(20, 4_000), torch.zeros(1, 4_000)
    assert measure_pitches(torch.cat([noise, silence]), 8_000).tolist() == [0.0] * 21


def sung() -> tuple[np.ndarray, Tensor]:
    """Vowels, and their pitch in the middle of the sound, by the formula of `sing_vowels`."""
    waves, _ = sing_vowels(200)
    uniform = Stream(0, "vowels").part("pitch").uniform(200, 4)
    start = PITCHES[0] * (PITCHES[1] / PITCHES[0]) ** uniform[:, 0]
    middle = 0.02 + 0.05 * uniform[:, 2] + (0.18 + 0.1 * uniform[:, 3]) / 2
    return waves, start * (1 + GLIDE * (uniform[:, 1] - 0.5) * middle * SAMPLE_RATE_HZ / (NUM_SAMPLES - 1))


@pytest.mark.parametrize("is_decoded", [False, True])
def test_vowels_have_the_pitch_that_they_are_sung_at(is_decoded: bool) -> None:
    """Within 3 % (half a semitone), also after the way through spectrograms; octaves are rarely confused."""
    waves, expected = sung()
    if is_decoded:
        modality = Sounds.of_length(SAMPLE_RATE_HZ, waves.shape[1], 0.5)
        waves = modality.decode(modality.encode(waves))
    pitches = measure_pitches(torch.from_numpy(waves), SAMPLE_RATE_HZ)
    near = (pitches / expected - 1).abs() < 0.03
    assert near.float().mean() > 0.9
    assert (pitches / expected - 1)[near].abs().median() < 0.006


def test_durations_go_from_the_first_to_the_last_audible_frame() -> None:
    """A pause within belongs to a sound, and what is more than 30 dB below its loudest part does not."""
    waves = torch.zeros(4, 8_000)
    waves[0, 1_600:2_400] = waves[0, 4_000:4_800] = tone(440, 8_000, 0.1)
    waves[1, 800:1_600], waves[1, 1_600:3_200] = tone(440, 8_000, 0.1), tone(440, 8_000, 0.2, 0.5 / 30)
    waves[2, 800:1_600], waves[2, 1_600:3_200] = tone(440, 8_000, 0.1), tone(440, 8_000, 0.2, 0.5 / 33)
    assert torch.allclose(measure_durations(waves, 8_000), torch.tensor([0.4, 0.3, 0.1, 0.0]), atol=1e-6)
    assert measure_durations(1e-3 * waves, 8_000).equal(measure_durations(waves, 8_000))


def test_loudness_is_the_level_of_what_is_heard() -> None:
    """A sine of size a has the power a²/2; silence around it changes nothing; half of it is 6.02 dB less."""
    waves = torch.zeros(3, 8_000)
    waves[0, 800:2_400], waves[1, 4_000:] = tone(440, 8_000, 0.2), tone(440, 8_000, 0.5, 0.25)
    expected = [10 * np.log10(0.125), 10 * np.log10(0.125 / 4), -100.0]
    assert measure_loudness(waves, 8_000).tolist() == pytest.approx(expected, abs=0.01)


def test_measurements_do_not_depend_on_other_sounds() -> None:
    waves = torch.from_numpy(sing_vowels(210)[0])  # more than are measured at once
    for measure in (measure_durations, measure_pitches, measure_loudness):
        assert torch.allclose(measure(waves, 8_000)[200:], measure(waves[200:], 8_000), rtol=1e-4)
