"""Sounds: files of all kinds, spectrograms and back, and a training on recordings."""

import base64
import io
import re
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

import sparring
from sparring import DataError, UsageError, open_dataset
from sparring.cli.main import main
from sparring.data import sounds
from sparring.data.containers import Reading
from sparring.data.sounds import read_sound, resample
from sparring.data.spectrograms import Spectrogram
from sparring.data.vowels import FORMANTS, sing_vowels
from sparring.evaluation.card import check_figure
from sparring.modalities import Survey, look_at
from sparring.modalities.sounds import Sounds, write_wav

RATE = 8_000


def tone(hertz: float, seconds: float = 0.4, rate: int = RATE, size: float = 0.5) -> np.ndarray:
    return (size * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = RATE, width: int = 2, channels: int = 1) -> None:
    """Write whole numbers of so many bytes, the same in each channel."""
    whole = np.round(samples.astype(np.float64).repeat(channels) * (2 ** (8 * width - 1) - 1)).astype("<i4")
    data = (whole + 128).astype(np.uint8).tobytes() if width == 1 else b"".join(
        struct.pack("<i", number)[:width] for number in whole.tolist()
    )  # fmt: skip
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, width, rate, len(samples), "NONE", ""))
        file.writeframes(data)


def damage(path: Path, part: slice, by: bytes = b"") -> None:
    """Write a sound with other bytes, or fewer, in a part of its file."""
    write(path, tone(300))
    data = bytearray(path.read_bytes())
    data[part] = by
    path.write_bytes(bytes(data))


def write_floats(path: Path, factor: float) -> None:
    """Write a tone of magnitude 0.5 as floats, times a factor."""
    data = (factor * tone(300)).astype("<f4").tobytes()
    form = struct.pack("<HHIIHH", 3, 1, RATE, 4 * RATE, 4, 32)
    chunks = b"".join(
        name + struct.pack("<I", len(chunk)) + chunk for name, chunk in ((b"fmt ", form), (b"data", data))
    )
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)


def write_hour(path: Path) -> None:
    """An hour of silence at a very low rate."""
    write(path, np.zeros(3600 * 5), rate=5)


