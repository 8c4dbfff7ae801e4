"""The page of an export, without a browser: its random numbers and its engine run in node."""

import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from untrained import CONFIGS, make_generator, make_table

from sparring.errors import UsageError
from sparring.files import join_modules
from sparring.generator.config import Config
from sparring.generator.export.assemble import assemble
from sparring.generator.export.to_html import FOLDER, MODULES, build_html
from sparring.generator.generator import Generator
from sparring.modalities import open_dataset
from sparring.modalities.marginals import compare_shares
from sparring.modalities.points import Points
from sparring.seeding import Stream

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")

SEEDS = (0, 1, 7, 2**53 + 1, 2**64 - 1)
NUM_SAMPLES = 10  # two times four and two more
RANDOM = """
const found = {};
for (const seed of JSON.parse(input)) {
    const draws = [normals, uniforms, (...rest) => truncatedNormals(...rest, 0.7)];
    found[seed] = draws.map((draw) => Array.from(draw(BigInt(seed), PURPOSEn, 20000)));
}
console.log(JSON.stringify(found));
"""
ENGINE = """
const part = (id) => input.match(new RegExp(`id="${id}">(.*?)</script>`, "s"))[1];
const about = JSON.parse(part("about"));
openSampler(about, part("weights"), numbers(about.kernel, Uint8Array)).then(({ engine, latents, labels }) => {
    const given = [latents("7", COUNT, null), labels("7", COUNT, null)], found = [];
    const run = (start) => engine.run(...given.map((each) => each.slice(start, start + 4)));
    for (let start = 0; start < COUNT; start += 4) found.push(...run(start));
    console.log(JSON.stringify(found.map((sample) => Array.from(sample))));
});
"""
SOUND = """
const part = (id) => input.match(new RegExp(`id="${id}">(.*?)</script>`, "s"))[1], about = JSON.parse(part("about"));
const [, height, width] = about.itemShape, spectrograms = JSON.parse(input.slice(input.indexOf("</html>") + 7));
unpack(part("weights"), about.numHalves).then(({ singles }) => {
    const [mel, inverse] = [about.mel, about.melInverse].map((place) => singles.subarray(place));
    const voice = makeVoice(about.wave, height, width, mel, inverse);
    console.log(JSON.stringify(spectrograms.map((each) => Array.from(voice(each)))));
});
"""
TABLE = """
const part = (id) => input.match(new RegExp(`id="${id}">(.*?)</script>`, "s"))[1];
const { columns } = JSON.parse(part("about"));
const samples = JSON.parse(input.slice(input.indexOf("</html>") + 7));
console.log(JSON.stringify({
    cells: samples.map((sample, number) => toCells(columns, sample, number)),
    shares: columns.filter(({ bars }) => bars.length).map((column) => shares(column, samples)),
}));
"""


