"""Sounds: recordings of one length and sample rate, which networks see as log-mel spectrograms."""

import io
import math
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np
import torch
from torch import Tensor

from sparring.data.arrays import check_finite
from sparring.data.containers import Container, File, Reading
from sparring.data.corruptions import Corruption, add_noise, cut_band, overdrive, play_faster
from sparring.data.items import Items, split, to_uint8
from sparring.data.pack import remember
from sparring.data.sounds import (
    NUM_MEASURED,
    SILENT,
    SOUNDS,
    SoundFindings,
    count_pieces,
    find_out,
    level_of,
    prepare,
    read_sound,
)
from sparring.data.spectrograms import Spectrogram
from sparring.data.vowels import FORMANTS, SAMPLE_RATE_HZ, sing_vowels
from sparring.errors import DataError, UsageError
from sparring.game.sources import Source
from sparring.metrics.extractors import Extractor, random_features, thumbnails
from sparring.metrics.waves import measure_durations, measure_loudness, measure_pitches
from sparring.modalities.folders import find_files, load_container
from sparring.modalities.image_presets import FAST, FAST_BY_NETWORK
from sparring.modalities.images import Images
from sparring.modalities.modality import Dataset, Modality, NamedSource, Survey
from sparring.modalities.output import Html, Writer, data_url, picture_url
from sparring.modalities.preset import Preset
from sparring.types import OnProgress, Samples

if TYPE_CHECKING:
    from PIL.Image import Image

BANDS = {8_000: 64, 16_000: 80, 22_050: 96}  # of the spectrograms, by the sample rate in Hz
HOP_SECONDS = 0.012  # frames are at most this far apart
MIN_SECONDS = 0.03  # of a sound
STEP, MAX_FRAMES = 16, 512  # the number of frames is a multiple of the step
HEADROOM_DB = 10.0  # from the level of a wave down to that of its spectrogram's loudest band, roughly
LOUDEST = 1.001
AT_ONCE = 256
NUM_VOWELS = 1_000
PAUSE_SECONDS = 0.3  # between the sounds in one file


