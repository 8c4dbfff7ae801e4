"""The page in a real browser: a live server, the report's file without a network, and a notebook's frame."""

import base64
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import make_line, make_run, write
from PIL import Image
from playwright.sync_api import BrowserContext, Page, Route, expect

import sparring
from sparring.training import frames
from sparring.training.run_folder import Run
from sparring.web.page import FOLDER, MODULES, build_page
from sparring.web.report import diagnose

pytestmark = pytest.mark.slow
expect.set_options(timeout=20_000)

MOST_BYTES = 150_000  # of a page without data
VISIBLE_MS, LOOK_MS = 2_000, 200  # in which a new line of the log must be seen; what a look takes of it


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of every kind; the tests of a run that changes make their own."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frames, "SHARE", 100.0)  # all frames, however slow the machine is
        train_all(folder)
    return folder


def train_all(folder: Path) -> None:
    sparring.train("ring", steps=60, width=8, batch_size=64, evaluation_steps=30, log_steps=5, out=folder / "ring")
    sparring.train(
        "digits", steps=30, width=4, batch_size=32, conditional=True, evaluation_steps=10, log_steps=5, latent_dim=8,
        out=folder / "digits",
    )  # fmt: skip
    with pytest.raises(sparring.DivergenceError), pytest.warns(sparring.SparringWarning):
        sparring.train(
            "digits",
            steps=50,
            width=4,
            learning_rate=1e30,
            optimizer="sgd",
            evaluation_share=0.0,
            log_steps=1,
            out=folder / "diverged",
        )
    points = np.random.default_rng(0).normal(size=(500, 5)).astype(np.float32)
    sparring.train(points, steps=10, width=8, batch_size=32, evaluation_share=0.0, out=folder / "five")
    shutil.copytree(folder / "digits", folder / "without-threes")
    lines = Run(folder / "digits").log()
    for line in lines:
        if "class_shares" in line:
            line["class_shares"] = [0.111] * 3 + [0.0] + [0.111] * 6
    log = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "without-threes" / "log.jsonl").write_text(log)
    for number in (1, 2):
        trial = make_run(folder / "sweep" / "trials" / str(number) / "run", num_lines=20)
        write(trial / "recipe.json", {"recipe": {"data": "digits", "seed": number}, "versions": {}})
    write(folder / "sweep" / "study.json", {})


@pytest.fixture(scope="module")
def address(runs: Path) -> Iterator[str]:
    with serve(runs) as url:
        yield url


