"""Measures how well `sparring train` learns to speak: the Free Spoken Digit Dataset, ten digits by six speakers.

    python benchmarks/spoken_digits.py spoken-digits.zip --minutes 3 10 30 --seeds 0 1 2 [--set KEY=VALUE ...]
    python benchmarks/spoken_digits.py spoken-digits.zip --runs runs/split-1      # measures runs that exist
    python benchmarks/spoken_digits.py spoken-digits.zip --show runs/split-1      # makes the sounds of docs/sounds.md

The archive is https://github.com/Jakobovski/free-spoken-digit-dataset (CC BY-SA 4.0). Takes 0 to 4 of each speaker and
digit are held out, as its authors do. Three judges hear 2,000 generated waves. Each is a small network on log-mel
spectrograms of its own, with other windows than the generator's, trained on the recordings of the training part; no
training of a generator uses them. Fréchet distances are to the training recordings, over a judge's 96 features, and of
as many items as there are held-out recordings, since they depend on that number. Only training time counts.

Three more networks of the judges' shapes learn from generated waves alone, one for each recording of the training part
and with its labels, and hear the held-out recordings (the classification accuracy score of Ravuri and Vinyals 2019,
arXiv:1905.10887). All six learn with noise of levels between 80 and 34 dB below full scale. With noise of one level
they would never hear silence before the test, and the figures would depend mostly on that.
"""

import argparse
import io
import json
import math
import statistics
import tempfile
import time
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

import sparring
from sparring.data.sounds import prepare, read_sound
from sparring.data.spectrograms import Spectrogram
from sparring.metrics import frechet_distance
from sparring.modalities.sounds import write_wav
from sparring.training.recipe import check_setting

LABELS = "{digit}_{speaker}_{take}:digit,speaker"
RATE_HZ, SAMPLES = 8000, 5280  # .66 s
NUM_SAMPLES, FIRST_TAKES = 2000, 5
BANDS = (40, 48, 56)  # of the judges
HOPS = (100, 72, 88)
EPOCHS, BATCH, RATE, WEIGHT_DECAY = 30, 64, 3e-3, 0.05
NOISE = (1e-4, 2e-2)  # the least and the largest level in what they learn from


@dataclass(frozen=True)
class Recordings:
    """Waves float32 [n, SAMPLES] with the numbers of their digits and speakers, int64 [n]."""

    waves: Tensor
    digits: Tensor
    speakers: Tensor


