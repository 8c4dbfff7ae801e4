"""The page of an export in a real browser, from a file, without a network."""

import io
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect
from untrained import CONFIGS, make_generator

from sparring.data.labels import Attribute
from sparring.game.sources import spherical
from sparring.generator.config import Config
from sparring.generator.export.to_html import build_html
from sparring.generator.generator import Generator
from sparring.modalities import open_dataset

pytestmark = pytest.mark.slow

MOST_BYTES = 750_000  # of digits
GRID = """() => { const canvas = document.querySelector(".grid canvas");
    return Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data); }"""


@pytest.fixture(scope="module")
def digits() -> Generator:
    return make_generator(CONFIGS["digits"])


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, digits: Generator) -> Path:
    path = tmp_path_factory.mktemp("export") / "digits.html"
    page = build_html(digits, name="digits", licence="Samples of untrained weights.")
    path.write_text(page, encoding="utf-8")
    return path


def open_page(context: BrowserContext, path: Path, state: str = "") -> Page:
    """The page with all samples drawn; a request would fail the test."""
    requests: list[str] = []
    context.on("request", lambda request: requests.append(request.url))
    context.set_offline(True)
    page = context.new_page()
    page.goto(f"{path.as_uri()}#{state}")
    page.wait_for_selector("body[data-drawn]")
    assert [url.partition("#")[0] for url in requests] == [path.as_uri()]
    return page


def tiles(page: Page, columns: int = 8, side: int = 28) -> np.ndarray:
    """The samples of the grid, [n, side, side]."""
    pixels = np.array(page.evaluate(GRID), np.uint8).reshape(-1, side, columns, side, 4)
    assert (pixels[..., 3] == 255).all()
    found: np.ndarray = pixels[..., 0].transpose(0, 2, 1, 3).reshape(-1, side, side).astype(int)
    return found


def wait_for_drawing(page: Page, change: Any) -> None:
    """Change something, and wait until it is drawn."""
    before = page.evaluate("document.body.dataset.drawn")
    change()
    page.wait_for_function("before => document.body.dataset.drawn !== before", arg=before)


def test_a_seed_draws_the_samples_of_the_command(context: BrowserContext, path: Path, digits: Generator) -> None:
    assert path.stat().st_size < MOST_BYTES
    page = open_page(context, path, "seed=7")
    assert np.abs(tiles(page) - digits.sample(64, seed=7)).max() <= 1
    expect(page.locator("code")).to_have_text("sparring sample RUN -n 64 --seed 7")
    wait_for_drawing(page, lambda: page.get_by_label("class").select_option(label="3"))
    assert np.abs(tiles(page) - digits.sample(64, seed=7, labels="3")).max() <= 1
    wait_for_drawing(page, lambda: page.get_by_label("truncation").select_option(label="0.5"))
    assert np.abs(tiles(page) - digits.sample(64, seed=7, labels="3", truncation=0.5)).max() <= 1
    expect(page.locator("code")).to_have_text("sparring sample RUN -n 64 --seed 7 --label 3 --truncation 0.5")


def test_attributes_are_asked_for_one_by_one(context: BrowserContext, tmp_path: Path) -> None:
    hair, _ = CONFIGS["attributes"].attributes
    age = Attribute("age", mean=4.0, deviation=2.0, low=1.0, high=8.0)
    generator = make_generator(replace(CONFIGS["attributes"], attributes=(hair, age)))
    (tmp_path / "hair.html").write_text(build_html(generator), encoding="utf-8")
    page = open_page(context, tmp_path / "hair.html", "seed=7")
    assert np.abs(tiles(page, side=8) - generator.sample(64, seed=7)).max() <= 1
    red, old, both = ({"hair": "red"}, {"age": 7.5}, {"hair": "red", "age": 7.5})
    hair_control, age_control = page.get_by_label("hair"), page.get_by_label("age")
    for change, labels, words in (
        (lambda: hair_control.select_option(label="red"), red, "hair=red"),
        (lambda: age_control.fill("7.5"), both, "hair=red,age=7.5"),
        (lambda: hair_control.select_option(label="any"), old, "age=7.5"),
    ):
        wait_for_drawing(page, change)
        assert np.abs(tiles(page, side=8) - generator.sample(64, seed=7, labels=labels)).max() <= 1
        expect(page.locator("code")).to_have_text(f"sparring sample RUN -n 64 --seed 7 --label {words}")
    address = page.evaluate("location.hash.slice(1)")
    again = open_page(context, tmp_path / "hair.html", address)
    expect(again.get_by_label("age")).to_have_value("7.5")
    assert (tiles(again, side=8) == tiles(page, side=8)).all()


def test_between_two_seeds_and_along_directions(context: BrowserContext, path: Path, digits: Generator) -> None:
    page = open_page(context, path, "seed=7&label=3")
    plane = page.get_by_role("application")
    plane.focus()
    for _ in range(5):  # halfway to the next seed
        wait_for_drawing(page, lambda: page.keyboard.press("ArrowRight"))
    start, end = digits.latents(1, 7)[0], digits.latents(1, 8)[0]
    assert np.abs(tiles(page)[0] - digits.interpolate(start, end, 3, "3")[1]).max() <= 1
    expect(page.locator("body")).to_contain_text("There is no command for these samples")
    between = tiles(page)
    wait_for_drawing(page, lambda: page.get_by_label("direction 1").fill("3"))
    assert (tiles(page) != between).any()
    wait_for_drawing(page, lambda: page.get_by_role("button", name="back to zero").click())
    assert np.abs(tiles(page) - digits.sample(64, seed=7, labels="3")).max() <= 1