class serve:  # noqa: N801 - a context manager
    """`sparring watch FOLDER`, a process of its own; its address with the token."""

    def __init__(self, *folders: Path, port: int = 0) -> None:
        command = [sys.executable, "-m", "sparring", "watch", *map(str, folders), "--no-open", "--port", str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = None
        for line in self.process.stdout:
            if found := re.search(r"http://\S+", line):
                break
        assert found is not None, "the server printed no address"
        self.url = found[0]

    def __enter__(self) -> str:
        return self.url

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        assert self.process.stdout is not None
        self.process.stdout.close()
        assert self.process.wait(timeout=20) == 0


def open_run(context: BrowserContext, address: str, name: str, hash_: str = "") -> Page:
    """The page on one run, chosen in the list."""
    page = context.new_page()
    page.goto(address)
    page.locator("#runs b").get_by_text(name, exact=True).click()
    expect(page.locator("#panels h3").first).to_have_text(name)
    if hash_:
        page.evaluate("([hash]) => { location.hash += hash }", [hash_])
    return page


def shown_step(page: Page) -> int:
    """The step at which the slider is."""
    found = re.search(r"step ([\d,]+) of", page.locator("output").inner_text())
    assert found is not None
    return int(found[1].replace(",", ""))


def panel(page: Page, title: str) -> Any:
    return page.locator(f'section[aria-label="{title}"]')


# The file


def test_the_page_is_small_and_its_modules_share_no_name() -> None:
    """All modules become one script, where a name that stands twice is an error."""
    assert len(build_page().encode()) <= MOST_BYTES
    names = [
        name
        for module in MODULES
        for name in re.findall(
            r"^(?:export )?(?:async )?(?:function|const|let) (\w+)", (FOLDER / f"{module}.js").read_text(), re.MULTILINE
        )
    ]
    assert len(names) == len(set(names))
    assert {path.stem for path in FOLDER.glob("*.js")} == set(MODULES)
    (wait,) = re.findall(r"^const POLL = (\d+);", (FOLDER / "main.js").read_text(), re.MULTILINE)
    assert int(wait) + LOOK_MS <= VISIBLE_MS


def test_the_report_asks_for_nothing(runs: Path, context: BrowserContext) -> None:
    """The network is cut, and the file's own policy forbids any request."""
    shutil.copytree(runs / "digits", runs.parent / "copied")
    report = diagnose(runs.parent / "copied")
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.abort() if not route.request.url.startswith("file:") else route.continue_()

    context.route("**/*", refuse)
    context.set_offline(True)
    page = context.new_page()
    page.goto(report.as_uri())
    expect(panel(page, "Samples").locator(".tile")).to_have_count(100)
    expect(page.locator("#story")).to_contain_text("was trained on digits")
    page.locator(".tile").nth(5).click()
    expect(page.locator("dialog .nearest figure")).to_have_count(3)
    page.keyboard.press("Escape")
    assert shown_step(page) == 30
    assert asked == [report.as_uri()]
    assert report.stat().st_size < 3_000_000


def test_a_notebook_shows_the_page_in_a_frame(runs: Path, context: BrowserContext, tmp_path: Path) -> None:
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<!doctype html><body>{Run(runs / 'digits')._repr_html_()}")
    page = context.new_page()
    page.goto(notebook.as_uri())
    frame = page.frame_locator("iframe")
    expect(frame.locator(".tile")).to_have_count(100)
    frame.locator("select").last.select_option("worst")
    expect(frame.locator(".tile").first).to_have_attribute("title", re.compile("probability"))
    notebook.write_text(f"<!doctype html><body>{sparring.load(runs / 'digits')._repr_html_()}")
    page.reload()
    expect(frame.locator("body")).to_have_attribute("data-drawn", re.compile(r"\d+"))  # and a request would fail


# What it shows


def test_the_page_and_the_list_are_there_before_pytorch(context: BrowserContext, address: str) -> None:
    """What needs it comes later, and the explorer, which is loaded when it is seen, does not move the page."""
    waiting: list[Route] = []
    context.route("**/api/meta", lambda route: waiting.append(route))
    page = context.new_page()
    page.goto(address)
    expect(page.locator("#runs li")).to_have_count(7)
    expect(page.locator("#message")).to_have_text("Loading …")
    expect(page.locator("#panels")).to_be_hidden()
    waiting[0].continue_()
    page.locator("#runs b").get_by_text("digits", exact=True).click()
    explorer = panel(page, "Explore the latents")
    expect(explorer).to_be_visible()
    page.evaluate("scrollTo(0, 0)")
    page.set_viewport_size({"width": 1100, "height": 6000})  # all of it can be seen
    expect(explorer.frame_locator("iframe").locator("body")).to_have_attribute("data-drawn", re.compile(r"\d+"))
    page.set_viewport_size({"width": 1100, "height": 900})
    assert page.evaluate("scrollY") == 0
    expect(page.locator("#message")).to_be_empty()


def test_classes(context: BrowserContext, address: str) -> None:
    page = open_run(context, address, "digits")
    samples = panel(page, "Samples")
    expect(samples.locator(".tile")).to_have_count(100)
    expect(panel(page, "Classes").locator('[role="row"]')).to_have_count(10)
    before = titles(samples)
    samples.get_by_label("order:").select_option("worst")
    page.wait_for_function(OTHER_TITLES, arg=before)
    given = [float(title.rsplit(" ", 1)[1]) for title in titles(samples)]
    assert given == sorted(given)
    before = titles(samples)
    samples.get_by_label("order:").select_option("class")
    page.wait_for_function(OTHER_TITLES, arg=before)
    labels = [title.partition(",")[0] for title in titles(samples)]
    assert labels == sorted(labels)


OTHER_TITLES = """before => {
    const now = [...document.querySelectorAll(".tile")].map(tile => tile.title);
    return JSON.stringify(now) !== JSON.stringify(before);
}"""


def titles(samples: Any) -> list[str]:
    found: list[str] = samples.locator(".tile").evaluate_all("tiles => tiles.map(tile => tile.title)")
    return found


def test_a_class_without_samples_is_red(context: BrowserContext, address: str) -> None:
    page = open_run(context, address, "without-threes")
    panel(page, "Classes").scroll_into_view_if_needed()
    missing = panel(page, "Classes").locator(".missing")
    expect(missing).to_have_count(1)
    expect(missing).to_contain_text("0.0 %, data")
    expect(missing).to_contain_text("missing")


def test_points_and_the_nine_steps(context: BrowserContext, address: str) -> None:
    page = open_run(context, address, "ring", "&lesson=5")
    planes = panel(page, "The game in the plane").locator("canvas")
    expect(planes).to_have_count(2)
    for number in range(2):
        assert colours(planes.nth(number)) > 20  # a map, points, arrows: not one colour
    lesson = panel(page, "The nine steps")
    expect(lesson.locator("h3")).to_have_text("5. The discriminator's loss")
    expect(lesson.locator(".formula")).to_contain_text("softplus")
    expect(lesson).to_contain_text("L_D = ")
    before = lesson.locator("canvas").evaluate("canvas => canvas.toDataURL()")
    lesson.get_by_role("button", name="step 4:").click()
    expect(lesson.locator("h3")).to_have_text("4. Sample real data")
    assert before != lesson.locator("canvas").evaluate("canvas => canvas.toDataURL()")
    assert "lesson=4" in page.url


def colours(canvas: Any) -> int:
    """The number of different colours in a canvas."""
    script = """canvas => {
        const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return new Set(new Uint32Array(data.buffer)).size;
    }"""
    return int(canvas.evaluate(script))


def test_a_diverged_run(context: BrowserContext, address: str) -> None:
    page = open_run(context, address, "diverged")
    alarm = panel(page, "Where it stands").locator(".alarm")
    expect(alarm).to_contain_text("divergence")
    expect(alarm).to_contain_text("Try: ")


def test_a_study(context: BrowserContext, address: str) -> None:
    """Its trials stand in the list, and two of them are compared."""
    page = context.new_page()
    page.goto(address)
    page.get_by_label("compare 1, seed 1", exact=True).check()
    page.get_by_label("compare 2, seed 2", exact=True).check()
    expect(page.locator("#runs li", has_text="study sweep")).to_have_count(2)
    expect(panel(page, "Recipe").locator("tr")).to_contain_text(["1, seed 1", "seed"])


def test_two_runs_are_compared(context: BrowserContext, address: str) -> None:
    page = open_run(context, address, "ring")
    page.get_by_label("compare digits").check()
    expect(panel(page, "Where it stands").locator("h3")).to_have_text(["ring", "digits"])
    rows = panel(page, "Recipe").locator("table").first
    expect(rows).to_contain_text("latent_dim")
    expect(panel(page, "Curves").locator(".value").first).to_be_visible()


def test_each_run_has_its_own_curves_and_colour(context: BrowserContext, address: str) -> None:
    """Also after another run was shown, whose data were already here."""
    page = open_run(context, address, "ring")
    page.set_viewport_size({"width": 1100, "height": 6000})  # all charts can be seen
    values = panel(page, "Curves").locator(".values").first
    expect(values.locator(".value")).to_be_visible()
    first = values.inner_text()
    page.locator("#runs b").get_by_text("digits", exact=True).click()
    expect(values).not_to_have_text(first)
    page.locator("#runs b").get_by_text("ring", exact=True).click()
    expect(values).to_have_text(first)
    page.go_back()
    expect(panel(page, "Where it stands").locator("h3")).to_have_text("digits")
    page.get_by_label("compare ring").check()
    expect(panel(page, "Where it stands").locator("h3")).to_have_count(2)
    script = "all => new Set(all.map(each => each.style.getPropertyValue('--colour'))).size"
    assert panel(page, "Where it stands").locator("h3").evaluate_all(script) == 2


def test_a_line_marks_the_position_in_each_chart(context: BrowserContext, address: str) -> None:
    """Also in those that are drawn later, when they are scrolled into view."""
    page = open_run(context, address, "digits")
    last = panel(page, "Curves").locator(".chart:not(.empty)").last
    last.scroll_into_view_if_needed()
    expect(last.locator(".position")).to_have_attribute("style", re.compile(r"translateX\(\d{3}"))


def test_a_picture_that_is_no_grid_of_samples(context: BrowserContext, address: str) -> None:
    page = open_run(context, address, "five")
    samples = panel(page, "Samples")
    expect(samples.locator(".tile")).to_have_count(1)
    expect(samples.get_by_label("order:")).to_be_hidden()
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360


# The slider, the address, the keyboard, small screens


def test_slider_keyboard_and_address(context: BrowserContext, address: str) -> None:
    page = open_run(context, address, "digits")
    expect(panel(page, "Samples").locator("h3")).to_contain_text("step 30")
    page.keyboard.press("Home")
    expect(panel(page, "Samples").locator("h3")).to_contain_text("step 0")
    assert shown_step(page) == 0
    page.keyboard.press("ArrowRight")
    expect(page.locator("output")).not_to_contain_text("step 0 of")
    after = shown_step(page)
    page.keyboard.press("ArrowLeft")
    expect(page.locator("output")).to_contain_text("step 0 of")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator("output")).not_to_contain_text("step 0 of")
    assert shown_step(page) > after
    page.locator("summary").press("Space")  # opens the settings, and plays nothing
    expect(panel(page, "Recipe").locator("details")).to_have_attribute("open", "")
    page.locator("summary").blur()
    page.keyboard.press("Home")
    page.keyboard.press("Space")  # the film plays to its end
    expect(panel(page, "Samples").locator("h3")).to_contain_text("step 30")
    expect(page.get_by_role("button", name="play", exact=True)).to_be_visible()
    page.keyboard.press("Home")
    page.locator("#scrubber select").select_option("seconds")
    expect(page.locator("output")).to_contain_text(" s of ")
    page.get_by_label("colours:").select_option("dark")
    page.keyboard.press("Escape")
    again = context.new_page()  # the same address shows the same
    again.goto(page.url)
    expect(panel(again, "Where it stands").locator("h3")).to_have_text("digits")
    expect(again.locator("html")).to_have_attribute("data-theme", "dark")
    expect(again.locator("#scrubber select")).to_have_value("seconds")
    again.evaluate("location.hash = 'axis=weeks&order=odd&theme=plaid&at=x&lesson=99&explorer=x&runs=none'")
    expect(again.locator("output")).to_contain_text("step ")  # what the address does not mean is left out


