"""Sung vowels, made from pulses and resonances: sounds for a first try, without files."""

import numpy as np
import torch

from sparring.seeding import Stream

FORMANTS = {  # Hz: resonances of men's vowels in heed, head, hod, hawed and who'd
    "i": (270, 2290, 3010), "e": (530, 1840, 2480), "a": (730, 1090, 2440), "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}  # fmt: skip
BANDWIDTHS = (60.0, 90.0, 150.0)  # Hz
SAMPLE_RATE_HZ, NUM_SAMPLES = 8_000, 3_072
PITCHES, GLIDE = (90.0, 220.0), 0.3  # Hz; the largest change of the pitch within a sound, as a share
VARIATION = 0.06  # the standard deviation of a resonance, as a share


def sing_vowels(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vowels as waves float32 [n, 3072] in [−1, 1] at 8,000 Hz, and their classes int64 [n], equally often.

    A wave is Σₖ a(k f̄)/k · sin(2π k ∫f), over the harmonics k of a gliding pitch f of mean f̄ that are below 4,000 Hz; a
    is the product of the resonances' magnitudes. It fades in and out.

    Source: Peterson and Barney 1952, "Control methods used in a study of the vowels", table II, for the resonances.

    Example:
        >>> waves, labels = sing_vowels(10)
        >>> waves.shape, labels.tolist()
        ((10, 3072), [0, 1, 2, 3, 4, 0, 1, 2, 3, 4])
    """
    stream = Stream(seed, "vowels")
    uniform, normal = stream.part("pitch").uniform(n, 4).double(), stream.part("formants").normal(n, 3).double()
    labels = torch.arange(n) % len(FORMANTS)
    formants = torch.tensor(list(FORMANTS.values()))[labels] * (1 + VARIATION * normal)
    time = torch.arange(NUM_SAMPLES) / SAMPLE_RATE_HZ
    start_pitch = PITCHES[0] * (PITCHES[1] / PITCHES[0]) ** uniform[:, :1]
    pitch = start_pitch * (1 + GLIDE * (uniform[:, 1:2] - 0.5) * time / time[-1])
    turn = torch.polar(torch.ones(()), (2 * torch.pi / SAMPLE_RATE_HZ * pitch.cumsum(1)).float())
    power, waves = turn.clone(), torch.zeros(n, NUM_SAMPLES)  # e^(ikφ), and the sum of the harmonics
    mean_pitch = pitch.mean(1, keepdim=True)
    for harmonic in range(1, int(SAMPLE_RATE_HZ / 2 / PITCHES[0]) + 1):
        frequency = harmonic * mean_pitch
        magnitude = (frequency < SAMPLE_RATE_HZ / 2) / harmonic
        for formant, bandwidth in zip(formants.T, BANDWIDTHS, strict=True):
            square = formant[:, None] ** 2
            magnitude = magnitude * square / torch.hypot(square - frequency**2, bandwidth * frequency)
        waves += magnitude.float() * power.imag
        power *= turn
    start, length = 0.02 + 0.05 * uniform[:, 2:3], 0.18 + 0.1 * uniform[:, 3:]
    waves *= torch.sigmoid((time - start) / 0.008) * torch.sigmoid((start + length - time) / 0.015)
    loudest: torch.Tensor = waves.abs().amax(1, keepdim=True)
    return (0.8 * waves / loudest).float().numpy(), labels.numpy()
