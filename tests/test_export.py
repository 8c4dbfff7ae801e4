"""Exports hold what `generate` gives, tell what they are, and name no file of this machine."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open

import sparring
from sparring import NETWORKS, UsageError
from sparring.cli.main import main
from sparring.data import spectrograms
from sparring.data.labels import Attribute
from sparring.data.vowels import sing_vowels
from sparring.errors import how_to_install
from sparring.generator import export
from sparring.generator.config import Config
from sparring.generator.generator import Generator
from sparring.generator.plain import Plain
from sparring.modalities.images import Images
from sparring.modalities.modality import Modality
from sparring.modalities.points import Points
from sparring.modalities.sounds import Sounds
from sparring.modalities.words import Words
from sparring.networks import Network

RNG = np.random.default_rng(0)
CASES = [
    pytest.param(network, number, id=f"{network.name}-{number}")
    for network in NETWORKS.values()
    for number in ([0, 3] if network.takes_labels and not network.translates else [0])
]
TOLERANCE = 1e-5
"""The largest error that an export may have, in units of a network's output."""


def make(network: Network, num_classes: int = 0, modality: Modality | None = None, **settings: Any) -> Generator:
    """A generator whose every weight is random: classes and normalisations differ as after a training."""
    shape = network.fit({"fourier": (2,), "linear": (6,)}.get(network.name, (1, 28, 28)))
    modality = modality or (Images(shape) if len(shape) == 3 else Points(shape, scale=3.0))
    settings |= {"source": modality} if network.translates else {}
    config = Config(modality, network.name, 10, "gaussian", 4, class_shares=(1 / 3,) * num_classes, **settings)
    module = config.build().eval()
    for _ in range(3):
        size = torch.randn(20, *config.input_shape)
        labels = [torch.arange(20) % num_classes] if num_classes else []
        module.train()(size, *labels)
    with torch.no_grad():
        for name, value in module.named_parameters():
            if "scale" in name or "shift" in name:
                value.normal_(std=0.3)
    return Generator(module, config)