def test_a_chart_moves_the_slider(context: BrowserContext, address: str) -> None:
    page = open_run(context, address, "digits")
    panel(page, "Curves").locator(".u-over").first.click()  # in its middle, once the page has settled
    expect(page.locator("output")).to_contain_text("step 15 of")


@pytest.mark.parametrize("name", ["ring", "digits"])
def test_a_small_screen(context: BrowserContext, address: str, name: str) -> None:
    page = open_run(context, address, name)
    page.set_viewport_size({"width": 360, "height": 740})
    expect(panel(page, "Curves").locator(".u-over").first).to_be_attached()
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 360


def test_every_control_has_a_name(context: BrowserContext, address: str) -> None:
    """For people who hear the page."""
    page = open_run(context, address, "digits")
    expect(panel(page, "Explore the latents").locator("iframe")).to_have_attribute("title", re.compile("samples"))
    script = """() => [...document.querySelectorAll("button, input, select")].filter(each =>
        !(each.getAttribute("aria-label") || each.textContent.trim() || each.title || each.labels?.length)).length"""
    assert page.evaluate(script) == 0


@pytest.mark.parametrize("name", ["digits", "ring"])
def test_the_film_is_saved(context: BrowserContext, address: str, runs: Path, name: str) -> None:
    page = open_run(context, address, name)
    title = "Samples" if name == "digits" else "The game in the plane"
    expect(panel(page, title).locator(".tile, canvas").first).to_be_visible()
    with page.expect_download(timeout=60_000) as found:  # the browser draws and compresses each frame
        page.get_by_role("button", name="save film").click()
    with Image.open(BytesIO(Path(found.value.path()).read_bytes())) as film:
        assert film.format == "WEBP"
        assert getattr(film, "n_frames", 1) == len(Run(runs / name).frame_steps())