@final
@dataclass(frozen=True)
class Sounds(Modality):
    """Sounds of one length and sample rate."""

    item_shape: tuple[int, ...]  # (1, bands, frames) of a spectrogram
    sample_rate_hz: int
    num_samples: int  # of one sound
    top_db: float  # the level of the spectrograms' largest value
    name: Literal["sounds"] = "sounds"
    summary = "speech and other recordings, by their log-mel spectrograms"
    array_name = tensor_name = "sounds"
    kind = SOUNDS
    shown_as = "sound"
    has_sample_rate = True
    trains_classifier = True
    tasks = "other", "audio-to-audio"
    sample_file = "sounds.wav"
    num_shown = 8
    measured = ("duration", "pitch", "loudness")
    layouts = "sounds, as floats [n, samples] from -1 to 1 with a sample_rate_hz"

    def __post_init__(self) -> None:
        if len(self.item_shape) != 3 or self.item_shape[0] != 1:
            raise UsageError(f"spectrograms have the shape [1, bands, frames], not {list(self.item_shape)}")

    @cached_property
    def spectrogram(self) -> Spectrogram:
        """The way from waves to pictures and back."""
        _, bands, frames = self.item_shape
        hop = 4 * math.ceil(self.num_samples / frames / 4)  # the transform is fast if four divides it
        return Spectrogram(self.sample_rate_hz, hop, bands, frames, self.top_db)

    def encode(self, items: np.ndarray) -> Samples:
        """Spectrograms [n, 1, bands, frames] in [−1, 1] of waves float32 [n, num_samples]."""
        waves = torch.from_numpy(np.ascontiguousarray(items, np.float32))
        padded = torch.nn.functional.pad(waves, (0, self.spectrogram.num_samples - waves.shape[1]))
        return torch.cat([self.spectrogram.encode(part) for part in torch.split(padded, AT_ONCE)])[:, None]

    def decode(self, samples: Tensor) -> np.ndarray:
        """Waves float32 [n, num_samples] in [−1, 1], by Griffin-Lim: see `Spectrogram.decode`."""
        parts = [self.spectrogram.decode(part) for part in torch.split(samples[:, 0].cpu(), AT_ONCE)]
        waves: np.ndarray = torch.cat(parts)[:, : self.num_samples].clamp(-1, 1).numpy()
        return waves

    def encode_tensor(self, items: Tensor) -> Samples:
        """As `encode`, up to rounding."""
        padded = torch.nn.functional.pad(items, (0, self.spectrogram.num_samples - self.num_samples))
        return self.spectrogram.encode_tensor(padded)[:, None]

    def decode_tensor(self, samples: Tensor) -> Tensor:
        """As `decode`, up to the phases that grow from rounding: see `Spectrogram.decode_tensor`."""
        return self.spectrogram.decode_tensor(samples[:, 0])[:, : self.num_samples].clamp(-1, 1)

    @classmethod
    def accept(cls, array: np.ndarray, name: str, reading: Reading) -> "tuple[Sounds, np.ndarray] | None":
        """Waves [n, samples] of a known sample rate: floats from −1 to 1, or whole numbers that fill their type."""
        rate = reading.sample_rate_hz
        if array.ndim == 3 and 1 in array.shape[1:]:  # one channel
            array = array.reshape(len(array), array.shape[1] * array.shape[2])
        if rate is None or array.ndim != 2 or array.dtype.kind not in "if":
            return None
        if array.dtype.kind == "i":
            array = array / (np.iinfo(array.dtype).max + 1)
        check_finite(array, name, "sound")
        loudest = float(np.abs(array).max()) if array.size else 0.0
        if not SILENT < loudest <= LOUDEST:
            raise DataError(f"the loudest sample of {name!r} is {loudest:g}: give floats from -1 to 1, or int16")
        waves = array.astype(np.float32).clip(-1, 1)
        return cls.of_length(rate, waves.shape[1], _level(waves)), waves

    @classmethod
    def of_length(cls, sample_rate_hz: int, num_samples: int, level: float) -> "Sounds":
        """The modality of sounds of a length, by a magnitude that one in a thousand samples exceeds."""
        bands = next((bands for rate, bands in BANDS.items() if rate >= sample_rate_hz), max(BANDS.values()))
        frames = STEP * max(2, math.ceil(num_samples / (HOP_SECONDS * sample_rate_hz) / STEP))
        seconds = num_samples / sample_rate_hz
        if frames > MAX_FRAMES:
            raise DataError(f"sounds of {seconds:.1f} s are too long: cut them into pieces, or give --set seconds=2")
        if seconds < MIN_SECONDS:
            raise DataError(f"sounds of {seconds:.3f} s are too short: give sounds of {MIN_SECONDS} s or more")
        return cls((1, bands, frames), sample_rate_hz, num_samples, 20 * math.log10(level) - HEADROOM_DB)

    def store(self, items: np.ndarray) -> Tensor:
        """Spectrograms uint8 [n, 1, bands, frames]."""
        return torch.cat([to_uint8(self.encode(part)) for part in np.split(items, range(AT_ONCE, len(items), AT_ONCE))])

    @classmethod
    def open_path(cls, path: Path, reading: Reading, on_progress: OnProgress) -> Dataset | Survey | None:
        """Look at sound files in a folder, an archive or a table."""
        container = find_files(path, SOUNDS, reading)
        if container is None:
            return None
        in_pieces = reading.frames == "all"

        def listen() -> SoundFindings:
            return find_out(container, on_progress, reading.seconds, in_pieces)

        return _survey(container, remember(container, reading, listen, SoundFindings), reading, in_pieces)

    @property
    def page_facts(self) -> dict[str, Any]:
        """The colours of 256 levels, and what makes a wave of a spectrogram."""
        from matplotlib import colormaps

        way = self.spectrogram
        return {
            "colours": (colormaps["magma"](np.arange(256))[:, :3] * 255).round().astype(int).ravel().tolist(),
            "wave": {"hop": way.hop, "topDb": way.top_db, "numSamples": self.num_samples, "rate": self.sample_rate_hz},
            "mel": way.bands.numpy(),
            "melInverse": way.inverse.numpy(),
        }

    @property
    def constants(self) -> dict[str, np.ndarray]:
        """The sample rate."""
        return {"sample_rate_hz": np.array(self.sample_rate_hz)}

    def with_size(self, size: tuple[int, ...]) -> "Sounds":
        """Spectrograms of other numbers of bands and frames."""
        return replace(self, item_shape=(1, *size))

    def resize(self, dataset: Dataset, size: tuple[int, ...]) -> Dataset:
        """The same sounds with other numbers of bands and frames, by linear interpolation."""
        modality = self.with_size(size)

        def stretch(spectrograms: Tensor) -> Tensor:
            resized = torch.nn.functional.interpolate(spectrograms.float(), size=size, mode="bilinear", antialias=True)
            return resized.round().clamp(0, 255).to(torch.uint8)

        def change(source: Source) -> Source:
            assert isinstance(source, Items)
            return source.map(stretch, modality.item_shape)

        return dataset.with_sources(change, modality)

    def usual_network(self, normalization: str | None) -> str:
        """The network for images: a spectrogram is one."""
        return Images(self.item_shape).usual_network(normalization)

    def neutral_extractor(self) -> Extractor:
        """Random convolutions over spectrograms."""
        return random_features(self.item_shape)

    def thumbnails(self) -> Extractor:
        """At most 14×14 numbers of a spectrogram."""
        return thumbnails(self.item_shape)

    def measurements(self, items: np.ndarray) -> dict[str, Tensor]:
        """The duration in seconds, the pitch in Hz, and the level in dB."""
        waves, rate = torch.from_numpy(items), self.sample_rate_hz
        values = measure_durations(waves, rate), measure_pitches(waves, rate), measure_loudness(waves, rate)
        return dict(zip(self.measured, values, strict=True))

    def corruptions(self) -> tuple[Corruption, ...]:
        """Noise, a narrow band, a wrong rate, and clipping."""
        return (
            Corruption("noise", (0.001, 0.003, 0.01, 0.03), "of the sound's level", add_noise),
            Corruption("band", (2, 4, 8), "times narrower", lambda waves, by, _: cut_band(waves, by)),
            Corruption("rate", (1.05, 1.2, 1.5), "times too fast", lambda waves, by, _: play_faster(waves, by)),
            Corruption("clipping", (2, 5, 20), "times too loud", lambda waves, by, _: overdrive(waves, by)),
        )

    def describe(self) -> str:
        """The length, the sample rate, and the shape of the spectrogram."""
        _, bands, frames = self.item_shape
        seconds = self.num_samples / self.sample_rate_hz
        return f"{seconds:.2f} s at {self.sample_rate_hz:,} Hz, as {bands} bands × {frames} frames"

    def num_pictured(self, num_rows: int) -> int:
        """Four for each class, or six rows of four: each takes a few milliseconds to decode."""
        return 4 * (num_rows or 6)

    def picture(self, items: np.ndarray, columns: int | None = None) -> "Image":
        """Draw the spectrograms side by side, low frequencies at the bottom, loud parts bright."""
        return Images((3, *self.item_shape[1:])).picture(self.draw_tiles(self.encode(items)), columns)

    def draw_tiles(self, samples: Samples) -> np.ndarray:
        """The spectrograms, in colours."""
        from matplotlib import colormaps

        pixels = (samples[:, 0].flip(1).cpu().numpy() + 1) / 2
        colours: np.ndarray = (colormaps["magma"](pixels)[..., :3] * 255).round().astype(np.uint8)
        return colours

    def show(self, items: np.ndarray, names: Sequence[str] = ()) -> Html:
        """A player for each sound, with its spectrogram above it and its label below."""
        parts = []
        for item, name in zip(items, names or [""] * len(items), strict=True):
            sound, image = io.BytesIO(), picture_url(self.picture(item[None]))
            write_wav(item, self.sample_rate_hz, sound)
            parts.append(
                f'<figure style="margin: 0; width: 14rem"><img alt="" style="width: 100%" src="{image}">'
                f'<audio controls style="width: 100%" src="{data_url(sound.getvalue(), "audio/wav")}"></audio>'
                f"<figcaption>{escape(name)}</figcaption></figure>"
            )
        return Html(f'<div style="display: flex; flex-wrap: wrap; gap: 1rem">{"".join(parts)}</div>')

    @property
    def file_writers(self) -> Mapping[str, Writer]:
        """One WAV file with all sounds, one after the other, and pauses between them."""

        def write(items: np.ndarray, path: Path | io.BytesIO) -> None:
            pause = np.zeros((len(items), round(PAUSE_SECONDS * self.sample_rate_hz)), items.dtype)
            joined = np.concatenate([items, pause], axis=1).flatten()
            write_wav(joined[: joined.size - pause.shape[1]], self.sample_rate_hz, path)

        return {".wav": write}

    def write_files(self, items: np.ndarray, folder: Path, names: Sequence[str]) -> None:
        """A WAV file for each sound, of 16 bits."""
        folder.mkdir(parents=True, exist_ok=True)
        for item, name in zip(items, names, strict=True):
            write_wav(item, self.sample_rate_hz, folder / f"{name}.wav")


