"""The command as its users meet it: processes of its own, real signals."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from warm import Process

from sparring.cli.main import main

SMALL = ["--width", "4", "--batch-size", "16"]


def sparring(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    process = Process(*arguments, cwd=cwd, env={**os.environ, "COLUMNS": "120"})
    output, errors = process.communicate()
    assert process.returncode is not None
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


def test_the_command_as_a_shell_starts_it(tmp_path: Path) -> None:
    """Both of its forms. The other tests fork a warm interpreter, which is faster."""
    script = str(Path(sys.executable).with_name("sparring"))
    for command, output in (
        ([script, "train", "ring", "--steps", "2", "--out", "run"], "sparring sample run"),
        ([sys.executable, "-m", "sparring", "sample", "run", "-n", "9", "--out", "a.npz"], "9 samples"),
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert output in done.stdout
    assert np.load(tmp_path / "a.npz")["points"].shape == (9, 2)


def test_the_warm_interpreter_has_one_thread(tmp_path: Path) -> None:
    """A fork has the thread that forked alone, and locks that others held stay locked."""
    process = Process(
        code="import os; print(os.listdir(f'/proc/{os.getppid()}/task') == [str(os.getppid())])", cwd=tmp_path
    )
    assert process.communicate() == ("True\n", "")


def test_from_training_to_a_picture(tmp_path: Path) -> None:
    trained = sparring("train", "--steps", "30", *SMALL, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert trained.stderr == ""
    assert "sparring sample runs/digits-1" in trained.stdout
    assert json.loads((tmp_path / "runs/digits-1/summary.json").read_text())["status"] == "finished"

    assert sparring("sample", "runs/digits-1", "-n", "9", "--out", "a.png", cwd=tmp_path).returncode == 0
    assert sparring("sample", "runs/digits-1", "-n", "9", "--seed", "1", "--out", "a.npz", cwd=tmp_path).returncode == 0
    assert np.load(tmp_path / "a.npz")["images"].shape == (9, 28, 28)

    sevens = sparring("sample", "runs/digits-1", "-n", "4", "--label", "7", "--out", "b.npz", cwd=tmp_path)
    assert sevens.returncode == 0, sevens.stderr
    further = sparring("resume", "runs/digits-1", "--steps", "40", cwd=tmp_path)
    assert further.returncode == 0, further.stderr
    assert "after 40 steps" in further.stdout

    second = sparring("train", "--steps", "2", *SMALL, "--set", "learning_rate=1e-4", cwd=tmp_path)
    assert second.returncode == 0
    recipe = json.loads((tmp_path / "runs/digits-2/recipe.json").read_text())["recipe"]
    assert recipe["learning_rate"] == 1e-4


def test_a_run_is_evaluated(tmp_path: Path) -> None:
    assert sparring("train", "ring", "--steps", "3", "--width", "4", "--out", "run", cwd=tmp_path).returncode == 0
    evaluated = sparring("evaluate", "run", "-n", "100", cwd=tmp_path)
    assert (evaluated.returncode, evaluated.stderr) == (0, "")
    card = json.loads((tmp_path / "run" / "card.json").read_text())
    assert all(name.replace("_", " ") in evaluated.stdout for name in card["figures"])
    for arguments, message in ((["nowhere"], "there is no generator"), (["run", "-n", "7"], "at least 50 samples")):
        refused = sparring("evaluate", *arguments, cwd=tmp_path)
        assert refused.returncode == 2
        assert message in refused.stderr


def test_a_sick_training_says_so_and_is_explained(tmp_path: Path) -> None:
    """A rate of nearly nothing: the samples stay grey."""
    settings = ["learning_rate=1e-9", "schedule=constant", "evaluation_steps=160"]
    options = [part for setting in settings for part in ("--set", setting)]
    trained = sparring("train", "--steps", "320", *SMALL, *options, "--out", "run", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    during, _, after = trained.stdout.partition("finished after 320 steps")
    for part in (during, after):
        assert part.count("collapse since step 160: all samples are nearly alike") == 1
    assert (during + after).count("learning_rate_ratio=0.25") == 1  # said in full once
    diagnosed = sparring("diagnose", "run", cwd=tmp_path)
    assert (diagnosed.returncode, diagnosed.stderr) == (0, "")
    assert "all samples are nearly alike" in (tmp_path / "run" / "report.html").read_text()
    refused = sparring("diagnose", "nowhere", cwd=tmp_path)
    assert refused.returncode == 2
    assert "holds no run" in refused.stderr


def test_a_training_ends_at_its_goal(tmp_path: Path) -> None:
    options = ["ring", "--steps", "400", "--width", "8", "--set", "evaluation_steps=20", "--until", "step>30"]
    trained = sparring("train", *options, "--out", "run", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert "finished after 40 steps" in trained.stdout
    assert "step is 40 (step>30)" in trained.stdout
    refused = sparring("train", "--until", "soon", cwd=tmp_path)
    assert refused.returncode == 2
    assert "until must be plateau, or a target such as coverage>0.9, and is 'soon'" in refused.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_finishes_the_step_saves_and_says_how_to_go_on(name: str, code: int, tmp_path: Path) -> None:
    arguments = ["train", "--steps", "100000", *SMALL, "--out", "run", "--set", "log_steps=1"]
    process = Process(*arguments, cwd=tmp_path)
    log = tmp_path / "run" / "log.jsonl"
    while not log.exists():  # until the first step is done; the test's own time limit is the suite's
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, getattr(signal, name))
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert "sparring resume run" in output
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "stopped"
    assert {"SIGINT": "Ctrl-C"}.get(name, name) in summary["reason"]
    steps = summary["steps"]
    assert (tmp_path / "run" / "checkpoints" / f"step-{steps:06d}").is_dir()
    assert json.loads(log.read_text().splitlines()[-1])["step"] == steps
    resumed = sparring("resume", "run", "--steps", str(steps + 1), cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr


BAD_USE = {
    "unknown command": (["trian"], "did you mean 'train'"),
    "unknown option": (["train", "--objektive", "hinge"], "did you mean --objective?"),
    "a field as an option": (["train", "--learning-rat", "1"], "did you mean --set learning_rate=VALUE?"),
    "initials": (["train", "--lr=1"], "unknown option '--lr': did you mean --set learning_rate=VALUE?"),
    "an option of another command": (["sample", "run", "--out", "a.png", "--fid"], "unknown option '--fid': See"),
    "two data": (["train", "digits", "ring"], "'ring' is one value too many"),
    "unknown objective": (["train", "--objective", "wassertein"], "did you mean 'wasserstein'"),
    "unknown penalty": (["train", "--penalty", "gradient"], "did you mean 'gradient_penalty'"),
    "unknown network": (["train", "--network", "dcgam"], "did you mean 'dcgan'"),
    "unknown recipe": (["train", "--recipe", "dragon"], "did you mean 'dragan'"),
    "unknown data": (["train", "digit"], "did you mean 'digits'"),
    "unknown setting": (["train", "--set", "learning_rat=1"], "did you mean 'learning_rate'"),
    "unknown kind": (["list", "objective"], "did you mean 'objectives'"),
    "missing path": (["train", "./nothing.npz"], "no file or folder"),
    "unreadable data": (["train", "broken.npz"], "cannot read"),
    "empty data": (["train", "empty.npy"], "0 items"),
    "fewer than a batch": (["train", "few.npy"], "lower --batch-size"),
    "zero steps": (["train", "--steps", "0"], "steps=0: must be greater than or equal to 1"),
    "negative minutes": (["train", "--minutes", "-1"], "minutes=-1.0: must be greater than 0"),
    "negative batch": (["train", "--batch-size", "-4"], "batch_size=-4: must be greater than or equal to 1"),
    "another run": (["train", "--out", "taken"], "sparring resume"),
    "not a folder": (["train", "--out", "few.npy"], "give another --out"),
    "unwritable": (["train", "--out", "/proc/run"], "give another --out"),
    "said twice": (["train", "--steps", "5", "--set", "steps=6"], "given twice"),
    "no size": (["train", "--size", "64by96"], "size=64by96"),
    "unknown figure": (["train", "--dry-run", "--until", "coverag>0.9"], "did you mean 'coverage'"),
    "never ends": (["train", "--set", "minutes=none"], "never end"),
    "data by --set": (["train", "--set", "data=ring"], "unknown setting"),
    "dry run of a misfit": (["train", "--dry-run", "--set", "penalty_weight=3"], "neither a weight nor an interval"),
    "no seeds": (["bench", "modes", "--seeds", "0"], "at least 1"),
    "unknown benchmark": (["bench", "mode"], "did you mean 'modes'"),
    "not a pair": (["train", "--set", "steps"], "KEY=VALUE"),
    "not a number": (["train", "--set", "steps=many"], "steps=many"),
    "no run": (["resume", "nothing"], "holds no run"),
    "no generator": (["sample", "nothing", "--out", "a.png"], "no generator"),
}


@pytest.mark.parametrize("case", BAD_USE)
def test_bad_use_exits_with_2_a_message_and_nothing_made(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process: another exception than that of an exit would end the test."""
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "empty.npy", np.zeros((0, 28, 28), np.uint8))
    np.save(tmp_path / "few.npy", np.arange(20 * 784, dtype=np.uint16).astype(np.uint8).reshape(20, 28, 28))
    (tmp_path / "broken.npz").write_bytes(b"PK")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "recipe.json").write_text("{}")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    arguments, message = BAD_USE[case]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("arguments", [[], ["train"], ["resume"], ["sample"], ["list"], ["bench"]], ids=str)
