"""Measurements of single sounds, whose distributions are compared: duration, pitch and loudness."""

import torch
from torch import Tensor

FRAME_SECONDS = 0.01
AUDIBLE_DB, QUIETEST_DB = 30.0, -100.0  # a frame is heard if it is less than this below the loudest one; silence
PITCHES = (60.0, 500.0)  # Hz: those that are looked for
THRESHOLD = 0.2  # the share of a frame's power that may be without period
AT_ONCE = 200
TINY = 1e-12


def measure_durations(waves: Tensor, sample_rate_hz: int) -> Tensor:
    """The time from the first to the last audible frame of sounds [n, samples], in seconds, [n]; 0 for silence.

    A frame of 10 ms is audible if its power is less than 30 dB below that of the loudest frame.

    Example:
        >>> wave = torch.zeros(1, 8000)
        >>> wave[:, 800:2400] = 0.5
        >>> measure_durations(wave, 8000)
        tensor([0.2000])
    """
    audible = _audible(waves, sample_rate_hz)
    numbers = torch.arange(1, audible.shape[1] + 1)
    last, first = (audible * numbers).amax(1), (audible * numbers.flip(0)).amax(1)  # counted from either end
    return (last + first - len(numbers)).clamp(min=0) * (_hop(sample_rate_hz) / sample_rate_hz)


def measure_loudness(waves: Tensor, sample_rate_hz: int) -> Tensor:
    """The level of the audible frames of sounds [n, samples]: 10 log₁₀ of their mean square, in decibels, [n].

    A sine of amplitude 1 has −3 dB, silence −100 dB. Frequencies are not weighted, as they would be by an ear.

    Example:
        >>> measure_loudness(torch.full((1, 8000), 0.1), 8000).round()
        tensor([-20.])
    """
    power, audible = _power(waves, sample_rate_hz), _audible(waves, sample_rate_hz)
    mean = (power * audible).sum(1) / audible.sum(1).clamp(min=1)
    return 10 * mean.clamp(min=10 ** (QUIETEST_DB / 10)).log10()


def measure_pitches(waves: Tensor, sample_rate_hz: int) -> Tensor:
    """The median fundamental frequency of sounds [n, samples], between 60 and 500 Hz, [n]; 0 for those without one.

    YIN: the difference function of a frame, d(τ) = Σⱼ (xⱼ − xⱼ₊τ)², is divided by its mean up to τ. Its first minimum
    below 0.2 is the period, and a parabola through its neighbours refines it. The median is of the audible frames that
    have a period. A sound has a pitch if a third of its audible frames have one.

    Source: de Cheveigné and Kawahara 2002, "YIN, a fundamental frequency estimator for speech and music",
        doi:10.1121/1.1458024, equations 6 and 8, steps 2 to 5.

    Example:
        >>> wave = torch.sin(2 * torch.pi * 220 / 8000 * torch.arange(4000))[None]
        >>> measure_pitches(wave, 8000).round()
        tensor([220.])
    """
    return torch.cat([_pitches(part, sample_rate_hz) for part in torch.split(waves.float(), AT_ONCE)])


def _hop(sample_rate_hz: int) -> int:
    return round(FRAME_SECONDS * sample_rate_hz)


def _power(waves: Tensor, sample_rate_hz: int) -> Tensor:
    """The mean square of each frame, [n, frames]; the last one is filled up with silence."""
    hop = _hop(sample_rate_hz)
    padded = torch.nn.functional.pad(waves.float(), (0, -waves.shape[1] % hop))
    return padded.reshape(len(waves), -1, hop).square().mean(2)


def _audible(waves: Tensor, sample_rate_hz: int) -> Tensor:
    """Whether each frame is audible, [n, frames]."""
    power = _power(waves, sample_rate_hz)
    least = (power.amax(1, keepdim=True) * 10 ** (-AUDIBLE_DB / 10)).clamp(min=10 ** (QUIETEST_DB / 10))
    return power >= least


def _pitches(waves: Tensor, sample_rate_hz: int) -> Tensor:
    hop, heard = _hop(sample_rate_hz), _audible(waves, sample_rate_hz)
    shortest, longest = int(sample_rate_hz / PITCHES[1]), int(sample_rate_hz / PITCHES[0]) + 1  # periods in samples
    window = longest  # is compared with as many samples, τ later
    margin = window + longest - hop  # so that these lie around the middle of each of the frames above
    padded = torch.nn.functional.pad(waves, (margin // 2, margin - margin // 2 + -waves.shape[1] % hop))
    frames = padded.unfold(1, window + longest, hop)
    size = 2 * (window + longest)
    spectrum, of_window = torch.fft.rfft(frames, size), torch.fft.rfft(frames[..., :window], size)
    products = torch.fft.irfft(of_window.conj() * spectrum, size)[..., :longest]
    sums = torch.nn.functional.pad(frames.square().cumsum(2), (1, 0))
    energy = (sums[..., window:] - sums[..., : longest + 1])[..., :longest]
    difference = (energy[..., :1] + energy - 2 * products).clamp(min=0)  # eq. 7
    mean = difference.cumsum(2) / torch.arange(longest).clamp(min=1)
    normalized = torch.where(mean > TINY, difference / mean.clamp(min=TINY), 1.0)  # eq. 8
    before, here, after = normalized[..., :-2], normalized[..., 1:-1], normalized[..., 2:]
    is_low = (here < THRESHOLD) & (here < before) & (here <= after)
    is_low[..., : shortest - 1] = False  # its first place is that of τ = 1
    first = is_low.int().argmax(2, keepdim=True)
    left, middle, right = (each.gather(2, first)[..., 0] for each in (before, here, after))
    shift = 0.5 * (left - right) / (left - 2 * middle + right).clamp(min=TINY)  # to the parabola's lowest point
    frequency, voiced = sample_rate_hz / (first[..., 0] + 1 + shift), heard & is_low.any(2)
    median = torch.where(voiced, frequency, torch.nan).nanmedian(1).values
    return torch.where(voiced.sum(1) * 3 >= heard.sum(1).clamp(min=1), median, 0.0)