def run_node(script: str, given: str) -> object:
    """What a script prints after the page's modules, except the one that needs a browser."""
    text = f'const input = require("fs").readFileSync(0, "utf8");\n{join_modules(MODULES[:-1])}\n{script}'
    done = subprocess.run(["node", "-e", text], input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def run_network(generator: Generator) -> np.ndarray:
    """The network's outputs for the same samples as `ENGINE`, features last."""
    latents, labels = generator.latents(NUM_SAMPLES, 7), generator.random_labels(NUM_SAMPLES, 7)
    outputs = generator.module(latents, *([] if labels is None else [labels]))
    outputs = outputs.permute(0, *range(2, outputs.ndim), 1)
    found: np.ndarray = outputs.reshape(NUM_SAMPLES, -1).numpy()
    return found


@needs_node
def test_the_random_numbers_are_those_of_numpy() -> None:
    purpose = Stream(0, "sample").purpose_number
    found = run_node(RANDOM.replace("PURPOSE", str(purpose)), json.dumps([str(seed) for seed in SEEDS]))
    assert isinstance(found, dict)
    generator = Generator(CONFIGS["mlp"].build(), CONFIGS["mlp"])
    for seed in SEEDS:
        stream = Stream(seed, "sample")
        truncated = generator.latents(20_000 // 8, seed, truncation=0.7).flatten()
        for numbers, wanted in zip(
            found[str(seed)], (stream.normal(20_000), stream.uniform(20_000), truncated), strict=True
        ):
            assert np.array_equal(np.array(numbers, np.float32), wanted.numpy())


@needs_node
@pytest.mark.parametrize("name", CONFIGS)
def test_the_engine_is_the_network(name: str) -> None:
    """Exactly, up to the order of sums, for weights that float16 holds; and nearly for any others."""
    for rounded, tolerance in ((True, 1e-5), (False, 1 / 127.5)):
        generator = make_generator(CONFIGS[name], rounded=rounded)
        found = run_node(ENGINE.replace("COUNT", str(NUM_SAMPLES)), build_html(generator))
        assert np.abs(np.array(found) - run_network(generator)).max() < tolerance


@needs_node
def test_the_sounds_are_those_of_python() -> None:
    dataset = open_dataset("vowels")
    sounds, spectrograms = dataset.modality, dataset.heldout.batch(2, Stream(0, "test"))
    config = Config(sounds, "conv", 3, "gaussian", 2)
    given = build_html(make_generator(config)) + json.dumps(spectrograms.flatten(1).tolist())
    waves, wanted = np.array(run_node(SOUND, given)), sounds.decode(spectrograms)
    assert waves.shape == wanted.shape
    assert np.abs(waves - wanted).max() < 0.02 * np.abs(wanted).max()


@needs_node
def test_the_cells_of_a_table_are_those_of_python() -> None:
    """Of samples of the data, and of any numbers: the page decodes scores, and a generator has chosen among them."""
    modality, items = make_table()
    assert {len(column.sources) for column in modality.columns} == {0, 1, 2}
    anything = 2 * Stream(0, "samples").normal(300, *modality.item_shape)
    for samples in (modality.encode(items), anything):
        page = build_html(make_generator(Config(modality, "mlp", 6, "gaussian", 8)))
        found = run_node(TABLE, page + json.dumps(samples.tolist()))
        assert isinstance(found, dict)
        made = modality.decode(samples)
        wanted = pandas.read_csv(io.BytesIO(modality.to_bytes(made, ".csv")), dtype=str, keep_default_na=False)
        cells = pandas.DataFrame(found["cells"], columns=wanted.columns)
        for column in modality.columns:
            if column.name not in wanted:
                continue
            if column.kind != "number":
                assert (cells[column.name] == wanted[column.name]).all(), column.name
                continue
            numbers, expected = (pandas.to_numeric(each[column.name]) for each in (cells, wanted))
            is_near = np.isclose(numbers, expected, rtol=1e-9, equal_nan=True)
            assert is_near.mean() > 0.99, column.name  # a half may be rounded the other way
        drawn = [column for column in modality.columns if column.size]
        for column, shares in zip(drawn, found["shares"], strict=True):
            _, made_shares = compare_shares(column, made[column.name])
            assert np.abs(np.array(shares) - made_shares).max() < 0.01, column.name


@needs_node
def test_the_engine_makes_the_scores_of_a_table() -> None:
    modality, _ = make_table()
    generator = make_generator(Config(modality, "mlp", 6, "gaussian", 8), rounded=True)
    found = run_node(ENGINE.replace("COUNT", str(NUM_SAMPLES)), build_html(generator))
    scores = generator.module.network(generator.latents(NUM_SAMPLES, 7))
    assert np.abs(np.array(found) - scores.numpy()).max() < 1e-5
    assert np.array_equal(modality.decode(scores), generator.sample(NUM_SAMPLES, 7))


@needs_node
def test_the_kernel_is_webassembly() -> None:
    code = assemble((FOLDER / "kernel.wat").read_text())
    script = 'console.log(WebAssembly.validate(Buffer.from(input, "hex")))'
    assert run_node(script, code.hex()) is True


@pytest.mark.skipif(shutil.which("wat2wasm") is None, reason="wabt is not installed")
def test_the_assembler_agrees_with_the_usual_one(tmp_path: Path) -> None:
    subprocess.run(["wat2wasm", str(FOLDER / "kernel.wat"), "-o", str(tmp_path / "kernel.wasm")], check=True)
    assert assemble((FOLDER / "kernel.wat").read_text()) == (tmp_path / "kernel.wasm").read_bytes()


def test_an_unknown_instruction() -> None:
    with pytest.raises(ValueError, match=r"unknown instruction: i64\.add"):
        assemble('(module (func (export "f") (i64.add (i32.const 1) (i32.const 2))))')


def test_weights_without_a_meaning() -> None:
    generator = make_generator(CONFIGS["mlp"])
    next(generator.module.parameters()).data[0, 0] = torch.nan
    with pytest.raises(UsageError, match="not finite"):
        build_html(generator)


def test_a_network_of_ones_own() -> None:
    config = Config(Points((2,)), "mlp", 2, "gaussian", 1)
    with pytest.raises(UsageError, match=r"export it as \.onnx"):
        build_html(Generator(torch.nn.Linear(2, 2), config))
    module = config.build()
    assert isinstance(module, torch.nn.Sequential)
    module[1] = torch.nn.GELU()
    with pytest.raises(UsageError, match="no layers of the kind GELU"):
        build_html(Generator(module, config))


def test_a_page_asks_for_nothing_and_holds_no_markup_of_others() -> None:
    page = build_html(make_generator(CONFIGS["mlp"]), name="</script><b>", licence="<i>free</i>")
    assert "<b>" not in page
    assert "<i>" not in page
    assert page.count("</script>") == 3
    assert not re.search(r"https?://|\bfetch\(|\bimport\b|src=|href=", page)