# The latents


def test_the_explorer_is_the_exported_page(context: BrowserContext, address: str, runs: Path) -> None:
    page = open_run(context, address, "digits")
    explorer = panel(page, "Explore the latents")
    explorer.scroll_into_view_if_needed()
    frame = explorer.frame_locator("iframe")
    command = frame.locator("code")
    expect(command).to_contain_text("--seed 0")
    frame.get_by_label("class").select_option(label="3")
    expect(command).to_contain_text("--label 3")
    generator = sparring.load(runs / "digits")
    expect(frame.locator("body")).to_have_attribute("data-drawn", re.compile(r"\d+"))
    data = frame.locator(".grid canvas").evaluate("each => each.toDataURL().split(',')[1]")
    with Image.open(BytesIO(base64.b64decode(data))) as drawn:
        found = np.asarray(drawn.convert("L"))[:28, :28].astype(int)
    assert np.abs(found - generator.sample(1, labels="3")[0]).max() <= 1
    frame.get_by_label("direction 1").fill("2")
    expect(frame.locator("body")).to_contain_text("There is no command for these samples")
    page.wait_for_function("() => new URLSearchParams(location.hash.slice(1)).get('explorer')?.includes('sliders=2')")
    again = context.new_page()
    again.goto(page.url)  # a link opens the same view
    expect(panel(again, "Explore the latents").frame_locator("iframe").get_by_label("direction 1")).to_have_value("2")
    again.close()
    page.locator("#runs b").get_by_text("ring", exact=True).click()  # which has no such class
    expect(frame.locator(".grid canvas")).to_be_visible()
    expect(page.locator("#message")).to_be_empty()


