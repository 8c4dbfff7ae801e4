"""Items made worse, to see which figures notice it: here sounds."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from sparring.data.sounds import prepare
from sparring.seeding import Stream


@dataclass(frozen=True)
class Corruption:
    """A way to make items worse."""

    name: str
    strengths: tuple[float, ...]  # the mildest first
    unit: str  # what a strength is
    spoil: Callable[[np.ndarray, float, Stream], np.ndarray]  # items as a modality's `decode` gives them


def add_noise(waves: np.ndarray, share: float, stream: Stream) -> np.ndarray:
    """Sounds [n, samples] with white noise of so much of each one's root mean square.

    Example:
        >>> waves = np.ones((1, 10_000), np.float32)
        >>> round(float(add_noise(waves, 0.5, Stream(0, "noise")).std()), 1)
        0.5
    """
    size = share * np.sqrt(np.square(waves).mean(axis=1, keepdims=True))
    noisy: np.ndarray = (waves + size * stream.normal(*waves.shape).numpy()).astype(np.float32)
    return noisy


def cut_band(waves: np.ndarray, divisor: float) -> np.ndarray:
    """Sounds [n, samples] without what lies above the highest frequency, divided by a number."""
    spectrum = torch.fft.rfft(torch.from_numpy(waves))
    spectrum[:, int(spectrum.shape[1] / divisor) :] = 0
    cut: np.ndarray = torch.fft.irfft(spectrum, waves.shape[1]).numpy()
    return cut


def play_faster(waves: np.ndarray, factor: float) -> np.ndarray:
    """Sounds [n, samples] at a rate that is too high by a factor, with silence after their ends."""
    num_samples = waves.shape[1]
    return np.stack([prepare(wave, round(num_samples * factor), num_samples, num_samples) for wave in waves])


def overdrive(waves: np.ndarray, gain: float) -> np.ndarray:
    """Sounds [n, samples] that are amplified and clipped at their old peaks."""
    peaks = np.abs(waves).max(axis=1, keepdims=True)
    return np.clip(gain * waves, -peaks, peaks)
