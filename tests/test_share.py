"""Sharing: a folder with a model card, the hub and back, all that goes wrong on the way, and what a load may fetch."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hub_stub import PART, Hub, serve_hub
from PIL import Image
from untrained import CONFIGS, make_generator
from warm import MAIN, Process

import sparring
from sparring import UsageError
from sparring.cli.main import main
from sparring.files import read_json, write_json
from sparring.generator import hub as hub_of
from sparring.training.run_folder import Run
from sparring.web.share import FILES, write_shared


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A measured run on data in a folder of the user's, whose name no shared file may hold."""
    folder = tmp_path_factory.mktemp("secret")
    images = np.random.default_rng(0).integers(0, 256, (700, 8, 8), np.uint8)
    np.savez(folder / "my_data.npz", images=images, labels=np.arange(700) % 3)
    run = sparring.train(
        folder / "my_data.npz", steps=40, evaluation_steps=10, width=16, network="mlp", augment=0, out=folder / "run"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparring.evaluation.figures.DIVERGENCE_STEPS", 20)
        sparring.evaluate(run, n=200, progress=False)
    return run


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve_hub() as found:
        yield found


class Caller:
    """Runs commands as somebody with a home of their own who is logged in on the stub."""

    def __init__(self, hub: Hub, home: Path) -> None:
        self.home = home
        self.environment = os.environ | {"COLUMNS": "200"} | hub.environment(home / "hub")

    def __call__(self, *arguments: object, code: str = MAIN, **others: str) -> tuple[int | None, str, str]:
        process = Process(*map(str, arguments), cwd=self.home, env=self.environment | others, code=code)
        printed, errors = process.communicate(120)
        return process.returncode, printed, errors


@pytest.fixture
def call(hub: Hub, tmp_path: Path) -> Caller:
    return Caller(hub, tmp_path)


def front_matter(text: str) -> dict[str, Any]:
    import yaml

    head: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return head


# The folder


def test_a_folder_tells_all_of_a_run_and_nothing_of_the_machine(run: Run, tmp_path: Path) -> None:
    write_shared(run.path, tmp_path / "mine", licence="CC-BY-4.0")
    assert sorted(each.name for each in (tmp_path / "mine").iterdir()) == sorted(FILES)
    for file in (tmp_path / "mine").iterdir():
        assert str(run.path.parent).encode() not in file.read_bytes()
        assert b"secret" not in file.read_bytes()
    shared, before = sparring.load(tmp_path / "mine"), sparring.load(run)
    np.testing.assert_array_equal(shared.sample(5), before.sample(5))
    text = (tmp_path / "mine/README.md").read_text()
    for words in (
        "images, 8×8 px, grey",
        "trained on my\\_data.npz",
        "is CC-BY-4.0",
        "network mlp (width 16)",
        "40 steps",
    ):
        assert words in text
    settings = json.loads(text.split("```json\n")[1].split("```")[0])
    assert settings == {**asdict(run.recipe()), "data": "my_data.npz", "size": settings["size"]}
    with Image.open(tmp_path / "mine/samples.png") as drawn:
        expected = before.modality.picture(before.sample(before.modality.num_shown))
        np.testing.assert_array_equal(np.asarray(drawn), np.asarray(expected))


def test_the_hub_reads_the_figures_with_intervals_and_floor(run: Run, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    write_shared(run.path, tmp_path / "mine", licence="a licence of my own")
    card = ModelCard.load(tmp_path / "mine/README.md")
    assert (card.data.library_name, card.data.pipeline_tag) == ("sparring", "unconditional-image-generation")
    assert (card.data.license, card.data.license_name) == ("other", "a licence of my own")
    measured = read_json(run.path / "card.json", sparring.Card)
    rows = {each.metric_type: each for each in card.data.eval_results or []}
    assert rows.keys() == measured.figures.keys()
    for name, row in measured.figures.items():
        told = rows[name].metric_args or {}
        assert rows[name].dataset_name == "my_data.npz"
        expected = {"confidence": 0.95, "low": row.generated.low, "high": row.generated.high}
        if row.floor is not None:
            expected |= {"floor": row.floor.value, "floor_low": row.floor.low, "floor_high": row.floor.high}
            expected["num_heldout"] = 70
        assert told == pytest.approx(expected, rel=1e-5)
        assert rows[name].metric_value == pytest.approx(row.generated.value, rel=1e-5)
    table = re.findall(r"^\| (\w[\w ]*) \| (-?[\d.]+ ±)", (tmp_path / "mine/README.md").read_text(), re.MULTILINE)
    assert [name.replace(" ", "_") for name, _ in table] == [*measured.figures]


def test_alarms_and_hostile_names_are_told_as_text(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    sick, alarm = (
        Run(tmp_path / "run"),
        sparring.Alarm("dead_end", "problem", 20, "the | is `sick`", {"recall": 0.0}, ""),
    )
    sick.write_summary(replace(sick.summary(), health=[alarm]))
    config = json.loads((sick.generator / "config.json").read_text())
    names = ["<script>", "a|b", 'c"\n---\nlicense: mit']
    write_json(sick.generator / "config.json", config | {"class_names": names})
    write_shared(sick.path, tmp_path / "mine")
    text = (tmp_path / "mine/README.md").read_text()
    assert "**dead end**, problem since step 20: the \\| is \\`sick\\`. Evidence: recall 0" in text
    assert "\\<script\\>, a\\|b" in text
    assert front_matter(text)["license"] == "unknown"


def test_every_kind_of_generator_has_a_card(tmp_path: Path) -> None:
    for number, (name, config) in enumerate(CONFIGS.items()):
        make_generator(config).save(tmp_path / f"given-{number}")
        write_shared(tmp_path / f"given-{number}", tmp_path / f"shared-{number}")
        text = (tmp_path / f"shared-{number}/README.md").read_text()
        assert "It came without its run." in text, name
        assert f'sparring.load("shared-{number}")' in text
        assert front_matter(text)["tags"] == ["gan", config.modality.name]
        assert (tmp_path / f"shared-{number}/index.html").exists()


def test_a_translator_has_no_page_and_shows_what_it_made(tmp_path: Path) -> None:
    items = np.random.default_rng(0).integers(0, 256, (120, 8, 8), np.uint8)
    for name in ("a", "b"):
        np.savez(tmp_path / name, images=items)
    run = sparring.train(
        tmp_path / "a.npz", source=tmp_path / "b.npz", steps=2, width=4, num_clusters=1, out=tmp_path / "run"
    )
    write_shared(run.path, tmp_path / "mine")
    text = (tmp_path / "mine/README.md").read_text()
    assert not (tmp_path / "mine/index.html").exists()
    assert "index.html" not in text
    assert "generator.translate(items)" in text
    assert "sparring translate mine FOLDER --out grid.png" in text
    assert (tmp_path / "mine/samples.png").read_bytes() == run.sample_paths()[2].read_bytes()
    assert front_matter(text)["pipeline_tag"] == "image-to-image"


def test_nothing_of_somebody_else_is_replaced(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write_shared(run.path, folder)
    first = {each.name: each.read_bytes() for each in folder.iterdir()}
    (folder / "card.json").write_text("older")
    write_shared(run.best, folder)  # it has no card of its own
    assert "card.json" not in [each.name for each in folder.iterdir()]
    (folder / ".git").mkdir()
    for wrong, words in ((folder, r"holds '\.git'"), (run.path, "holds"), (tmp_path / "a/b", "was not made by")):
        if not wrong.exists():
            wrong.mkdir(parents=True)
            (wrong / "README.md").write_text("my own notes")
        with pytest.raises(UsageError, match=words):
            write_shared(run.path, wrong)
    assert (tmp_path / "a/b/README.md").read_text() == "my own notes"
    assert first["README.md"] != (folder / "README.md").read_bytes()


def test_a_full_disk_leaves_what_was_there(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shared(run.path, tmp_path / "mine")
    before = {each.name: each.read_bytes() for each in (tmp_path / "mine").iterdir()}

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    for folder in (tmp_path / "mine", tmp_path / "new"):
        with pytest.raises(UsageError, match="No space left on device"):
            write_shared(run.path, folder)
    assert {each.name: each.read_bytes() for each in (tmp_path / "mine").iterdir()} == before
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]


# The hub


def test_there_and_back(run: Run, hub: Hub, call: Caller) -> None:
    code, printed, errors = call("share", run.path, "me/mine")
    assert (code, errors) == (0, "")
    (commit, names), *_ = hub.repositories["me/mine"]
    assert sorted(names) == sorted(FILES)
    assert f"shared as hf://me/mine@{commit}" in printed
    assert f"sparring.load('hf://me/mine@{commit}')" in printed
    assert 'sparring.load("hf://me/mine")' in hub.read("me/mine", "README.md").decode()
    assert len(hub.read("me/mine", "model.safetensors")) > PART  # in several parts
    code, printed, errors = call("sample", f"hf://me/mine@{commit}", "-n", "9", "--out", "there.npz")
    assert (code, errors) == (0, "")
    np.testing.assert_array_equal(np.load(call.home / "there.npz")["images"], sparring.load(run).sample(9))
    fetched = {each.rpartition("/")[2] for each in hub.asked if "/resolve/" in each}
    assert fetched == {"config.json", "model.safetensors"}  # and nothing else
    assert hub.leaked == []
    asked = len(hub.asked)
    assert call("export", f"hf://me/mine@{commit}", "--out", "there.html")[0] == 0
    assert len(hub.asked) == asked  # a commit that is there is not asked for again


def test_a_second_commit_and_a_hub_that_cannot_be_reached(run: Run, hub: Hub, call: Caller) -> None:
    assert call("share", run.path, "me/mine")[0] == 0
    hub.put("me/mine", {"notes.md": b"my own"})
    first = hub.repositories["me/mine"][-1][0]
    load = "import sys, sparring; print(sparring.load(sys.argv[1]).sample(1).tobytes().hex())"
    code, made, errors = call("hf://me/mine", code=load)
    assert (code, errors) == (0, "")
    for gone in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        code, again, errors = call("hf://me/mine", code=load, **gone)
        assert (code, again) == (0, made)
        assert f"the hub cannot be reached: me/mine is the one downloaded before, @{first}" in errors
        code, _, errors = call("sample", "hf://me/other", "--out", "a.png", **gone)
        assert code == 2
        assert "the hub cannot be reached" in errors
    assert call("share", run.best, "me/mine")[0] == 0  # best/ has no card
    assert "card.json" not in hub.repositories["me/mine"][-1][1]
    assert hub.read("me/mine", "notes.md") == b"my own"
    assert call("hf://me/mine@main", code=load)[0] == 0
    assert call(f"hf://me/mine@{first}", code=load)[1] == made


def test_what_was_interrupted_goes_on(run: Run, hub: Hub, call: Caller) -> None:
    hub.failing["PUT /storage/.*/2"] = 1  # a part of an upload
    hub.failing["POST .*/commit/"] = 1
    code, _, errors = call("share", run.path, "me/mine")
    assert code == 2
    assert "the hub refused me/mine: out of order" in errors
    assert hub.repositories["me/mine"] == []
    uploads = [each for each in hub.asked if each.startswith("PUT")]
    assert len({*uploads}) == len(uploads) - 1  # the one that failed is sent again
    assert call("share", run.path, "me/mine")[0] == 0
    assert [each for each in hub.asked if each.startswith("PUT")] == uploads  # and nothing is sent twice
    generator = make_generator(replace(CONFIGS["mlp"], width=1700))  # more than the client takes at once
    generator.save(call.home / "large")
    hub.put("me/large", {name: (call.home / "large" / name).read_bytes() for name in hub_of.FILES})
    hub.cut = 11_000_000
    code, _, errors = call("sample", "hf://me/large", "-n", "4", "--out", "a.npz")
    assert code == 0, errors
    (given,) = hub.ranges
    assert 0 < int(given.removeprefix("bytes=").rstrip("-")) <= 11_000_000
    np.testing.assert_array_equal(np.load(call.home / "a.npz")["points"], generator.sample(4))


def test_what_the_hub_refuses_is_explained(run: Run, hub: Hub, call: Caller) -> None:
    hub.put("me/notes", {"README.md": b"nothing here"})
    sample = "sample", "--out", "a.png"
    cases: list[tuple[tuple[object, ...], dict[str, str], str]] = [
        (("share", run.path, "me/mine"), {"HF_TOKEN": "hf_wrong"}, "refuses your token for me/mine"),
        (("share", run.path, "me/mine"), {"HF_TOKEN": ""}, "log in by `hf auth login`, or set HF_TOKEN"),
        (("share", run.path, "other/mine"), {}, "refuses your token for other/mine"),
        (("share", run.path, "mine"), {}, "'mine' names no repository"),
        (("share", run.path, "me/mine@v1"), {}, "leave @v1 away"),
        (("share", run.path, "me/a--b"), {}, "takes no such name"),
        (("share", run.path, "me/mine", "--licence", "nonsense"), {}, "must be one of"),
        (("share", run.path), {}, "give one of them"),
        (("share", run.path, "me/mine", "--to", "there"), {}, "give one of them"),
        (("share", run.path / "samples", "me/mine"), {}, "there is no generator"),
        ((*sample, "hf://me/none"), {}, "the hub has no repository 'me/none'"),
        ((*sample, "hf://me/notes"), {}, "me/notes at main holds no generator"),
        ((*sample, "hf://me/notes@v9"), {}, "me/notes has no revision 'v9'"),
        ((*sample, "hf://me/notes"), {"HF_TOKEN": "hf_wrong"}, "refuses your token for me/notes"),
        ((*sample, "hf://me"), {}, "'me' names no repository of the hub"),
        ((*sample, "hf://../../etc"), {}, "names no repository of the hub"),
        ((*sample, "me/notes"), {}, "there is no generator in 'me/notes'"),  # a path never goes to the network
    ]
    for arguments, environment, words in cases:
        before = len(hub.asked)
        code, printed, errors = call(*arguments, **environment)
        assert (code, printed) == (2, ""), (arguments, errors)
        assert words in errors
        assert "Traceback" not in errors
        assert len(hub.asked) == before or "me/notes" not in arguments
    assert not [each for each in call.home.iterdir() if each.name != "hub"]
    assert [*hub.repositories] == ["me/notes"]  # no empty one


def test_files_that_are_not_a_generators_are_refused(run: Run, hub: Hub, call: Caller) -> None:
    files = {name: (run.generator / name).read_bytes() for name in hub_of.FILES}
    config, weights = json.loads(files["config.json"]), files["model.safetensors"]
    wrong: dict[str, tuple[dict[str, bytes], str]] = {
        "unknown": ({"config.json": json.dumps(config | {"code": "import os"}).encode()}, "not a valid Config: code"),
        "network": ({"config.json": json.dumps(config | {"network": "os"}).encode()}, "unknown network 'os'"),
        "header": ({"model.safetensors": b"\xff" * 8 + weights[8:]}, "missing, damaged, or of another network"),
        "pickle": ({"model.safetensors": b"\x80\x04cos\nsystem\n(S'touch hacked'\ntR."}, "missing, damaged"),
        "short": ({"model.safetensors": weights[:-4]}, "missing, damaged, or of another network"),
        "large": ({"model.safetensors": weights + bytes(2**20)}, "bytes: at most"),
        "width": ({"config.json": json.dumps(config | {"width": 8}).encode()}, "damaged, or of another network"),
    }
    for name, (changes, words) in wrong.items():
        hub.put(f"me/{name}", files | changes)
        code, _, errors = call("sample", f"hf://me/{name}", "--out", "a.png")
        assert code == 2, name
        assert words in errors, errors
        assert "Traceback" not in errors
    asked = [each for each in hub.asked if each.startswith("GET") and "storage" in each]
    assert len(asked) == len([name for name in wrong if name not in ("unknown", "network", "large")])
    assert not (call.home / "hacked").exists()
    for name in hub_of.FILES:  # on its way here
        commit = hub.put(f"me/tampered-{name}", files)
        known = hub.repositories[f"me/tampered-{name}"][-1][1][name]
        hub.contents[known] = files[name][:-2] + b" \n"
        for _ in range(2):  # it is not kept
            code, _, errors = call("sample", f"hf://me/tampered-{name}@{commit}", "--out", "a.png")
            assert code == 2
            assert f"{name} is not what the hub says that it is" in errors
        hub.contents[known] = files[name]


def test_a_card_goes_beside_what_was_downloaded(hub: Hub, call: Caller) -> None:
    generator = make_generator(CONFIGS["mlp"])
    generator.save(call.home / "given")
    hub.put("me/ring", {name: (call.home / "given" / name).read_bytes() for name in hub_of.FILES})
    code, printed, errors = call("evaluate", "hf://me/ring", "--data", "ring", "-n", "100")
    assert code == 0, errors
    (path,) = re.findall(r"saved as (.*)", printed)
    assert json.loads(Path(path).read_text())["num_generated"] == 100
    own = "import sys; from sparring import load; load(sys.argv[1], module=load(sys.argv[1]).module); print(1)"
    assert call("hf://me/ring", code=own) == (0, "1\n", "")


def test_a_full_disk_keeps_no_half_of_a_download(run: Run, hub: Hub, call: Caller) -> None:
    hub.put("me/mine", {name: (run.generator / name).read_bytes() for name in hub_of.FILES})
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (6000, resource.RLIM_INFINITY));" + MAIN
    code, _, errors = call("sample", "hf://me/mine", "--out", "a.npz", code=limited)
    assert code == 2, errors
    assert "cannot keep me/mine" in errors
    assert "File too large" in errors
    assert not [*call.home.rglob("*.incomplete"), *call.home.rglob("*.safetensors"), *call.home.glob("*.npz")]
    assert call("sample", "hf://me/mine", "--out", "a.npz")[0] == 0


def test_a_network_of_ones_own_needs_its_plugin(hub: Hub, call: Caller) -> None:
    (call.home / "mine.py").write_text(
        "import dataclasses, sparring\n"
        "sparring.NETWORKS['mine'] = dataclasses.replace(sparring.NETWORKS['mlp'], name='mine')"
    )
    options = "--plugin", "mine.py"
    train = "train", "ring", "--network", "mine", "--steps", "2", "--width", "4", "--out", "run"
    assert call(*train, *options)[0] == 0
    code, _, errors = call("share", "run", "me/mine", *options)
    assert (code, errors) == (0, "")
    assert "The network is its author's own." in hub.read("me/mine", "README.md").decode()
    code, _, errors = call("sample", "hf://me/mine", "--out", "a.npz")
    assert code == 2
    assert "unknown network 'mine'" in errors
    assert not any("/storage/" in each for each in hub.asked if each.startswith("GET"))  # no weights for nothing
    assert call("sample", "hf://me/mine", "--out", "a.npz", *options)[0] == 0


def test_the_extra_is_named_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_generator(CONFIGS["mlp"]).save(tmp_path / "given")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for arguments in (["share", str(tmp_path / "given"), "me/ring"], ["sample", "hf://me/ring", "--out", "a.png"]):
        with pytest.raises(SystemExit, match=r"^2$"):
            main(arguments)
        assert "pip install 'sparring[hub]'" in capsys.readouterr().err
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["share", str(tmp_path / "given"), "--to", str(tmp_path / "there")])  # a folder needs no hub
    assert f"shared as {tmp_path / 'there'}" in capsys.readouterr().out


def test_a_training_imports_none_of_it(tmp_path: Path) -> None:
    code = (
        "import sys, sparring; sparring.train('ring', steps=1, width=4, progress=False, out=sys.argv[1]);"
        "sparring.load(sys.argv[1]).sample(1);"
        "print([each for each in ('huggingface_hub', 'httpx2', 'sparring.web.share') if each in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code, tmp_path / "run"], text=True).strip() == "[]"