def test_help(arguments: list[str], tmp_path: Path) -> None:
    result = sparring(*arguments, "--help", cwd=tmp_path)
    assert result.returncode == 0
    assert "usage: sparring" in result.stdout


@pytest.mark.parametrize("arguments", [["train", "--steps", "x"], ["sample"]])
def test_options_without_a_value_or_with_a_wrong_one(arguments: list[str], tmp_path: Path) -> None:
    result = sparring(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_versions_and_help_without_a_command(tmp_path: Path) -> None:
    assert sparring("--version", cwd=tmp_path).stdout.startswith(f"sparring {version('sparring')}, torch ")
    assert sparring(cwd=tmp_path).stdout == sparring("--help", cwd=tmp_path).stdout != ""


def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    """As `sparring list | head -1`, whose pipe closes after the first line."""
    command = [sys.executable, "-c", "from sparring.cli.main import main; main(['list'])"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate()
    assert (process.returncode, errors) == (1, b"")


def test_list_names_everything(tmp_path: Path) -> None:
    output = sparring("list", cwd=tmp_path).stdout
    for name in ("wasserstein", "gradient_penalty", "conv", "digits", "wgan-gp", "images", "coverage"):
        assert name in output


def test_a_dry_run_makes_nothing(tmp_path: Path) -> None:
    result = sparring("train", "ring", "--dry-run", cwd=tmp_path)
    assert result.returncode == 0
    assert json.loads(result.stdout)["network"] == "fourier"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [([], False), (["--conditional"], True), (["--conditional", "True"], True), (["--conditional", "False"], False)],
    ids=str,
)
def test_conditional_with_and_without_a_value(
    arguments: list[str], expected: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["train", "--recipe", "gan", *arguments, "--dry-run"])
    assert json.loads(capsys.readouterr().out)["conditional"] is expected


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    """A look, what was chosen, a training, labelled samples, and the cache."""
    folder = tmp_path / "my pictures"
    for number in range(60):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGBA", (40, 40), (4 * number, 0, 0, 100)).save(path)
    looked = sparring("train", str(folder), "--steps", "2", "--dry-run", cwd=tmp_path)
    assert (looked.returncode, json.loads(looked.stdout)["size"]) == (0, [32, 32])
    for part in ("60 images (PNG 60; RGBA 60)", "2 classes", "54 to train on and 6 held out", "RGBA", "steps in"):
        assert part in looked.stderr
    out = tmp_path / "run"
    done = sparring(
        "train", str(folder), "--size", "28", "--steps", "2", "--width", "4", "--out", str(out), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "54 to train on" in done.stdout
    for label, folder_out in (("b", "b"), ("a", "d")):
        sampled = sparring("sample", str(out), "-n", "2", "--label", label, "--out", folder_out, cwd=tmp_path)
        assert sampled.returncode == 0, sampled.stderr
    assert (tmp_path / "b" / "000001-b.png").read_bytes() != (tmp_path / "d" / "000001-a.png").read_bytes()
    for label, message in (("bb", "did you mean 'b'"), ("1", "unknown label '1'")):  # the classes have names
        refused = sparring("sample", str(out), "--label", label, "--out", "e", cwd=tmp_path)
        assert (refused.returncode, message in refused.stderr) == (2, True)
    with Image.open(tmp_path / "b" / "000001-b.png") as sample:
        assert sample.mode == "RGBA"
    assert "28×28 px, RGBA" in sparring("data", cwd=tmp_path).stdout
    assert "bytes freed" in sparring("data", "--clear", cwd=tmp_path).stdout
    assert "nothing is packed" in sparring("data", cwd=tmp_path).stdout
    (folder / "c").mkdir()
    (folder / "a" / "0.png").rename(folder / "c" / "0.png")
    refused = sparring("resume", str(out), "--steps", "4", cwd=tmp_path)
    assert (refused.returncode, "their classes are not those that the run began with" in refused.stderr) == (2, True)