def record(folder: Path, n: int = 24, rate: int = RATE) -> Path:
    """A folder of tones: the word is its pitch, and the speaker how loud it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(n):
        word, speaker = ("low", "high")[number % 2], ("ann", "bob")[number // 2 % 2]
        samples = tone(300 + 900 * (number % 2) + number, 0.2 + 0.01 * number, rate, (0.3, 0.6)[number // 2 % 2])
        write(folder / f"{word}_{speaker}_{number:02}.wav", samples, rate)
    return folder


@pytest.mark.parametrize(("width", "channels"), [(1, 1), (2, 1), (2, 2), (3, 6), (4, 1)])
def test_every_width_and_number_of_channels(width: int, channels: int, tmp_path: Path) -> None:
    write(tmp_path / "a.wav", tone(440), 96_000, width, channels)
    with (tmp_path / "a.wav").open("rb") as file:
        samples, rate = read_sound(file, "a.wav")
    assert rate == 96_000
    assert samples.shape == tone(440).shape
    assert np.abs(samples - tone(440)).max() <= 1.1 / 2 ** (8 * width - 1)


def test_other_formats_are_read_by_soundfile(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")  # it comes with the extra `test`
    for name, kind in (("a.flac", "PCM_16"), ("b.wav", "FLOAT"), ("c.ogg", "VORBIS")):
        soundfile.write(tmp_path / name, tone(440), RATE, subtype=kind)
        with (tmp_path / name).open("rb") as file:
            samples, rate = read_sound(file, name)
        assert rate == RATE
        assert np.abs(samples[400:2400] - tone(440)[400:2400]).max() < 0.05


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100, 6_000])
def test_a_tone_is_the_same_at_another_rate(rate: int) -> None:
    """But for its ends, where the spectrum of a piece wraps around."""
    resampled = resample(tone(1000, 0.5, rate), rate, RATE)
    assert len(resampled) == 4000
    assert np.abs(resampled - tone(1000, 0.5))[200:-200].max() < 0.01


def test_frequencies_above_half_the_rate_are_left_out() -> None:
    assert np.abs(resample(tone(5000, 0.5, 16_000), 16_000, RATE))[200:-200].max() < 0.01


def test_a_tone_lies_in_its_band() -> None:
    """Bands are evenly spaced in mels: 2595 log₁₀(1 + f/700), from 0 to 2146 at 4,000 Hz."""
    spectrogram = Spectrogram(RATE, hop=80, num_bands=64, num_frames=40, top_db=-6.0)
    for hertz in (200.0, 1000.0, 3000.0):
        encoded = spectrogram.encode(torch.from_numpy(tone(hertz))[None])[0]
        mel = 2595 * np.log10(1 + hertz / 700)
        expected = mel / (2146.06 / 65) - 1
        assert abs(encoded.mean(1).argmax().item() - expected) <= 1


def test_levels_are_decibels() -> None:
    """Half the amplitude is 6.02 dB less, of a range of 80 dB that is mapped to a length of 2."""
    spectrogram = Spectrogram(RATE, hop=80, num_bands=64, num_frames=40, top_db=0.0)
    loud, soft = (spectrogram.encode(torch.from_numpy(tone(1000, size=size))[None]).max() for size in (0.8, 0.4))
    assert (loud - soft).item() == pytest.approx(6.0206 / 40, abs=1e-4)
    assert spectrogram.encode(torch.zeros(1, 3200)).eq(-1).all()
    assert spectrogram.decode(torch.full((1, 64, 40), -1.0)).abs().max() == 0


def test_vowels_come_back_from_their_spectrograms() -> None:
    """With the same loud parts: the bands within 30 dB of the top differ by less than 3 dB on average."""
    waves, _ = sing_vowels(20)
    modality = Sounds.of_length(RATE, waves.shape[1], 0.5)
    before = modality.encode(waves)
    after = modality.encode(modality.decode(before))
    loud = before > before.amax(dim=(1, 2, 3), keepdim=True) - 30 / 40
    assert 40 * (after - before)[loud].abs().mean() < 3
    assert np.array_equal(modality.decode(before), modality.decode(before))


def test_vowels_have_the_resonances_of_their_class() -> None:
    """The strongest harmonics of each vowel lie nearest to its own first resonance, on average over its sounds."""
    waves, labels = sing_vowels(100)
    spectrum = np.abs(np.fft.rfft(waves)) ** 2
    hertz = np.fft.rfftfreq(waves.shape[1], 1 / RATE)
    below = hertz < 1200
    centers = (spectrum[:, below] * hertz[below]).sum(1) / spectrum[:, below].sum(1)
    means = [centers[labels == label].mean() for label in range(5)]
    assert np.argsort(means).tolist() == np.argsort([first for first, _, _ in FORMANTS.values()]).tolist()


def test_a_survey_chooses_and_says(tmp_path: Path) -> None:
    record(tmp_path / "a", rate=44_100)
    write(tmp_path / "a" / "low_ann_99.wav", tone(300, 3.0, 44_100), 44_100)
    write(tmp_path / "a" / "low_ann_97.wav", tone(300, 0.3, 44_100), 44_100, channels=6)
    (tmp_path / "a" / "notes.txt").write_text("nothing")
    (tmp_path / "a" / "low_bob_98.wav").write_text("no sound")
    survey = look_at(str(tmp_path / "a"), Reading(labels="{word}_{speaker}_{take}:word"))
    assert isinstance(survey, Survey)
    assert [getattr(modality, "sample_rate_hz", 0) for modality in survey.choices] == [8000, 16000, 22050]
    text = "\n".join(survey.description)
    for part in ("26 sounds (wav 26; 44,100 Hz 26), 0.20 to 3.00 s", "brought to 0.43 s: the ends of 1 are cut off",
                 "1 have several channels, which become their mean", "not opened: 1 other file (.txt 1)",
                 "2 classes from labels in names"):  # fmt: skip
        assert part in text
    with pytest.warns(sparring.SparringWarning, match=r"low_bob_98.wav"):
        chosen = open_dataset(str(tmp_path / "a"), sample_rate_hz=16_000, seconds=1.0).modality
    assert isinstance(chosen, Sounds)
    assert (chosen.sample_rate_hz, chosen.num_samples) == (16_000, 16_000)


REFUSED = {
    "silent": (lambda folder: [write(folder / f"{n}.wav", np.zeros(800)) for n in range(9)], "are silent"),
    "one file": (lambda folder: write(folder / "a.wav", tone(300)), "holds 1 item,"),
    "text": (lambda folder: [(folder / f"{n}.wav").write_text("no sound") for n in range(9)], "cannot be read"),
    "empty": (lambda folder: [write(folder / f"{n}.wav", np.zeros(0)) for n in range(9)], "no samples"),
    "no bytes": (lambda folder: [(folder / f"{n}.wav").touch() for n in range(9)], "the file is empty"),
    "too short": (lambda folder: [write(folder / f"{n}.wav", tone(300, 0.002)) for n in range(9)], "are too short"),
    "a header alone": (lambda folder: [damage(folder / f"{n}.wav", slice(30, None)) for n in range(9)], "too early"),
    "cut off": (
        lambda folder: [damage(folder / f"{n}.wav", slice(-1000, None)) for n in range(9)],
        "ends after 2,700 of",
    ),
    "no rate": (lambda folder: [damage(folder / f"{n}.wav", slice(24, 28), bytes(4)) for n in range(9)], "sample rate"),
    "not divided": (lambda folder: [write_floats(folder / f"{n}.wav", 40) for n in range(9)], "loudest sample is 20"),
    "not finite": (lambda folder: [write_floats(folder / f"{n}.wav", np.nan) for n in range(9)], "not finite"),
    "an hour": (
        lambda folder: [write_hour(folder / f"{n}.wav") for n in range(2)],
        "60 minutes .*frames=all cuts",
    ),
    "too long": (lambda folder: [write(folder / f"{n}.wav", tone(300, 20.0)) for n in range(9)], "--set seconds="),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Once by its name, and nothing is half-made."""
    make, message = REFUSED[case]
    (tmp_path / "a").mkdir()
    make(tmp_path / "a")
    with pytest.raises(DataError, match=message) as refused:
        open_dataset(str(tmp_path / "a"))
    assert all(line.count(".wav:") <= 1 for line in str(refused.value).splitlines())
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["train", str(tmp_path / "a"), "--out", str(tmp_path / "run")])
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_one_bad_file_among_many_is_left_out_by_name(tmp_path: Path) -> None:
    record(tmp_path / "a")
    (tmp_path / "a" / "x.wav").write_text("a text")
    with pytest.warns(sparring.SparringWarning, match=r"x\.wav: format not recognised"):
        assert open_dataset(str(tmp_path / "a")).train.num_items == 22