def write_wav(samples: np.ndarray, sample_rate_hz: int, target: Path | io.BytesIO) -> None:
    """Write a sound float [samples] in [−1, 1] as a WAV file of 16 bits."""
    with wave.open(str(target) if isinstance(target, Path) else target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes((np.clip(samples, -1, 1) * 32767).round().astype("<i2").tobytes())


def _survey(container: Container, found: SoundFindings, reading: Reading, in_pieces: bool) -> Survey:
    rates = [reading.sample_rate_hz] if reading.sample_rate_hz else found.rates
    choices = [Sounds.of_length(rate, math.ceil(found.seconds * rate), found.level) for rate in rates]

    def read(size: tuple[int, ...] | None, on_progress: OnProgress, dry: bool) -> Dataset:
        chosen = choices[-1]
        if size is not None:  # the number of bands says which rate was chosen
            chosen = next((each for each in choices if each.item_shape[1] >= size[0]), chosen).with_size(size)

        def read_file(file: File, name: str) -> np.ndarray:
            samples, rate = read_sound(file, name, in_pieces)
            number = count_pieces(len(samples) / rate, found.seconds) if in_pieces else 1
            starts = [round(place * found.seconds * rate) for place in range(number)]
            ends = [*starts[1:], math.ceil(starts[-1] + found.seconds * rate)]
            parts = [samples[start:end] for start, end in zip(starts, ends, strict=True)]
            form = chosen.sample_rate_hz, chosen.num_samples
            return chosen.store(np.stack([prepare(part, rate, *form) for part in parts])).numpy()

        return replace(load_container(container, reading, found, chosen, read_file, on_progress, dry), survey=survey)

    survey = Survey([*choices], choices[0], found.num_heldout, found.description, read)
    return survey


def _open_vowels() -> Dataset:
    waves, labels = sing_vowels(NUM_VOWELS)
    modality, names = Sounds.of_length(SAMPLE_RATE_HZ, waves.shape[1], _level(waves)), tuple(FORMANTS)
    parts = split("vowels", modality.store(waves), torch.from_numpy(labels), None, names)
    return Dataset("vowels", modality, *parts, names)


def _level(waves: np.ndarray) -> float:
    """The magnitude that one in a thousand samples of the loudest wave exceeds."""
    return max(level_of(samples) for samples in waves[:NUM_MEASURED])


Sounds.sources = (
    NamedSource(
        "vowels", "1,000 sung vowels of .38 s at 8,000 Hz, made on the fly; 100 of them held out",
        source="this project; resonances of Peterson and Barney 1952",
        open=_open_vowels,
    ),
)  # fmt: skip
Sounds.presets = (
    Preset(
        "sounds", "for sounds: the default of images on log-mel spectrograms, with a flat discriminator at the data",
        source="this project, docs/log.md",
        settings=FAST | {"penalty": "r1", "penalty_weight": 1.0, "penalty_interval": 4},
        by_network=FAST_BY_NETWORK,
    ),
)  # fmt: skip