def test_the_nearest_items(context: BrowserContext, address: str) -> None:
    page = open_run(context, address, "digits")
    panel(page, "Samples").locator(".tile").nth(7).click()
    expect(page.locator("dialog .nearest figure")).to_have_count(3)
    expect(page.locator("dialog")).to_contain_text("training items, with their distances")


# Runs that change


def test_a_live_run_and_one_that_is_resumed(context: BrowserContext, tmp_path: Path) -> None:
    """New lines are seen; a log that was cut shows what it holds now."""
    run = make_run(tmp_path / "run", num_lines=5, status="running")
    with serve(tmp_path) as url:
        page = context.new_page()
        page.goto(url)
        expect(page.locator("output")).to_contain_text("step 4 of 4")
        with (run / "log.jsonl").open("a") as file:
            file.write(json.dumps(make_line(77)) + "\n" + '{"step": 78, "ima')  # and half a line
        expect(page.locator("output")).to_contain_text("step 77 of 77")
        (run / "log.jsonl").write_text("".join(json.dumps(make_line(step)) + "\n" for step in range(0, 60, 5)))
        expect(page.locator("output")).to_contain_text("step 55 of 55", timeout=5_000)
        make_run(tmp_path / "later", num_lines=3)
        expect(page.locator("#runs li")).to_have_count(2, timeout=8_000)
        shutil.rmtree(run)
        expect(page.locator("#runs li")).to_have_count(1, timeout=8_000)
        page.close()


def test_a_training_is_watched(context: BrowserContext, tmp_path: Path) -> None:
    """A real one, from its first second on, killed and resumed."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "sparring", "train", "ring", "--steps", "100000", "--out", str(out)]
    command += ["--width", "8", "--batch-size", "32", "--set", "checkpoint_steps=20", "--set", "log_steps=5"]
    training = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        with serve(tmp_path) as url:
            page = context.new_page()
            page.goto(url)
            expect(panel(page, "Where it stands")).to_contain_text("Training: ", timeout=60_000)
            page.wait_for_function("() => Number(document.querySelector('#scrubber input').max) > 100", timeout=60_000)
            training.kill()
            training.wait()
            expect(panel(page, "Where it stands")).to_contain_text("Cut off without warning")
            expect(panel(page, "Where it stands").locator("code")).to_contain_text("sparring resume")
            expect(page.locator("#runs small").first).to_contain_text(re.compile(r"[1-9][\d,]* steps, cut off"))
            sparring.resume(out, steps=Run(out).log()[-1]["step"] + 40)
            last = Run(out).log()[-1]["step"]
            expect(page.locator("output")).to_contain_text(f"of {last:,}", timeout=8_000)
            expect(panel(page, "Where it stands")).to_contain_text("Finished: ")
            page.close()
    finally:
        training.kill()


def test_a_server_that_is_gone_is_said_to_be(browser: Any, tmp_path: Path) -> None:
    """And the page goes on when it is there again, on the same port with a new token in another window."""
    make_run(tmp_path / "run", num_lines=4)
    context = browser.new_context()
    page = context.new_page()
    server = serve(tmp_path)
    with server as url:
        page.goto(url)
        expect(page.locator("output")).to_contain_text("step 3 of 3")
    expect(page.locator("#message")).to_contain_text("does not answer", timeout=8_000)
    expect(page.locator("output")).to_contain_text("step 3 of 3")  # what was shown stays
    port = int(re.search(r":(\d+)/", url)[1])  # type: ignore[index]
    with serve(tmp_path, port=port) as again:
        context.new_page().goto(again)
        expect(page.locator("#message")).to_be_empty(timeout=8_000)
    context.close()