def inputs(generator: Generator, n: int, seed: int = 0) -> list[Any]:
    """What its module takes."""
    config = generator.config
    if config.source is not None:
        samples = torch.rand(n, *config.input_shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
        return [torch.from_numpy(config.source.decode(samples))]
    labels = generator.random_labels(n, seed)
    return [generator.latents(n, seed), *([] if labels is None else [labels])]


def expected(generator: Generator, given: list[Any]) -> np.ndarray:
    """By the library."""
    if generator.config.source is not None:
        return generator.translate(given[0].numpy())
    return generator.generate(*given)


def run(path: Path, given: list[Any]) -> np.ndarray:
    """By onnxruntime alone."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {each.name: value.numpy() for each, value in zip(session.get_inputs(), given, strict=True)}
    (items,) = session.run(None, feed)
    return items


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max())


@contextmanager
def without_decoding(generator: Generator) -> Iterator[None]:
    """Inside it, graphs give samples as the network makes them, before they are rounded."""
    examples = {n: generator.to_torch().example(n) for n in (2, 3)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plain, "example", lambda self, n: examples[n])
        patch.setattr(type(generator.modality), "decode_tensor", lambda self, samples: samples)
        yield


@pytest.mark.parametrize(("network", "num_classes"), CASES)
def test_onnxruntime_makes_what_the_library_makes(network: Network, num_classes: int, tmp_path: Path) -> None:
    """Any number at once. Before rounding, values are within 1e-5; bytes may differ where a half is that near."""
    generator, path = make(network, num_classes), tmp_path / "a.onnx"
    assert "largest difference" in generator.export(path)
    made = generator.modality
    with without_decoding(generator):
        generator.export(tmp_path / "floats.onnx")
    for n in (1, 3, 100):
        given = inputs(generator, n)
        items, wanted = run(path, given), expected(generator, given)
        assert (items.shape, items.dtype) == (wanted.shape, wanted.dtype)
        with torch.inference_mode():
            network_of = generator.to_torch().network
            first = given[0] if not network.translates else generator.config.source.encode_tensor(given[0]) / made.scale
            exact = network_of(first, *given[1:]) * made.scale
        floats = run(tmp_path / "floats.onnx", given)
        assert distance(floats, exact.numpy()) <= TOLERANCE * made.scale
        if items.dtype == np.uint8:
            different = items != wanted
            halves = (made.decode_tensor(exact - TOLERANCE) != made.decode_tensor(exact + TOLERANCE)).numpy()
            assert not (different & ~halves).any()
            assert distance(items, wanted) <= 1
        else:
            assert distance(items, wanted) <= TOLERANCE * made.scale


@pytest.mark.parametrize(("network", "num_classes"), CASES)
def test_half_the_size_within_one_grey_level(network: Network, num_classes: int, tmp_path: Path) -> None:
    generator = make(network, num_classes)
    with without_decoding(generator):
        for precision in ("float32", "float16"):
            generator.export(tmp_path / f"{precision}.onnx", precision=precision)
    given = inputs(generator, 100)
    whole, half = (run(tmp_path / f"{precision}.onnx", given) for precision in ("float32", "float16"))
    assert 0 < distance(whole, half) < 2 / 255 * generator.modality.scale
    weights = 4 * sum(value.numel() for value in generator.module.state_dict().values())
    saved = (tmp_path / "float32.onnx").stat().st_size - (tmp_path / "float16.onnx").stat().st_size
    assert saved > weights / 2 - 12_000  # each weight's node takes some bytes


def test_a_label_that_there_is_not_fails(tmp_path: Path) -> None:
    for name in ("conv", "mlp"):
        generator, path = make(NETWORKS[name], 3), tmp_path / "a.onnx"
        generator.export(path)
        for label in (-1, -3, 3, 10, -(2**63), 2**63 - 1):
            given = [generator.latents(2), torch.tensor([0, label])]
            with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="out of data bounds"):
                run(path, given)
            with pytest.raises(IndexError):
                generator.to_torch()(*given)


def test_attributes_are_vectors(tmp_path: Path) -> None:
    attributes = (Attribute("hair", ("black", "red")), Attribute("age", mean=40.0, deviation=10.0, low=18.0, high=80.0))
    config = Config(
        Images((3, 8, 16)), "conv", 10, "gaussian", 4, attributes=attributes, rows=((0.0, 20.0), (1.0, 50.0))
    )
    generator = Generator(config.build(), config)
    text = generator.export(tmp_path / "a.onnx")
    assert text.count("labels float32 [n, 3] to images uint8 [n, 8, 16, 3]") == 1
    given = inputs(generator, 20)
    assert distance(run(tmp_path / "a.onnx", given), expected(generator, given)) <= 1


def test_both_ways(tmp_path: Path) -> None:
    generator = make(NETWORKS["redraw"], both_ways=True)
    generator.export(tmp_path / "there.onnx")
    generator.export(tmp_path / "back.onnx", back=True)
    (given,) = inputs(generator, 3)
    there, back = (run(tmp_path / f"{name}.onnx", [given]) for name in ("there", "back"))
    assert distance(there, generator.translate(given.numpy())) <= 1
    assert distance(back, generator.translate(given.numpy(), back=True)) <= 1
    assert distance(there, back) > 1
    for call in (generator.to_torch, lambda back: generator.export(tmp_path / "a.onnx", back=back)):
        assert call(back=True)
    with pytest.raises(UsageError, match="translates nothing"):
        make(NETWORKS["mlp"]).to_torch(back=True)


def test_words_are_vectors(tmp_path: Path) -> None:
    words = Words.from_vectors([f"w{number}" for number in range(60)], torch.randn(60, 6))
    generator = make(NETWORKS["linear"], modality=words)
    generator.export(tmp_path / "a.onnx")
    assert distance(run(tmp_path / "a.onnx", inputs(generator, 9)), expected(generator, inputs(generator, 9))) <= 1e-5


@pytest.fixture
def sounds(monkeypatch: pytest.MonkeyPatch) -> Sounds:
    """Short ones, with few steps for their phases: each is a part of the graph."""
    monkeypatch.setattr(spectrograms, "NUM_PHASE_STEPS", 2)
    return Sounds.of_length(8000, 1600, 0.3)


def test_sounds_come_as_waves(sounds: Sounds, tmp_path: Path) -> None:
    generator = make(NETWORKS["conv"], 3, sounds)
    generator.export(tmp_path / "a.onnx")
    given = inputs(generator, 5)
    waves, wanted = run(tmp_path / "a.onnx", given), expected(generator, given)
    assert waves.shape == (5, 1600)
    assert np.abs(wanted).max() > 0.01
    assert distance(waves, wanted) < 1e-3 * np.abs(wanted).max()
    assert read_metadata(tmp_path / "a.onnx")["sample_rate_hz"] == "8000"


def test_sounds_in_and_out_of_a_graph() -> None:
    """With all steps, rounding grows: most waves differ by a percent, and all are as near to what they should be."""
    waves = torch.from_numpy(sing_vowels(64)[0])
    sounds = Sounds.of_length(8000, waves.shape[1], 0.3)
    samples = sounds.encode(waves.numpy())
    torch.testing.assert_close(sounds.encode_tensor(waves), samples, atol=1e-3, rtol=0)
    torch.testing.assert_close(sounds.decode_tensor(torch.full_like(samples, -1)), torch.zeros_like(waves))
    usual, plain = torch.from_numpy(sounds.decode(samples)), sounds.decode_tensor(samples)
    assert ((usual - plain).norm(dim=1) / usual.norm(dim=1)).median() < 0.03
    errors = [(sounds.encode(each.numpy()) - samples).abs().mean((1, 2, 3)) for each in (usual, plain)]
    assert torch.allclose(errors[1], errors[0], rtol=0.05)
    assert errors[1].mean().item() == pytest.approx(errors[0].mean().item(), rel=0.02)


def read_metadata(path: Path) -> dict[str, str]:
    return {each.key: each.value for each in onnx.load(path).metadata_props}


def test_it_tells_what_it_is(tmp_path: Path) -> None:
    generator = make(NETWORKS["mlp"], 3, class_names=("cat", "dog", "bird"))
    generator.export(tmp_path / "a.onnx", licence="CC0")
    generator.export(tmp_path / "a.safetensors", licence="CC0")
    model = onnx.load(tmp_path / "a.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert (model.producer_name, model.producer_version) == ("sparring", sparring.__version__)
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        header = json.loads(file.metadata()["sparring"])
    told = read_metadata(tmp_path / "a.onnx")
    for each in (header, {name: json.loads(told[name]) for name in ("config", "class_names")} | {**told}):
        assert each["version"] == f"sparring {sparring.__version__}"
        assert each["licence"] == "CC0"
    assert json.loads(told["class_names"]) == header["class_names"] == ["cat", "dog", "bird"]
    assert json.loads(told["config"]) == header["config"] == json.loads(json.dumps(asdict(generator.config)))


@pytest.mark.parametrize("ending", export.EXPORTS)
def test_the_same_bytes_and_no_place_of_this_machine(ending: str, tmp_path: Path) -> None:
    make(NETWORKS["conv"], 3).save(tmp_path / "generator")
    code = "import sys, sparring; sparring.load(sys.argv[1]).export(sys.argv[2])"
    files = [tmp_path / f"{number}{ending}" for number in range(3)]
    for file in files[:2]:
        subprocess.run([sys.executable, "-W", "error", "-c", code, tmp_path / "generator", file], check=True)
    sparring.load(tmp_path).export(files[2])
    data = [file.read_bytes() for file in files]
    assert data[0] == data[1] == data[2]
    places = {*map(str, (Path.cwd(), Path.home(), *Path(torch.__file__).parents[:2], Path(sparring.__file__).parent))}
    places |= {sys.prefix, tempfile.gettempdir(), "site-packages", ".py"}
    assert [place for place in places if place.encode() in data[0]] == []


def test_a_file_of_weights_is_loaded_again(tmp_path: Path) -> None:
    generator = make(NETWORKS["conv"], 3)
    for precision, most in (("float32", 0), ("float16", 1)):
        path = tmp_path / f"{precision}.safetensors"
        generator.export(path, precision=precision)
        assert sparring.load(path).config == generator.config
        assert distance(sparring.load(path).sample(20), generator.sample(20)) <= most
    sizes = [(tmp_path / f"{precision}.safetensors").stat().st_size for precision in ("float32", "float16")]
    assert sizes[1] < 0.6 * sizes[0]
    (tmp_path / "a.safetensors").write_bytes(b"no weights")
    generator.save(tmp_path / "folder")
    for path in (tmp_path / "a.safetensors", tmp_path / "folder/model.safetensors"):
        with pytest.raises(UsageError, match=r"no generator that|not a valid Config"):
            sparring.load(path)


def test_pytorch_exports_the_plain_module(tmp_path: Path) -> None:
    for name, number in (("conv", 3), ("fourier", 0), ("translate", 0)):
        generator = make(NETWORKS[name], number)
        plain, given = generator.to_torch(), inputs(generator, 4)
        program = torch.export.export(plain, tuple(given), dynamic_shapes=({0: torch.export.Dim("n")},) * len(given))
        torch.export.save(program, tmp_path / "a.pt2")
        again = inputs(generator, 7)
        items = torch.export.load(tmp_path / "a.pt2").module()(*again).numpy()
        assert distance(items, expected(generator, again)) <= (1 if items.dtype == np.uint8 else 1e-5)


def call(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(["export", *map(str, arguments)])
    return int(end.value.code or 0), *capsys.readouterr()


def test_the_command_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sparring.train("ring", steps=2, width=4, out=tmp_path / "run", progress=False)
    code, printed, errors = call(tmp_path / "run", "--out", tmp_path / "a.onnx", capsys=capsys)
    assert (code, errors) == (0, "")
    assert "latents float32 [n, 10] to points float32 [n, 2]; largest difference" in printed
    assert "ring, the mode-coverage benchmark" in read_metadata(tmp_path / "a.onnx")["licence"]
    checkpoint = next((tmp_path / "run/checkpoints").iterdir())
    assert call(checkpoint, "--out", tmp_path / "a.safetensors", "--licence", "MIT", capsys=capsys)[0] == 0
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert json.loads(file.metadata()["sparring"])["licence"] == "MIT"


def spoil(value: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        generator = sparring.load(folder)
        next(generator.module.parameters()).view(-1)[0] = value
        generator.save(folder)

    return change


@pytest.mark.parametrize(
    ("prepare", "arguments", "message"),
    [
        (lambda folder: None, ["--out", "a.pickle"], r"cannot export 'a.pickle': .* \.safetensors or \.onnx"),
        (lambda folder: None, ["--out", "a"], "cannot export 'a'"),
        (lambda folder: None, ["--out", "a.onnx", "--precision", "int8"], "int8': give float32 or float16"),
        (lambda folder: None, ["--out", "a.onnx", "--back"], "translates nothing"),
        (lambda folder: None, ["--out", "missing/a.onnx"], "cannot write missing/a.onnx: No such file"),
        (lambda folder: (folder / "config.json").unlink(), ["--out", "a.onnx"], "there is no generator in"),
        (spoil(float("nan")), ["--out", "a.onnx"], "not finite: export a checkpoint from before"),
        (spoil(float("inf")), ["--out", "a.safetensors"], "are not finite"),
        (spoil(1e6), ["--out", "a.onnx", "--precision", "float16"], "exceed 65504"),
    ],
)  # fmt: skip
def test_errors_say_what_to_do(
    prepare: Callable[[Path], object], arguments: list[str], message: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    make(NETWORKS["mlp"]).save(tmp_path / "generator")
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path / "generator")
    code, printed, errors = call("generator", *arguments, capsys=capsys)
    assert (code, printed) == (2, "")
    assert errors.startswith("sparring: ")
    assert re.search(message, errors), errors
    assert [path.name for path in tmp_path.iterdir()] == ["generator"]


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_an_extra_that_is_missing(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UsageError, match=f"{missing}.*: {how_to_install('export')}"):
        make(NETWORKS["mlp"]).export(tmp_path / "a.onnx")


@pytest.mark.parametrize("ending", export.EXPORTS)
def test_a_full_disk_leaves_the_older_file(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"a{ending}"
    path.write_text("older")

    def fail(self: Path, data: bytes) -> None:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(UsageError, match="No space left on device: give another --out"):
        make(NETWORKS["mlp"]).export(path)
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_network_of_ones_own(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(10, 2), torch.nn.Tanh())
    config = replace(make(NETWORKS["mlp"], modality=Points((2,))).config, network="custom: Sequential")
    Generator(module, config).export(tmp_path / "a.onnx")

    class Untraceable(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(10, 2)

        def forward(self, latents: torch.Tensor) -> torch.Tensor:
            return self.linear(latents) if latents.sum() > 0 else latents[:, :2]

    class Fixed(Untraceable):
        def forward(self, latents: torch.Tensor) -> torch.Tensor:
            return torch.stack([self.linear(latents[number]) for number in range(len(latents))])

    for own, message in (
        (Untraceable(), "PyTorch cannot make a graph"),
        (Fixed(), "traced with 2 samples"),
    ):
        with pytest.raises(UsageError, match=message):
            Generator(own, replace(config, network="custom: one of mine")).export(tmp_path / "b.onnx")
    assert not (tmp_path / "b.onnx").exists()


def test_the_library_alone_imports_none_of_it(tmp_path: Path) -> None:
    code = (
        "import sys, sparring; sparring.train('ring', steps=1, width=4, progress=False, out=sys.argv[1]);"
        "heavy = 'onnx', 'onnxscript', 'onnxruntime', 'sparring.generator.export';"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code, tmp_path / "run"], text=True).strip() == "[]"


def test_the_module_is_that_of_generate() -> None:
    generator = make(NETWORKS["conv"], 3)
    given = inputs(generator, 100)
    assert isinstance(generator.to_torch(), Plain)
    assert np.array_equal(generator.to_torch()(*given).numpy(), generator.generate(*given))
