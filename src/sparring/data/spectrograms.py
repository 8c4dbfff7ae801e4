"""Sounds as pictures: log-mel spectrograms, and back by Griffin-Lim."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

RANGE_DB = 80.0  # what is further below the loudest part is silence
WINDOW_HOPS = 4  # the length of the window, in hops
NUM_INVERSION_STEPS, NUM_PHASE_STEPS, MOMENTUM = 5, 32, 0.99
TINY = 1e-12


@dataclass(frozen=True)
class Spectrogram:
    """The log-mel spectrogram s of waves x: s = 10 log₁₀ M |STFT(x)|² / (Σw)², cut to 80 dB and mapped to [−1, 1].

    The transform has a Hann window w of four hops, centred on multiples of the hop. M are `num_bands` triangles of
    height 1, whose corners are evenly spaced between 0 and half the sample rate on the mel scale,
    m = 2595 log₁₀(1 + f / 700 Hz), but never closer than two frequencies of the transform are. `top_db` becomes 1, and
    80 dB less becomes −1.

    Source: O'Shaughnessy 1987, "Speech communication", page 150, for the mel scale.

    Example:
        >>> spectrogram = Spectrogram(8000, hop=80, num_bands=64, num_frames=64, top_db=-20.0)
        >>> tone = torch.sin(2 * torch.pi * 440 / 8000 * torch.arange(5120))[None]
        >>> spectrogram.encode(tone).shape, spectrogram.decode(spectrogram.encode(tone)).shape
        (torch.Size([1, 64, 64]), torch.Size([1, 5120]))
    """

    sample_rate_hz: int
    hop: int  # samples from one frame to the next
    num_bands: int
    num_frames: int
    top_db: float  # of the loudest band of a frame, as a rule

    @property
    def num_samples(self) -> int:
        """The length of a wave."""
        return self.hop * self.num_frames

    def encode(self, waves: Tensor) -> Tensor:
        """Waves [n, num_samples] as float32 spectrograms [n, num_bands, num_frames]."""
        return self._to_decibels(self._transform(waves.float()).abs().square())

    def decode(self, spectrograms: Tensor) -> Tensor:
        """Waves [n, num_samples] whose spectrograms come near the given ones [n, num_bands, num_frames].

        The powers p of the frequencies solve M p = m with p ≥ 0, by multiplicative steps from the pseudoinverse. The
        phases come from 32 steps of the fast Griffin-Lim algorithm, beginning with 0. Equal spectrograms give equal
        waves.

        Source: Lee and Seung 2001, "Algorithms for non-negative matrix factorization", eq. 4; Perraudin et al. 2013, "A
            fast Griffin-Lim algorithm", algorithm 2.
        """
        magnitude = self._to_magnitude(spectrograms)
        spectrum, before = magnitude.to(torch.complex64), torch.zeros((), dtype=torch.complex64)
        for step in range(NUM_PHASE_STEPS):
            consistent = self._transform(self._invert(spectrum))
            ahead = consistent if step == 0 else torch.lerp(before, consistent, 1 + MOMENTUM)
            spectrum, before = ahead * (magnitude / ahead.abs().clamp(min=TINY)), consistent
        return self._invert(spectrum)

    def encode_tensor(self, waves: Tensor) -> Tensor:
        """As `encode`, with matrices for the transform: exported graphs have no complex numbers."""
        real, imaginary = self._transform_by_matrix(waves.float()).chunk(2, dim=2)
        return self._to_decibels(real.square() + imaginary.square())

    def decode_tensor(self, spectrograms: Tensor) -> Tensor:
        """As `decode`, with matrices for the transforms: exported graphs have no complex numbers.

        The steps for the phases enlarge the differences of rounding: most waves of real sounds differ by about one
        percent, a few wholly. Their spectrograms come as near to the given ones.
        """
        magnitude = self._to_magnitude(spectrograms)
        spectrum = before = torch.cat([magnitude, torch.zeros_like(magnitude)], dim=2)
        for step in range(NUM_PHASE_STEPS):
            consistent = self._transform_by_matrix(self._invert_by_matrix(spectrum))
            ahead = consistent if step == 0 else consistent + MOMENTUM * (consistent - before)
            real, imaginary = ahead.chunk(2, dim=2)
            size = (real.square() + imaginary.square()).sqrt()
            spectrum, before = ahead * (magnitude / size.clamp(min=TINY)).repeat(1, 1, 2), consistent
        return self._invert_by_matrix(spectrum)

    def _to_decibels(self, power: Tensor) -> Tensor:
        """Spectrograms of the squared magnitudes of spectra, [n, num_frames, frequencies]."""
        power = power / self._window.sum().square()
        decibels = 10 * (power @ self.bands).clamp(min=TINY).log10()
        return ((decibels - self.top_db) * (2 / RANGE_DB) + 1).clamp(-1, 1).transpose(1, 2)

    def _to_magnitude(self, spectrograms: Tensor) -> Tensor:
        """The magnitudes of the frequencies, [n, num_frames, frequencies]."""
        values = spectrograms.float().clamp(-1, 1).transpose(1, 2)
        bands = 10 ** (((values - 1) * (RANGE_DB / 2) + self.top_db) / 10) * (values > -1)  # silence has no power
        back, square = bands @ self.bands.T, self.bands @ self.bands.T
        power = (bands @ self.inverse).clamp(min=0) + 1e-3 * back  # multiplication would keep a 0
        for _ in range(NUM_INVERSION_STEPS):
            power = power * back / (power @ square).clamp(min=TINY)
        return power.sqrt() * self._window.sum()

    @cached_property
    def _window(self) -> Tensor:
        return torch.hann_window(WINDOW_HOPS * self.hop)

    @cached_property
    def bands(self) -> Tensor:
        """M transposed, [frequencies, num_bands]."""
        top = 2595 * torch.log10(torch.tensor(1 + self.sample_rate_hz / 2 / 700))
        corners = 700 * (10 ** (torch.linspace(0, 1, self.num_bands + 2) * top / 2595) - 1)
        frequencies = torch.linspace(0, self.sample_rate_hz / 2, WINDOW_HOPS * self.hop // 2 + 1)[:, None]
        middle, gap = corners[1:-1], frequencies[1]
        low, high = torch.minimum(corners[:-2], middle - gap), torch.maximum(corners[2:], middle + gap)
        rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
        return torch.minimum(rising, falling).clamp(min=0)

    @cached_property
    def inverse(self) -> Tensor:
        """The pseudoinverse of Mᵀ, [num_bands, frequencies]."""
        inverse: Tensor = torch.linalg.pinv(self.bands)
        return inverse

    @cached_property
    def _overlap(self) -> Tensor:
        """The sum of the squared windows over each sample, [num_samples]."""
        return self._add(self._window.square().expand(1, self.num_frames, -1))[0]

    def _transform(self, waves: Tensor) -> Tensor:
        """The spectrum of each frame, complex [n, num_frames, frequencies]."""
        half = WINDOW_HOPS * self.hop // 2
        padded = torch.nn.functional.pad(waves, (half, half - self.hop))
        frames: Tensor = padded.unfold(1, 2 * half, self.hop) * self._window
        spectra: Tensor = torch.fft.rfft(frames)
        return spectra

    def _invert(self, spectrum: Tensor) -> Tensor:
        """The waves whose windowed frames come nearest to those of a spectrum (Griffin and Lim 1984, eq. 6)."""
        frames = torch.fft.irfft(spectrum, WINDOW_HOPS * self.hop)
        return self._add(frames * self._window) / self._overlap

    @cached_property
    def _matrices(self) -> tuple[Tensor, Tensor]:
        """Of the transform, [window, 2 frequencies], and back: real parts, then imaginary ones; with the windows."""
        size = WINDOW_HOPS * self.hop
        number = torch.arange(size // 2 + 1, dtype=torch.float64)
        angles = torch.outer(torch.arange(size, dtype=torch.float64), number) * (2 * torch.pi / size)
        there = torch.cat([angles.cos(), -angles.sin()], dim=1) * self._window.double()[:, None]
        share = torch.where((number == 0) | (number == size // 2), 1.0, 2.0) / size  # the others stand for two
        return there.float(), (there * share.repeat(2)).float().T.contiguous()

    def _transform_by_matrix(self, waves: Tensor) -> Tensor:
        """As `_transform`, with real and imaginary parts side by side, [n, num_frames, 2 frequencies]."""
        half = WINDOW_HOPS * self.hop // 2
        hops = torch.nn.functional.pad(waves, (half, half - self.hop)).reshape(
            -1, self.num_frames + WINDOW_HOPS - 1, self.hop
        )
        frames = [hops[:, hop : hop + self.num_frames] for hop in range(WINDOW_HOPS)]
        return torch.cat(frames, dim=2) @ self._matrices[0]

    def _invert_by_matrix(self, spectrum: Tensor) -> Tensor:
        """As `_invert`."""
        shape = -1, self.num_frames, WINDOW_HOPS, self.hop  # a length would fix it in a graph
        parts = (spectrum @ self._matrices[1]).reshape(shape).unbind(2)
        last = WINDOW_HOPS - 1
        places = [torch.nn.functional.pad(part, (0, 0, hop, last - hop)) for hop, part in enumerate(parts)]
        first = WINDOW_HOPS // 2
        return torch.stack(places).sum(0)[:, first : first + self.num_frames].flatten(1) / self._overlap

    def _add(self, frames: Tensor) -> Tensor:
        """Overlapping frames [n, num_frames, window] as waves [n, num_samples]."""
        parts = frames.reshape(len(frames), self.num_frames, WINDOW_HOPS, self.hop)
        total = frames.new_zeros(len(frames), self.num_frames + WINDOW_HOPS - 1, self.hop)
        for hop in range(WINDOW_HOPS):
            total[:, hop : hop + self.num_frames] += parts[:, :, hop]
        first = WINDOW_HOPS // 2
        return total[:, first : first + self.num_frames].flatten(1)
