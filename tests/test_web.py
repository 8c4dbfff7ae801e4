"""The page's server: known answers, runs that are deleted or half-written, and the same samples as the command's."""

import base64
import json
import math
import os
import shutil
import subprocess
import sys
import threading
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pages import Client, add_frame, make_client, make_line, make_run, write
from PIL import Image
from safetensors.torch import load_file, save_file

import sparring
from sparring.generator.export.to_html import build_html
from sparring.seeding import Stream
from sparring.training.run_folder import Run
from sparring.web import explore, server


def ids(client: Client) -> dict[str, str]:
    """The ids of the runs by their names."""
    return {run["name"]: run["id"] for run in client.get("/api/runs").json()["runs"]}


def pixels(url: str) -> np.ndarray:
    """The picture in a data URL."""
    assert url.startswith("data:image/png;base64,")
    return np.asarray(Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs: digits with labels, and points."""
    folder = tmp_path_factory.mktemp("trained")
    sparring.train("digits", steps=4, width=4, conditional=True, latent_dim=8, out=folder / "digits")
    sparring.train("ring", steps=4, width=4, out=folder / "ring")
    return folder


@pytest.fixture(scope="module")
def client(trained: Path) -> Client:
    return make_client(trained)


# Lists


def test_the_list_says_what_the_folders_say(tmp_path: Path) -> None:
    alarm = {"name": "collapse", "since": 1, "severity": "problem"}
    make_run(tmp_path / "old", metrics={"distance": 0.1, "broken": None}, health=[alarm, 3])
    os.utime(tmp_path / "old" / "recipe.json", (1000, 1000))
    evaluated = make_run(tmp_path / "deep" / "new", status="stopped")
    with (evaluated / "log.jsonl").open("a") as file:
        file.write(json.dumps(make_line(7, evaluation={"distance": 0.4})) + "\n" + json.dumps(make_line(8)) + "\n")
    runs = make_client(tmp_path).get("/api/runs").json()["runs"]
    assert [run["name"] for run in runs] == ["new", "old"]
    new, old = runs
    assert (old["status"], old["steps"], old["progress"], old["alarms"]) == ("finished", 100, 1, ["collapse"])
    assert (old["metrics"], old["started"], old["data"], old["study"]) == ({"distance": 0.1}, 1000, "digits", None)
    assert (new["metrics"], new["path"]) == ({"distance": 0.4}, str(evaluated))
    assert not new["is_training"]


def test_a_study_is_named_and_its_runs_are_found(tmp_path: Path) -> None:
    make_run(tmp_path / "games" / "trials" / "0003" / "run")
    write(tmp_path / "games" / "study.json", {})
    for root in (tmp_path, tmp_path / "games", tmp_path / "games" / "trials" / "0003" / "run"):
        (run,) = make_client(root).get("/api/runs").json()["runs"]
        assert (run["name"], run["study"]) == ("0003", "games")


def test_trials_are_named_by_the_settings_that_differ(tmp_path: Path) -> None:
    for number, rate in enumerate((0.1 + 0.2, 0.5)):
        run = make_run(tmp_path / "games" / "trials" / f"000{number}" / "run")
        write(run / "recipe.json", {"recipe": {"data": f"/a/{number}/", "steps": 5, "learning_rate": rate}})
    make_run(tmp_path / "other")
    write(tmp_path / "games" / "study.json", {})
    wanted = {"0000, data 0, learning rate 0.3", "0001, data 1, learning rate 0.5", "other"}
    assert ids(make_client(tmp_path)).keys() == wanted


def test_the_page_and_the_list_need_no_pytorch() -> None:
    code = (
        "import sys; from pathlib import Path; from pages import make_client; client = make_client(Path('runs'));"
        "assert client.get('/').status == client.get('/api/runs').status == 200; assert 'torch' not in sys.modules;"
        "assert client.get('/api/meta').json()['objectives']; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=True)


def test_runs_appear_and_go(tmp_path: Path) -> None:
    client = make_client(tmp_path / "runs")
    assert ids(client) == {}
    first = make_run(tmp_path / "runs" / "first")
    found = ids(client)["first"]
    assert client.get(f"/api/runs/{found}/log").status == 200
    shutil.rmtree(first)
    for part in (
        "",
        "/log",
        "/log?after=0",
        "/frames",
        "/frames/0",
        "/thumbnail",
        "/explorer",
        "/nearest?step=0&index=0",
    ):
        answer = client.get(f"/api/runs/{found}{part}")
        assert answer.status == 404, part
        assert "there is no such run" in answer.json()["error"] or "deleted" in answer.json()["error"]
    make_run(first)
    assert ids(client)["first"] == found


def test_who_trains_holds_the_lock(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", status="running")
    client = make_client(tmp_path)
    assert not client.get("/api/runs").json()["runs"][0]["is_training"]  # killed
    assert not (path / ".lock").exists()
    run = Run(path).lock()
    answers = [client.get("/api/runs").json()["runs"][0], client.get(f"/api/runs/{ids(client)['run']}/log").json()]
    assert all(answer["is_training"] for answer in answers)
    assert Run(path).is_locked()
    run.unlock()
    assert not client.get("/api/runs").json()["runs"][0]["is_training"]
    assert Run(path).lock().is_locked()  # looking at it took nothing


def test_looking_keeps_no_training_from_starting(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", status="running")
    Run(path).lock().unlock()
    ends = threading.Event()

    def look() -> None:
        while not ends.is_set():
            Run(path).is_locked()

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        Run(path).lock().unlock()
    ends.set()
    for thread in threads:
        thread.join()


# One run


def test_the_log_is_followed(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    client = make_client(tmp_path)
    address = f"/api/runs/{ids(client)['run']}/log"
    first = client.get(address).json()
    assert [line["step"] for line in first["lines"]] == [0, 1, 2, 3, 4]
    assert first["lines"][1] == make_line(1)
    with (path / "log.jsonl").open("a") as file:
        file.write(json.dumps(make_line(5)) + '\n{"step": 6')
    second = client.get(address, after=first["after"]).json()
    assert ([line["step"] for line in second["lines"]], second["reset"]) == ([5], False)
    (path / "log.jsonl").write_text(json.dumps(make_line(0)) + "\n")
    third = client.get(address, after=second["after"]).json()
    assert ([line["step"] for line in third["lines"]], third["reset"]) == ([0], True)
    (path / "log.jsonl").unlink()
    assert client.get(address, after=third["after"]).json()["lines"] == []


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"recipe": 3, "status": [], "health": {}, "metrics": []}', "\0"]
)
def test_half_written_files_are_left_out(content: str, tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    (path / "frames").mkdir()
    (path / "samples").mkdir()
    (path / "generator").mkdir()
    names = ("recipe.json", "summary.json", "card.json", "log.jsonl", "frames/data.json", "frames/step-000000.json")
    for name in (*names, "samples/step-000000.png", "generator/config.json", "generator/model.safetensors"):
        (path / name).write_text(content)
    client = make_client(tmp_path)
    address = f"/api/runs/{ids(client)['run']}"
    assert client.get(address).json()["classes"] == []
    assert client.get(f"{address}/log").json()["lines"] == []
    assert client.get(f"{address}/frames").json()["steps"] == [0]
    assert client.get(f"{address}/explorer").status == 404
    for part in ("frames/0", "thumbnail", "nearest?step=0&index=0"):
        answer = client.get(f"{address}/{part}")
        assert (answer.status, list(answer.json())) in (
            (404, ["error"]),
            (200, ["recipe", "status", "health", "metrics"]),
        )


def test_what_a_run_is(trained: Path, client: Client) -> None:
    about = client.get(f"/api/runs/{ids(client)['digits']}").json()
    assert (about["modality"], about["item"]) == ("images", "28×28 px, grey")
    assert about["classes"] == [str(digit) for digit in range(10)]
    assert sum(about["class_shares"]) == pytest.approx(1)
    assert (about["recipe"]["data"], about["summary"]["status"]) == ("digits", "finished")
    assert about["path"] == str(trained / "digits")
    assert client.get(f"/api/runs/{ids(client)['ring']}").json()["classes"] == []


def test_frames_come_without_their_thumbnails(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    client = make_client(tmp_path)
    address = f"/api/runs/{ids(client)['run']}/frames"
    assert client.get(address).json() == {"steps": [], "seconds": [], "data": None}
    for step in (20, 0):
        add_frame(path, step, [[0]])
    write(path / "frames" / "data.json", {"extent": [0, 1, 0, 1]})
    (path / "frames" / ".step-000030.json.7.tmp.json").write_text("{")
    assert client.get(address).json() == {"steps": [0, 20], "seconds": [0.0, 2.0], "data": {"extent": [0, 1, 0, 1]}}
    frame = client.get(f"{address}/20").json()
    assert (frame["step"], frame["tile"]) == (20, [28, 28])
    assert "thumbnails" not in frame
    assert client.get(f"{address}/40").status == 404
    assert client.get(f"{address}/forty").status == 400


def test_new_frames_are_seen_whenever_they_are_written(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    client = make_client(tmp_path)
    address = f"/api/runs/{ids(client)['run']}/frames"
    for step in range(30):
        add_frame(path, step, [[0]])
        if step % 7 == 0:  # long ago, so that what was read is kept
            os.utime(path / "frames", (1000 + step, 1000 + step))
            client.get(address)
        assert client.get(address).json()["steps"] == [*range(step + 1)]
    (path / "frames" / "step-000003.json").unlink()
    assert 3 not in client.get(address).json()["steps"]


def test_a_training_writes_frames_that_are_served(client: Client) -> None:
    for name, kind in (("digits", "picture"), ("ring", "points")):
        address = f"/api/runs/{ids(client)[name]}/frames"
        steps = client.get(address).json()["steps"]
        assert (steps[0], steps[-1]) == (0, 4)
        assert kind in client.get(f"{address}/4").json()


def test_the_thumbnail_is_the_newest_picture(client: Client, trained: Path) -> None:
    answer = client.get(f"/api/runs/{ids(client)['digits']}/thumbnail")
    assert answer.headers["content-type"] == "image/webp"
    small, newest = Image.open(BytesIO(answer.content)), Image.open(Run(trained / "digits").sample_path(4))
    assert max(small.size) == 160
    assert np.abs(np.asarray(small.convert("L")).mean() - np.asarray(newest.convert("L")).mean()) < 10


# The explorer


def test_the_page_that_draws_samples_is_the_exported_one(client: Client, trained: Path) -> None:
    answer = client.get(f"/api/runs/{ids(client)['digits']}/explorer")
    generator = sparring.load(trained / "digits")
    shown = next(run["path"] for run in client.get("/api/runs").json()["runs"] if run["name"] == "digits")
    assert answer.content.decode() == build_html(generator, name="digits", run=shown)
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]


def test_a_translator_and_a_failed_generator_have_none(tmp_path: Path) -> None:
    sparring.train("digits", source="digits", steps=1, width=2, num_clusters=1, out=tmp_path / "run")
    sparring.train("ring", steps=1, width=4, out=tmp_path / "failed")
    client = make_client(tmp_path)
    assert client.get(f"/api/runs/{ids(client)['run']}/explorer").status == 404
    assert "translates" in client.get(f"/api/runs/{ids(client)['run']}/explorer").content.decode()
    assert client.get(f"/api/runs/{ids(client)['run']}").json()["generator_saved"] is None
    path = tmp_path / "failed" / "generator" / "model.safetensors"
    weights = {name: torch.full_like(value, math.nan) for name, value in load_file(path).items()}
    save_file(weights, path)
    assert "not finite" in client.get(f"/api/runs/{ids(client)['failed']}/explorer").content.decode()


def test_a_generator_that_was_saved_anew_is_known_by_its_time(tmp_path: Path) -> None:
    sparring.train("ring", steps=1, width=4, out=tmp_path / "run")
    client = make_client(tmp_path)
    address = f"/api/runs/{ids(client)['run']}"
    before = client.get(address).json()["generator_saved"], client.get(f"{address}/explorer").content
    sparring.resume(tmp_path / "run", steps=3)
    after = client.get(address).json()["generator_saved"], client.get(f"{address}/explorer").content
    assert before[0] != after[0]
    assert before[1] != after[1]


# Nearest items


def test_a_copy_of_a_training_item_finds_it(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (700, 2)).astype(np.float32)
    np.save(tmp_path / "points.npy", points)
    run = sparring.train(tmp_path / "points.npy", steps=1, width=2, batch_size=64, out=tmp_path / "run")
    dataset = sparring.open_dataset(str(tmp_path / "points.npy"))
    wanted = dataset.train.batch(1, Stream(0, "test"))[0].numpy()
    add_frame(run.path, 9, [[0, 0], [0, 255], np.rint((wanted + 1) * 127.5).astype(int).tolist()])
    client = make_client(tmp_path)
    answer = client.get(f"/api/runs/{ids(client)['run']}/nearest", step=9, index=2).json()
    assert answer["of"] == 630
    assert answer["items"][0]["numbers"] == wanted.tolist()
    distances = [item["distance"] for item in answer["items"]]
    assert distances == sorted(distances)
    assert len(distances) == explore.NUM_NEAREST
    assert distances[0] < 0.02 < distances[-1]
    assert "index" not in answer
    for query, status in (("step=9&index=3", 404), ("step=8&index=0", 404), ("step=9", 400), ("step=9&index=-1", 400)):
        assert client.get(f"/api/runs/{ids(client)['run']}/nearest?{query}").status == status
    (tmp_path / "points.npy").unlink()
    again = make_client(tmp_path).get(f"/api/runs/{ids(client)['run']}/nearest?step=9&index=0")
    assert again.status == 404
    assert "training data cannot be read" in again.json()["error"]


def test_labels_of_the_nearest_are_named(client: Client) -> None:
    answer = client.get(f"/api/runs/{ids(client)['digits']}/nearest?step=4&index=0").json()
    assert all(item["label"] in map(str, range(10)) for item in answer["items"])
    assert pixels(answer["items"][0]["picture"]).shape == (60, 60)


# Busy


def test_when_more_than_a_few_wait_the_next_is_refused(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    leaves, entered = threading.Event(), threading.Semaphore(0)
    acquire = threading.BoundedSemaphore.acquire

    def take(self: threading.BoundedSemaphore, *arguments: Any, **options: Any) -> bool:
        taken = acquire(self, *arguments, **options)
        entered.release()
        return taken

    address = f"/api/runs/{ids(client)['ring']}/explorer"
    monkeypatch.setattr(threading.BoundedSemaphore, "acquire", take)
    monkeypatch.setattr(explore.Explorer, "build_page", lambda *_: leaves.wait(60) and "")
    threads = [threading.Thread(target=client.get, args=[address]) for _ in range(server.BUSY)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert entered.acquire(timeout=60)
    refused = client.get(address)
    leaves.set()
    for thread in threads:
        thread.join()
    assert (refused.status, "busy" in refused.json()["error"]) == (429, True)
    assert client.get(address).status == 200