def test_rates_may_be_mixed(tmp_path: Path) -> None:
    """A tone sounds the same from files of any rate, and all are listed."""
    for number, rate in enumerate((8_000, 16_000, 22_050, 44_100, 96_000) * 4):
        write(tmp_path / f"{number}.wav", tone(1000, 0.4, rate), rate)
    survey = look_at(str(tmp_path))
    assert isinstance(survey, Survey)
    assert "(wav 20; 8,000 Hz 4, 16,000 Hz 4, 22,050 Hz 4, 44,100 Hz 4, 96,000 Hz 4)" in survey.description[0]
    train = open_dataset(str(tmp_path)).train
    assert isinstance(train, sparring.Items)
    middle = train.items[..., 8:-8].float()
    assert (middle - middle.mean(0)).abs().max() < 6  # of 255


def test_long_recordings_are_cut_into_pieces_on_request(tmp_path: Path) -> None:
    """Each second of the long one has its own pitch, and each is an item; less than half a piece is left out."""
    record(tmp_path / "a", 20)
    write(tmp_path / "a" / "long_ann_99.wav", np.concatenate([tone(200 * (1 + k), 1.0) for k in range(8)])[:-4800])
    survey = look_at(str(tmp_path / "a"), Reading(seconds=1.0))
    assert isinstance(survey, Survey)
    assert "1 are more than twice as long: --set frames=all makes pieces of them" in "\n".join(survey.description)
    settings = {"seconds": 1.0, "labels": "{word}_{speaker}_{take}:word"}
    dataset = open_dataset(str(tmp_path / "a"), frames="all", **settings)
    assert isinstance(dataset.train, sparring.Items)
    assert isinstance(dataset.heldout, sparring.Items)
    parts = (dataset.train, dataset.heldout)
    items = torch.cat([part.items for part in parts])
    labels = torch.cat([part.item_labels for part in parts if part.item_labels is not None])
    names = [dataset.class_names[label] for label in labels]
    assert (len(items), names.count("long")) == (27, 7)
    long = items[torch.tensor([name == "long" for name in names])]
    assert sorted(long[:, 0, :, 20:60].float().mean(2).argmax(1).tolist()) == pytest.approx(
        [2595 * np.log10(1 + 200 * (1 + k) / 700) / (2146.06 / 65) - 1 for k in range(7)], abs=1.5
    )


