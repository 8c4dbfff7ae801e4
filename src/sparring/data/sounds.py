"""Read sound files, resample them, and survey them before they are packed."""

import io
import math
import wave
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import torch

from sparring.data.containers import Container, Entry, File, Kind, list_counts, one_line
from sparring.data.layout import say_count
from sparring.data.survey import Findings, count_classes
from sparring.errors import DataError, how_to_install
from sparring.types import OnProgress

SOUNDS = Kind("sounds", frozenset({".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif"}), columns=("audio", "sound"))
RATES = (8_000, 16_000, 22_050)  # Hz: choices
UNCUT = 0.95  # this share of the recordings fits into the length of an item
SILENT, CLIPPED = 1e-4, 0.999  # largest magnitudes of silent and of clipped recordings
NUM_MEASURED, LEVEL_SHARE = 500, 0.999  # recordings whose levels are measured, and the share of samples below them
MAX_SECONDS, MAX_CUT_SECONDS = 600.0, 7_200.0  # of one recording, and of one that is cut into pieces
NO_LENGTH = 2**31 - 2**16  # bytes, the least that a header promises if it was written before the recording ended
MAX_PEAK = 4.0  # of floats; what is above 1 is clipped


def read_sound(file: File, name: str, in_pieces: bool = False) -> tuple[np.ndarray, int]:
    """Read a sound file as float32 [samples] in [−1, 1], the mean of its channels, and its sample rate in Hz."""
    channels, rate = read_channels(file, name, in_pieces)
    return _mix(channels), rate


def read_channels(file: File, name: str, in_pieces: bool = False) -> tuple[np.ndarray, int]:
    """Read a sound file as float32 [samples, channels], and its sample rate in Hz.

    WAV files with whole numbers are read by Python, all others by the library soundfile.

    Raises:
        DataError: if it cannot be read, is empty, or is longer than ten minutes, or than two hours in pieces.
    """
    data = file.read()
    if not data:
        raise DataError(f"{name}: the file is empty")
    most = MAX_CUT_SECONDS if in_pieces else MAX_SECONDS
    samples, rate = (_read_wav if data[:4] == b"RIFF" else _read_other)(data, name, most)
    if not len(samples):
        raise DataError(f"{name}: it holds no samples")
    if not np.isfinite(samples).all():
        raise DataError(f"{name}: it holds samples that are not finite")
    if (peak := float(np.abs(samples).max())) > MAX_PEAK:
        raise DataError(f"{name}: its loudest sample is {peak:g}, and floats go from -1 to 1: divide them")
    return samples, rate


def _mix(channels: np.ndarray) -> np.ndarray:
    mixed: np.ndarray = channels.mean(axis=1).clip(-1, 1)
    return mixed


def _read_wav(data: bytes, name: str, most: float) -> tuple[np.ndarray, int]:
    try:
        with wave.open(io.BytesIO(data)) as sound:
            rate, width, channels = sound.getframerate(), sound.getsampwidth(), sound.getnchannels()
            frame, num_samples = width * channels, sound.getnframes()
            has_length = num_samples * frame < NO_LENGTH
            num_samples = num_samples if has_length else len(data) // frame
            raw = np.frombuffer(sound.readframes(num_samples) if num_samples <= most * rate else b"", np.uint8)
    except wave.Error:  # floats, or an extended header
        return _read_other(data, name, most)
    except (EOFError, ValueError) as error:
        raise DataError(f"{name}: {str(error) or 'it ends too early'}") from error
    if rate < 1:
        raise DataError(f"{name}: its header gives no sample rate")
    _check_length(num_samples / rate, name, most)
    num_read = len(raw) // frame
    if has_length and 0 < num_read < num_samples:
        raise DataError(f"{name}: it ends after {num_read:,} of {num_samples:,} samples: copy it again")
    raw = raw[: num_read * frame].reshape(-1, width)
    if width == 1:
        values = (raw[:, 0].astype(np.float32) - 128) / 128  # 8 bits have no sign
    else:
        padded = np.zeros((len(raw), 4), np.uint8)
        padded[:, 4 - width :] = raw
        values = padded.view("<i4")[:, 0].astype(np.float32) / 2**31
    return values.reshape(-1, channels), rate


def _read_other(data: bytes, name: str, most: float) -> tuple[np.ndarray, int]:
    try:
        import soundfile
    except ImportError as error:
        if data[:4] != b"RIFF" and name.lower().endswith(".wav"):
            raise DataError(f"{name}: it is no WAV file") from error
        only = "without soundfile, only plain WAV files of whole numbers can be read"
        raise DataError(f"{name}: {only}: {how_to_install('sound')}") from error
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as sound:
            _check_length(sound.frames / sound.samplerate, name, most)
            return sound.read(dtype="float32", always_2d=True), sound.samplerate
    except soundfile.SoundFileError as error:
        reason = str(error).rpartition(": ")[2].rstrip(".").lower()
        raise DataError(f"{name}: {reason or 'it is no sound'}") from error


def _check_length(seconds: float, name: str, most: float) -> None:
    if seconds > most:
        advice = "--set frames=all cuts it into pieces" if seconds <= MAX_CUT_SECONDS else "cut it into pieces"
        raise DataError(f"{name}: {seconds / 60:.0f} minutes long, more than {most / 60:.0f}: {advice}")