def test_the_plane_of_seeds_and_a_walk_between_kept_places(
    context: BrowserContext, path: Path, digits: Generator
) -> None:
    page = open_page(context, path, "seed=1007&label=3")
    plane = page.get_by_role("application")
    box = plane.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    wait_for_drawing(page, lambda: page.mouse.move(x - 20, y - 25))  # to the right and down, as a map is dragged
    page.mouse.up()
    right, down = (
        float(each) for each in page.evaluate("new URLSearchParams(location.hash.slice(1)).get('place')").split(",")
    )
    assert 0 < right < 1
    assert -1 < down < 0
    corners = [[digits.latents(1, seed)[0] for seed in row] for row in ((7, 8), (1007, 1008))]
    ends = [spherical(one, other, torch.tensor([right]))[0] for one, other in corners]
    wanted = digits.generate(spherical(ends[0], ends[1], torch.tensor([1 + down])), [3])
    assert np.abs(tiles(page)[0] - wanted[0].astype(int)).max() <= 1

    page.get_by_role("button", name="keep").click()
    wait_for_drawing(page, lambda: plane.press("Enter"))  # to the nearest seed
    expect(page.get_by_label("seed", exact=True)).to_have_value("1007")
    page.get_by_role("button", name="keep").click()
    page.get_by_role("button", name="walk").click()
    expect(page.locator("body")).to_contain_text("There is no command for these samples")  # it is on its way
    there = "sparring sample RUN -n 64 --seed 1007 --label 3"
    expect(page.locator("code")).to_have_text(there, timeout=60_000)  # and back: 48 steps, on a busy machine as well
    wait_for_drawing(page, lambda: page.get_by_role("button", name="place 1").click())
    assert np.abs(tiles(page)[0] - wanted[0].astype(int)).max() <= 1


def test_the_picture_is_saved(context: BrowserContext, path: Path, digits: Generator) -> None:
    page = open_page(context, path)
    with page.expect_download() as found:
        page.get_by_role("button", name="save as PNG").click()
    assert found.value.suggested_filename == "digits-seed-0.png"
    with Image.open(found.value.path()) as picture:
        assert np.abs(np.array(picture)[:28, :28, 0].astype(int) - digits.sample(1)[0]).max() <= 1


def test_keys_and_a_narrow_window(context: BrowserContext, path: Path) -> None:
    page = open_page(context, path)
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360
    page.locator(".grid canvas").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(page.locator("main")).to_contain_text("sample 10 of 64")
    script = """() => [...document.querySelectorAll("button, input, select, canvas")].filter(each =>
        !(each.getAttribute("aria-label") || each.textContent.trim() || each.title || each.labels?.length)).length"""
    assert page.evaluate(script) == 0


def test_sounds(context: BrowserContext, tmp_path: Path) -> None:
    (tmp_path / "sounds.html").write_text(build_html(make_generator(CONFIGS["sounds"])), encoding="utf-8")
    page = open_page(context, tmp_path / "sounds.html")
    page.get_by_role("button", name="play").click()
    with page.expect_download() as found:
        page.get_by_role("button", name="save as WAV").click()
    with wave.open(str(found.value.path())) as file:
        assert (file.getframerate(), file.getnframes(), file.getsampwidth()) == (8000, 3040, 2)


def test_points(context: BrowserContext, tmp_path: Path) -> None:
    (tmp_path / "points.html").write_text(build_html(make_generator(CONFIGS["fourier"])), encoding="utf-8")
    page = open_page(context, tmp_path / "points.html")
    assert sum(page.evaluate(GRID)[3::4]) > 0


def test_a_table_shows_its_rows(context: BrowserContext, tmp_path: Path) -> None:
    """Cells, the file that is saved, and a picture, as the command makes them."""
    modality = open_dataset("people").modality
    generator = make_generator(Config(modality, "mlp", 6, "gaussian", 16), rounded=True)
    (tmp_path / "people.html").write_text(build_html(generator, name="people"), encoding="utf-8")
    page = open_page(context, tmp_path / "people.html", "seed=7")
    expect(page.locator("code")).to_have_text("sparring sample RUN -n 1000 --seed 7")
    content = io.BytesIO(modality.to_bytes(generator.sample(1000, seed=7), ".csv"))
    wanted = pandas.read_csv(content, dtype=str, keep_default_na=False)
    assert page.locator("th").all_text_contents() == list(wanted.columns)
    with page.expect_download() as download:
        page.get_by_role("button", name="save as CSV").click()
    assert download.value.suggested_filename == "people-seed-7.csv"
    made = pandas.read_csv(download.value.path(), dtype=str, keep_default_na=False)
    assert (made["town"] == wanted["town"]).mean() > 0.99
    assert (made["age"] == wanted["age"]).mean() > 0.99
    assert (made["person"] == wanted["person"]).all()
    shown = page.locator("td").all_text_contents()
    assert shown == made[:20].to_numpy().ravel().tolist()
    pixels = np.array(page.evaluate(GRID), np.uint8).reshape(-1, 4)
    assert len(np.unique(pixels, axis=0)) > 3  # bars, lines and words
    wait_for_drawing(page, lambda: page.get_by_role("button", name="another seed").click())
    assert page.locator("td").all_text_contents() != shown