def test_the_library_for_other_formats_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)  # as if it were not installed
    for number in range(9):
        (tmp_path / f"{number}.flac").write_bytes(b"fLaC" + bytes(100))
    with pytest.raises(DataError, match=r"without soundfile.*: pip install"):
        open_dataset(str(tmp_path))
    (tmp_path / "text.wav").write_text("no sound")
    with (tmp_path / "text.wav").open("rb") as file, pytest.raises(DataError, match="it is no WAV file"):
        read_sound(file, "text.wav")


def test_a_wav_that_was_written_into_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", tone(300))
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[4:8] = data[40:44] = b"\xff" * 4  # whoever writes into a pipe cannot go back to say how long it became
    samples, _ = read_sound(io.BytesIO(data), "a.wav")
    assert np.abs(samples - tone(300)).max() < 1e-4


def test_a_recording_of_an_hour_is_refused_by_its_header(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", tone(300), rate=5)
    with (tmp_path / "a.wav").open("rb") as file, pytest.raises(DataError, match="11 minutes long"):
        read_sound(file, "a.wav")


def test_a_cover_picture_does_not_make_sounds_images(tmp_path: Path) -> None:
    from PIL import Image

    record(tmp_path / "a")
    Image.new("RGB", (32, 32)).save(tmp_path / "a" / "cover.png")
    assert isinstance(open_dataset(str(tmp_path / "a")).modality, Sounds)


def test_arrays_with_a_sample_rate(tmp_path: Path) -> None:
    waves, labels = sing_vowels(40)
    whole = (waves * 32767).astype(np.int16)
    np.savez(tmp_path / "a.npz", sounds=waves, sample_rate_hz=RATE, labels=labels)
    np.savez(tmp_path / "b.npz", x=whole, sample_rate_hz=RATE, y=labels)
    first, second = (open_dataset(str(tmp_path / name)) for name in ("a.npz", "b.npz"))
    assert isinstance(first.modality, Sounds)
    assert first.modality.item_shape == second.modality.item_shape == (1, 64, 32)
    assert isinstance(first.train, sparring.Items)
    assert isinstance(second.train, sparring.Items)
    difference = first.train.items.int() - second.train.items.int()
    assert difference.abs().float().mean() < 0.1  # 16 bits are coarse in quiet bands
    np.savez(tmp_path / "c.npz", sounds=waves)
    with pytest.raises(DataError, match="sample_rate_hz"):
        open_dataset(str(tmp_path / "c.npz"))
    np.savez(tmp_path / "d.npz", sounds=40 * waves, sample_rate_hz=RATE)
    with pytest.raises(DataError, match="give floats from -1 to 1"):
        open_dataset(str(tmp_path / "d.npz"))


def test_from_recordings_to_wav_files(tmp_path: Path) -> None:
    """Trained with two conditions, stopped, resumed to the same bytes, sampled, measured, explained."""
    folder = record(tmp_path / "a", 60)
    settings = {"labels": "{word}_{speaker}_{take}:word,speaker", "width": 4, "batch_size": 16, "progress": False}
    whole = sparring.train(folder, steps=4, out=tmp_path / "whole", **settings)
    sparring.train(folder, steps=2, out=tmp_path / "parts", **settings)
    parts = sparring.resume(tmp_path / "parts", steps=4, progress=False)
    weights = [(run.generator / "model.safetensors").read_bytes() for run in (whole, parts)]
    assert weights[0] == weights[1]
    generator = sparring.load(whole)
    assert isinstance(generator.modality, Sounds)
    waves = generator.sample(3, labels={"word": "low", "speaker": "bob"})
    assert waves.shape == (3, generator.modality.num_samples)
    assert waves.dtype == np.float32
    generator.modality.write(waves, tmp_path / "out")
    with wave.open(str(tmp_path / "out" / "000002.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (RATE, 1, waves.shape[1])
        data = np.frombuffer(file.readframes(waves.shape[1]), "<i2") / 32767
    assert np.abs(data - waves[2]).max() <= 0.5 / 32767 + 1e-7
    generator.modality.write(waves, tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["sounds"].shape == waves.shape
        assert arrays["sample_rate_hz"] == RATE
    assert len(whole.sample_paths()) > 0
    page = sparring.diagnose(whole).read_text(encoding="utf-8")
    check_players(page, generator, 16)
    names = re.findall("<figcaption>([^<]*=[^<]*)</figcaption>", page)
    assert names[:8] == names[8:]  # real ones of the same labels
    assert set(names) == {f"word={word},speaker={speaker}" for word in ("low", "high") for speaker in ("ann", "bob")}
    for out in ("files", "all.wav", "all.png"):
        options = ["--label", "word=high,speaker=ann", "-n", "2", "--out", str(tmp_path / out)]
        with pytest.raises(SystemExit, match=r"^0$"):
            main(["sample", str(whole.path), *options])
    names = sorted(path.name for path in (tmp_path / "files").iterdir())
    assert names == ["000000-word=high,speaker=ann.wav", "000001-word=high,speaker=ann.wav"]
    with wave.open(str(tmp_path / "all.wav")) as file:
        assert file.getnframes() == 2 * waves.shape[1] + 2400


@pytest.mark.usefixtures("short_divergence")
def test_a_card_compares_duration_pitch_and_loudness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is learnt in a step: all are far from the data's, and those of held-out sounds near."""
    monkeypatch.setattr("sparring.evaluation.classifier.STEPS", 20)  # test_classifier.py looks at a whole training
    run = sparring.train("vowels", steps=1, width=4, batch_size=16, out=tmp_path / "run", progress=False)
    card = sparring.evaluate(run, n=100, progress=False)
    for name in ("duration_distance", "pitch_distance", "loudness_distance"):
        row = card.figures[name]
        assert row.floor is not None
        assert row.generated.low > row.floor.high, name
        assert 0 < row.floor.value < 0.3, name  # two sets of 100 have 0.12 on average
    assert list(sparring.evaluate(run, n=100, only="pitch_distance", progress=False).figures) == ["pitch_distance"]
    with pytest.raises(UsageError, match="pitch_distance needs items with a pitch, and digits holds images"):
        check_figure("pitch_distance", 100, False, open_dataset("digits"))


def check_players(page: str, generator: sparring.Generator, num: int) -> None:
    """So many players, and the first of them plays the generator's first sound or one of the same form."""
    found = re.findall(r'<audio controls [^>]*src="data:audio/wav;base64,([^"]+)"', page)
    assert len(found) == num
    samples, rate = read_sound(io.BytesIO(base64.b64decode(found[0])), "found")
    assert isinstance(generator.modality, Sounds)
    assert (rate, len(samples)) == (generator.modality.sample_rate_hz, generator.modality.num_samples)


def test_players_carry_their_sounds_and_labels() -> None:
    """A label is text, also where it looks like HTML; and templates and notebooks take the rest as it is."""
    waves, _ = sing_vowels(2)
    shown = Sounds.of_length(RATE, waves.shape[1], 0.5).show(waves, ["a", "<b>"])
    assert shown._repr_html_() == shown.__html__() == shown
    assert re.findall("<figcaption>(.*?)</figcaption>", shown) == ["a", "&lt;b&gt;"]
    for data, expected in zip(re.findall('audio/wav;base64,([^"]+)', shown), waves, strict=True):
        samples, _ = read_sound(io.BytesIO(base64.b64decode(data)), "found")
        assert np.abs(samples - expected).max() < 1e-4


def test_one_file_of_several_sounds_with_pauses(tmp_path: Path) -> None:
    waves, _ = sing_vowels(3)
    modality = Sounds.of_length(RATE, waves.shape[1], 0.5)
    modality.write(waves, tmp_path / "all.WAV")
    with (tmp_path / "all.WAV").open("rb") as file:
        joined, rate = read_sound(file, "all.WAV")
    assert (rate, len(joined)) == (RATE, 3 * waves.shape[1] + 2 * 2400)
    pause = np.zeros(2400, np.float32)
    expected = np.concatenate([waves[0], pause, waves[1], pause, waves[2]])
    assert np.abs(joined - expected).max() < 1e-4
    modality.write(waves[:1], tmp_path / "one.wav")
    with wave.open(str(tmp_path / "one.wav")) as file:
        assert file.getnframes() == waves.shape[1]


def test_wav_files_hold_the_loudest_samples(tmp_path: Path) -> None:
    write_wav(np.array([-1.5, -1.0, 0.0, 1.0, 1.5]), RATE, tmp_path / "a.wav")
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert np.frombuffer(file.readframes(5), "<i2").tolist() == [-32767, -32767, 0, 32767, 32767]


def test_longer_spectrograms_get_the_settings_that_their_network_needs() -> None:
    """Without normalisation, `resnet` diverges at the rates of `conv`."""
    network = Sounds.of_length(16_000, 32_000, 0.5).usual_network(None)
    assert network == "resnet"
    assert sparring.RECIPES["sounds"].by_network[network] == sparring.RECIPES["default"].by_network[network]


def test_the_usual_rates_have_bands() -> None:
    assert [Sounds.of_length(rate, rate // 2, 0.5).item_shape[1] for rate in sounds.RATES] == [64, 80, 96]