def resample(samples: np.ndarray, rate: int, to: int) -> np.ndarray:
    """A sound [samples] at another sample rate: its spectrum, cut off or continued with zeros."""
    if rate == to:
        return samples
    length = max(1, round(len(samples) * to / rate))
    spectrum = torch.fft.rfft(torch.from_numpy(samples))
    resampled: np.ndarray = (torch.fft.irfft(spectrum[: length // 2 + 1], length) * (length / len(samples))).numpy()
    return resampled


def prepare(samples: np.ndarray, rate: int, to: int, length: int) -> np.ndarray:
    """The beginning of a sound at another sample rate, with silence after its end, float32 [length]."""
    resampled = resample(samples, rate, to)[:length]
    return np.pad(resampled, (0, length - len(resampled)))


def count_pieces(seconds: float, length: float) -> int:
    """How many pieces of a length a recording has, both in seconds; what remains is at most half a piece, or missing.

    Example:
        >>> count_pieces(0.2, 1.0), count_pieces(3.4, 1.0), count_pieces(3.6, 1.0)
        (1, 3, 4)
    """
    return max(1, round(seconds / length))


def level_of(samples: np.ndarray) -> float:
    """A magnitude that one in a thousand samples of a sound exceeds."""
    return float(np.quantile(np.abs(samples), LEVEL_SHARE))


@final
@dataclass(frozen=True, kw_only=True)
class SoundFindings(Findings):
    """What a container of sounds holds."""

    rates: list[int]  # choices that the recordings have the frequencies for, in Hz; at least one
    seconds: float  # a length that most recordings fit into
    level: float  # a magnitude that one in a thousand samples of the loudest recording exceeds


class _Look(NamedTuple):
    ending: str
    rate: int
    channels: int
    seconds: float
    peak: float
    level: float


def find_out(
    container: Container, on_progress: OnProgress, seconds: float | None = None, in_pieces: bool = False
) -> SoundFindings:
    """Read every sound in a container, and describe them; without a length in seconds, choose one."""
    faults: list[str] = []

    def look(file: File, entry: Entry, number: int) -> _Look:
        channels, rate = read_channels(file, entry.name, in_pieces)
        samples = _mix(channels)
        magnitudes = np.abs(samples)
        level = level_of(samples) if number < NUM_MEASURED else 0.0
        ending = entry.name.rpartition(".")[2].lower()
        return _Look(ending, rate, channels.shape[1], len(samples) / rate, float(magnitudes.max()), level)

    found = list(container.read(look, faults, "listening to", on_progress))
    looks = [each for _, each in found]
    lengths, rates = sorted(each.seconds for each in looks), Counter(each.rate for each in looks)
    if all(each.peak < SILENT for each in looks):
        raise DataError(f"all {len(looks)} sounds in {str(container.path)!r} are silent: there is nothing to learn")
    usual = rates.most_common(1)[0][0]
    seconds = seconds or lengths[math.ceil(UNCUT * len(lengths)) - 1]
    num_pieces = [count_pieces(each.seconds, seconds) if in_pieces else 1 for each in looks]
    pieces = [entry for (entry, _), number in zip(found, num_pieces, strict=True) for _ in range(number)]
    classes, about_classes = count_classes(container, [entry.label for entry in pieces])
    heldout = [entry.is_heldout for entry in pieces]
    silent, clipped = sum(each.peak < SILENT for each in looks), sum(each.peak >= CLIPPED for each in looks)
    num_mixed = sum(each.channels > 1 for each in looks)
    num_cut, num_long = (sum(each.seconds > times * seconds for each in looks) for times in (1, 2))
    advice = (
        f", and {num_long:,} are more than twice as long: --set frames=all makes pieces of them" if num_long else ""
    )
    cut = (
        f"the ends of {num_cut:,} are cut off, the others end in silence" if num_cut else "shorter ones end in silence"
    )
    about_length = (
        f"cut into {len(pieces):,} pieces of {seconds:.2f} s"
        if in_pieces
        else f"brought to {seconds:.2f} s: {cut}{advice}"
    )
    lines = [
        f"{one_line(container.path)}: {say_count(len(looks), 'sounds')} ({list_counts(each.ending for each in looks)}; "
        f"{list_counts(f'{each.rate:,} Hz' for each in looks)}), {lengths[0]:.2f} to {lengths[-1]:.2f} s long, median "
        f"{lengths[len(lengths) // 2]:.2f} s",
        f"  {about_length}",
        *([f"  {num_mixed:,} have several channels, which become their mean"] if num_mixed else []),
        *([f"  {silent:,} are silent"] if silent else []),
        *([f"  {clipped:,} are clipped, or as loud as can be"] if clipped else []),
        *(f"  {line}" for line in container.describe_rest()),
        f"  {about_classes}",
    ]
    return SoundFindings(
        fingerprint=container.fingerprint,
        num_items=len(pieces),
        rates=[rate for rate in RATES if rate <= usual] or [RATES[0]],
        seconds=seconds,
        level=max(each.level for each in looks),
        class_counts=classes,
        num_heldout=None if None in heldout else sum(map(bool, heldout)),
        rest=container.describe_rest(),
        faults=container.list_faults(faults),
        description=lines,
    )