class Judge(nn.Module):
    """Convolutions over a log-mel spectrogram, their mean over all places, and a linear layer for each question."""

    def __init__(self, bands: int, hop: int, num_speakers: int) -> None:
        super().__init__()
        self.spectrogram = Spectrogram(RATE_HZ, hop, bands, -(-SAMPLES // hop), top_db=-15.0)
        blocks: list[nn.Module] = []
        for inputs, outputs, stride in ((1, 24, 2), (24, 48, 2), (48, 96, 1), (96, 96, 2)):
            blocks += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.features = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.digit, self.speaker = nn.Linear(96, 10), nn.Linear(96, num_speakers)

    def forward(self, waves: Tensor) -> Tensor:
        """96 features of waves."""
        padded = pad(waves, (0, self.spectrogram.num_samples - waves.shape[1]))
        features: Tensor = self.features(self.spectrogram.encode(padded)[:, None])
        return features

    @torch.inference_mode()
    def hear(self, waves: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The features, and the probabilities of digits and speakers, of waves."""
        features = torch.cat([self.eval()(batch) for batch in torch.split(waves, 250)])
        return features, self.digit(features).softmax(1), self.speaker(features).softmax(1)


def read(archive: Path, folder: Path) -> tuple[Recordings, Recordings, list[str]]:
    """Unpack the archive into train/ and test/, and read both; the last are the speakers' names."""
    parts: dict[str, list[tuple[Tensor, int, str]]] = {"train": [], "test": []}
    with zipfile.ZipFile(archive) as files:
        for name in sorted(files.namelist()):
            if name.endswith(".wav"):
                digit, speaker, take = Path(name).stem.split("_")
                part = "test" if int(take) < FIRST_TAKES else "train"
                path = folder / part / Path(name).name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data := files.read(name))
                wave = prepare(*read_sound(io.BytesIO(data), name), RATE_HZ, SAMPLES)
                parts[part].append((torch.from_numpy(wave), int(digit), speaker))
    names = sorted({speaker for _, _, speaker in parts["train"]})
    train, test = (
        Recordings(
            torch.stack([wave for wave, _, _ in items]),
            torch.tensor([digit for _, digit, _ in items]),
            torch.tensor([names.index(speaker) for _, _, speaker in items]),
        )
        for items in parts.values()
    )
    return train, test, names


def train_judge(items: Recordings, number: int, num_speakers: int, seed: int) -> Judge:
    """A judge of recordings that are shifted by up to 50 ms, made up to 6 dB louder or softer, and noisy."""
    torch.manual_seed(seed)
    judge = Judge(BANDS[number], HOPS[number], num_speakers).train()
    steps = EPOCHS * len(items.waves) // BATCH
    optimizer = torch.optim.AdamW(judge.parameters(), RATE, weight_decay=WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(steps):
        index = torch.randint(len(items.waves), (BATCH,))
        shift = int(torch.randint(-400, 401, ()))
        waves = pad(items.waves[index], (max(shift, 0), max(-shift, 0)))
        waves = waves[:, -shift:][:, :SAMPLES] if shift < 0 else waves[:, :SAMPLES]
        waves = waves * 10 ** (torch.empty(BATCH, 1).uniform_(-6, 6) / 20)
        level = torch.empty(BATCH, 1).uniform_(math.log(NOISE[0]), math.log(NOISE[1])).exp()
        features = judge(waves + level * torch.randn_like(waves))
        loss = cross_entropy(judge.digit(features), items.digits[index])
        loss = loss + cross_entropy(judge.speaker(features), items.speakers[index])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return judge


def open_judges(train: Recordings, num_speakers: int, folder: Path) -> list[Judge]:
    """The three judges, trained once (two minutes each)."""
    found = []
    for number in range(len(BANDS)):
        file = folder / f"judge-{number}.safetensors"
        if not file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            save_file(train_judge(train, number, num_speakers, seed=number).state_dict(), file)
        judge = Judge(BANDS[number], HOPS[number], num_speakers)
        judge.load_state_dict(load_file(file))
        found.append(judge)
    return found


def inception_score(probabilities: Tensor) -> float:
    """Exp of the mean of KL(p(y | x) ‖ p(y)) (Salimans et al. 2016, arXiv:1606.03498, section 4)."""
    p = probabilities.double().clamp(min=1e-12)
    return float((p * (p.log() - p.mean(0).log())).sum(1).mean().exp())


def mean(values: Iterable[float]) -> float:
    """The mean, rounded."""
    return round(statistics.fmean(values), 4)


def teach(items: Recordings, test: Recordings, num_speakers: int) -> float:
    """The share of the test's digits that networks hear which have learned from items alone."""
    shares = []
    for number in range(len(BANDS)):
        taught = train_judge(items, number, num_speakers, 9 + number)
        shares.append((taught.hear(test.waves)[1].argmax(1) == test.digits).double().mean().item())
    return mean(shares)


def measure(run: Path, judges: list[Judge], train: Recordings, test: Recordings, names: list[str]) -> dict[str, Any]:
    """All figures of a run; each is a mean over the judges."""
    generator = sparring.load(run)
    chooser = torch.Generator().manual_seed(7)
    chosen = torch.randint(len(train.digits), (NUM_SAMPLES,), generator=chooser)
    digits, speakers = train.digits[chosen], train.speakers[chosen]

    def speak(digits: Tensor, speakers: Tensor, seed: int) -> Tensor:
        pairs = zip(digits.tolist(), speakers.tolist(), strict=True)
        labels = [{"digit": str(digit), "speaker": names[speaker]} for digit, speaker in pairs]
        return torch.from_numpy(generator.sample(len(digits), seed=seed, labels=labels))

    started = time.perf_counter()
    both = speak(digits, speakers, 1)
    seconds = (time.perf_counter() - started) * 1000 / NUM_SAMPLES
    alone = torch.from_numpy(generator.sample(NUM_SAMPLES, seed=2, labels=[{"digit": str(d)} for d in digits.tolist()]))
    sounds = generator.modality
    trip = torch.from_numpy(sounds.decode(sounds.encode(test.waves.numpy())))
    rows: dict[str, list[float]] = {}
    n = len(test.waves)
    for judge in judges:
        real, held = judge.hear(train.waves)[0], judge.hear(test.waves)
        features, digit, speaker = judge.hear(both)
        hears_digit, hears_speaker = digit.argmax(1) == digits, speaker.argmax(1) == speakers
        parts = torch.split(features[: len(features) // n * n], n)
        distance = mean(frechet_distance(real, part, num_resamples=2).value for part in parts)
        floor = frechet_distance(real, judge.hear(trip)[0], num_resamples=2).value
        shares = judge.hear(alone)[2].argmax(1).bincount(minlength=len(names)) / NUM_SAMPLES
        true = train.speakers.bincount(minlength=len(names)) / len(train.speakers)
        for name, value in {
            "digit as asked": hears_digit.double().mean().item(),
            "digit as asked, no speaker asked for": (judge.hear(alone)[1].argmax(1) == digits).double().mean().item(),
            "digit and speaker as asked": (hears_digit & hears_speaker).double().mean().item(),
            "inception score / held-out": inception_score(digit) / inception_score(held[1]),
            "Fréchet distance": distance,
            "Fréchet distance / held-out through the round trip": distance / floor,
            "largest miss of a speaker's share": (shares - true).abs().max().item(),
            "held-out: digit": (held[1].argmax(1) == test.digits).double().mean().item(),
            "held-out: speaker": (held[2].argmax(1) == test.speakers).double().mean().item(),
            "held-out: Fréchet distance": floor,
        }.items():
            rows.setdefault(name, []).append(value)
    alarms = sparring.Run(run).summary().health
    lesson = Recordings(speak(train.digits, train.speakers, 3), train.digits, train.speakers)
    return {name: mean(values) for name, values in rows.items()} | {
        "trained on generated, tested on real": teach(lesson, test, len(names)),
        "seconds for 1,000 sounds": round(seconds, 1),
        "alarms": [str(alarm) for alarm in alarms],
    }


def show(run: Path, test: Recordings, names: list[str]) -> None:
    """Write the ten digits, each by the next speaker, as sounds and beside held-out ones as a picture."""
    generator, docs = sparring.load(run), Path(__file__).parents[1] / "docs"
    asked = [(digit, digit % len(names)) for digit in range(10)]
    real = [test.waves[(test.digits == digit) & (test.speakers == speaker)][0].numpy() for digit, speaker in asked]
    made = generator.sample(10, labels=[{"digit": str(digit), "speaker": names[speaker]} for digit, speaker in asked])
    picture = generator.modality.picture(np.concatenate([np.stack(real), made[:, :SAMPLES]]), columns=10)
    picture.save(docs / "images" / "spoken-digits.png", optimize=True)
    for (digit, speaker), wave in zip(asked, made, strict=True):
        write_wav(wave, RATE_HZ, docs / "sounds" / f"{digit}-{names[speaker]}.wav")


def main() -> None:
    """Train and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--minutes", type=float, nargs="*", default=[3])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--runs", type=Path, nargs="*", help="measure these runs instead")
    parser.add_argument("--show", type=Path, metavar="RUN", help="make the sounds and the picture of docs/sounds.md")
    parser.add_argument("--judges", type=Path, default=Path("runs/spoken-digits-judges"))
    arguments = parser.parse_args()
    settings = {
        key: check_setting(key, value, strict=False)
        for key, _, value in (each.partition("=") for each in arguments.set)
    }
    with tempfile.TemporaryDirectory() as folder:
        train, test, names = read(arguments.archive, Path(folder))
        if arguments.show:
            show(arguments.show, test, names)
            return
        judges = open_judges(train, len(names), arguments.judges)
        runs: Iterable[tuple[str, Path]] = [(str(run), run) for run in arguments.runs or ()]
        if arguments.runs is None:
            runs = (
                (f"{minutes:g} minutes, seed {seed}", sparring.train(
                    folder, labels=LABELS, minutes=minutes, seed=seed, out=Path("runs") / f"spoken-{minutes:g}-{seed}",
                    **settings,
                ).path)
                for minutes in arguments.minutes
                for seed in arguments.seeds
            )  # fmt: skip
        for name, run in runs:
            figures = measure(run, judges, train, test, names)
            steps = sparring.Run(run).summary().steps
            print(json.dumps({"run": name, "steps": steps} | figures, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
