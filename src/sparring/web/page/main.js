// Puts the page together: fetches what changed, works out what is to be seen at the position, and tells the panels.

import { makeCharts } from "./charts.js";
import { makeClasses } from "./classes.js";
import { choice, loadImage, numbers, panel } from "./elements.js";
import { makeExplorer } from "./explorer.js";
import { makeLesson } from "./lesson.js";
import { makePoints } from "./points.js";
import { makeRecipes, makeRuns, makeStatus } from "./runs.js";
import { makeSamples } from "./samples.js";
import { makeScrubber } from "./scrubber.js";
import { addLines, openSeries, placeAt } from "./series.js";
import { httpSource, inlineSource } from "./source.js";
import { openState } from "./state.js";

const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#888888", "#f0e442"]; // Okabe and Ito's
const POLL = 1750; // milliseconds: a new line is seen within two seconds
const SELDOM = 3; // the list and the pictures are asked for each so many times
const KEPT = 400; // frames in memory
const SAID = 8000; // milliseconds for which a message is shown
const LOADING = "Loading …";
const NO_RUNS = "There are no runs here yet. Start one with: sparring train";
const LOST = "The server does not answer, so this page may be out of date.";

start();

function start() {
    const data = JSON.parse(document.getElementById("data").textContent);
    const state = openState(), source = data.runs ? inlineSource(data) : httpSource();
    const message = document.getElementById("message");
    const loaded = new Map(); // what is known of each run by its id
    const cache = new Map(); // frames by run and step, the newest used last
    const colors = new Map(); // of runs, each as it was last shown
    let silence = null;
    const page = {
        state, source, meta: null, frame: loadFrame, redraw: schedule,
        // A message at the bottom: for a while, or until another one takes its place.
        say(text, stays = false) {
            clearTimeout(silence);
            message.textContent = text;
            if (!stays) silence = setTimeout(() => { message.textContent = ""; }, SAID);
        },
    };

    const scrubber = makeScrubber(document.getElementById("scrubber"), page);
    page.film = scrubber.film;
    const list = makeRuns(document.getElementById("runs"), page);
    const panels = [
        ["Where it stands", "How far the training is, and which alarms are active at the slider's position.", makeStatus],
        ["Samples", "What the generator makes of the same latents throughout the training.", makeSamples],
        ["The game in the plane", "Blue points are real, orange points are generated. The colour behind them is the discriminator's probability that a point there is real: blue is more than one half, orange less.", makePoints],
        ["The nine steps", "One iteration of this training, one step at a time.", makeLesson],
        ["Explore the latents", "Samples of the generator as the training saved it last. They are drawn here, in this page.", makeExplorer],
        ["Classes", "The share of each class among 500 samples. A sample counts for the class of the training items nearest to it. The dashed line is the share of the class in the data.", makeClasses],
        ["Curves", "Drag in a chart to move the slider. A shaded background marks the times with an alarm.", makeCharts],
        ["Recipe", "Every setting of the training.", makeRecipes],
    ].map(([title, sentence, make]) => {
        const { section, body } = panel(title, sentence);
        document.getElementById("panels").append(section);
        return make(body, page);
    });
    const theme = choice("colours:", { auto: "as the system", light: "light", dark: "dark" }, (chosen) => state.set({ theme: chosen }));
    document.getElementById("settings").append(theme.label);

    const isDarkOutside = matchMedia("(prefers-color-scheme: dark)");
    let all = [], version = 0, round = 0, isDrawing = false, isBusy = false, isWanted = false;
    state.listen((values, changes) => {
        if ("runs" in changes) refresh();
        schedule();
    });
    addEventListener("hashchange", () => state.reread());
    addEventListener("resize", schedule);
    isDarkOutside.addEventListener("change", schedule);
    refresh();
    if (source.isLive) setInterval(() => document.visibilityState === "visible" && refresh(), POLL);

    // Ask for what is new: the list of runs, and for each shown run its lines and its frames.
    async function refresh() {
        if (isBusy) {
            isWanted = true;
            return;
        }
        isBusy = true;
        try {
            if (round++ % SELDOM === 0 || !all.length) all = await source.runs();
            if (!page.meta) {
                schedule(); // the list is there before PyTorch is, which the rest needs
                page.meta = await source.meta();
            }
            await Promise.all(shownIds().map(refreshRun));
            if (document.body.dataset.lost) page.say("");
            delete document.body.dataset.lost;
        } catch (error) {
            document.body.dataset.lost = "yes";
            page.say(error.status ? error.message : LOST, true);
        }
        isBusy = false;
        schedule();
        if (isWanted) {
            isWanted = false;
            refresh();
        }
    }

    function shownIds() {
        const known = new Set(all.map((run) => run.id));
        const wanted = state.get().runs.filter((id) => known.has(id));
        return wanted.length ? wanted : all.slice(0, 1).map((run) => run.id);
    }

    async function refreshRun(id) {
        const old = loaded.get(id);
        const log = await source.log(id, old?.after ?? 0);
        // The rest is asked for if it has changed, but not each time.
        const changed = String([log.is_training, ...log.changed]);
        const isDue = changed !== old?.changed && (!old || log.is_training !== old.info.is_training || round % SELDOM === 0);
        const [info, frames] = isDue ? await Promise.all([source.info(id), source.frames(id)]) : [old.info, old.frames];
        const isNew = !old || log.reset;
        const run = isNew ? { id, series: openSeries() } : old;
        addLines(run.series, log.lines, info.rates);
        const stand = (each) => JSON.stringify([each.info.is_training, each.info.summary, each.frames.steps.length]);
        const isChanged = isNew || log.lines.length || stand({ info, frames }) !== stand(old);
        Object.assign(run, { name: all.find((each) => each.id === id).name, info, after: log.after, frames, changed: isDue ? changed : old.changed });
        if (log.reset) for (const key of [...cache.keys()]) if (key.startsWith(`${id} `)) cache.delete(key);
        loaded.set(id, run);
        if (isChanged) version++;
    }

    // A frame with its picture ready to be drawn; the least recently used ones are forgotten.
    function loadFrame(id, step) {
        const key = `${id} ${step}`;
        if (!cache.has(key)) {
            cache.set(key, source.frame(id, step).then(async (frame) => {
                if (frame.picture) {
                    frame.url = URL.createObjectURL(blobOf(frame.picture));
                    const image = await loadImage(frame.url);
                    [frame.width, frame.height] = [image.naturalWidth, image.naturalHeight];
                }
                return frame;
            }));
            cache.get(key).catch(() => cache.delete(key));
        }
        const found = cache.get(key);
        cache.delete(key);
        cache.set(key, found);
        while (cache.size > KEPT) {
            const [oldest, frame] = cache.entries().next().value;
            cache.delete(oldest);
            frame.then((each) => each.url && URL.revokeObjectURL(each.url)).catch(() => {});
        }
        return found;
    }

    function schedule() {
        if (isDrawing) return;
        isDrawing = true;
        requestAnimationFrame(() => {
            isDrawing = false;
            draw();
        });
    }

    function draw() {
        const { axis, at } = state.get();
        document.documentElement.dataset.theme = theme.select.value = state.get().theme;
        const isDark = theme.select.value === "dark" || (theme.select.value === "auto" && isDarkOutside.matches);
        const shown = shownIds();
        giveColours(shown);
        list.update(all, shown, colors);
        const runs = shown.map((id) => loaded.get(id)).filter(Boolean);
        for (const run of runs) run.color = colors.get(run.id);
        const ends = runs.flatMap((run) => [run.series[axis].at(-1) ?? 0, run.frames[axis === "step" ? "steps" : "seconds"].at(-1) ?? 0]);
        const last = Math.max(0, ...ends), position = at === null ? last : Math.min(at, last);
        for (const run of runs) chooseFrame(run, axis, position);
        // What was drawn of other runs, or of older lines, is drawn again where the version is another one.
        const view = { runs, axis, position, end: last, last: last || 1, version: `${version} ${runs.map((run) => run.id + run.color)}`, theme: isDark };
        document.body.classList.toggle("nothing", !runs.length);
        if (!runs.length) {
            if (round > 0 && !document.body.dataset.lost) page.say(all.length ? LOADING : NO_RUNS, true);
            return;
        }
        if ([LOADING, NO_RUNS].includes(message.textContent)) page.say("");
        for (const each of [scrubber, ...panels]) each.update(view);
    }

    // A run keeps its colour, unless another one that is shown has it.
    function giveColours(shown) {
        const taken = new Set();
        for (const id of shown) {
            if (!colors.has(id) || taken.has(colors.get(id))) colors.set(id, COLOURS.find((color) => !taken.has(color)) ?? COLOURS.at(-1));
            taken.add(colors.get(id));
        }
    }

    // The newest frame at or before the position, and the one before it that holds a lesson; both arrive later.
    function chooseFrame(run, axis, position) {
        const places = run.frames[axis === "step" ? "steps" : "seconds"];
        const number = Math.max(0, placeAt(places, position + 1e-9));
        const step = run.frames.steps[number];
        if (step === undefined || run.wanted === step) return;
        run.wanted = step;
        loadFrame(run.id, step).then(async (frame) => {
            if (run.wanted !== step) return;
            run.frame = frame;
            run.first ??= await loadFrame(run.id, run.frames.steps[0]);
            schedule();
            if (frame.points) findDeep(run, number, step);
        }).catch((error) => page.say(error.message));
        for (const ahead of run.frames.steps.slice(number + 1, number + 4)) loadFrame(run.id, ahead).catch(() => {});
    }

    // Only some frames of points hold a lesson, and the best discriminator: the newest of each.
    async function findDeep(run, number, step) {
        const found = {};
        for (let each = number; each >= Math.max(0, number - 16) && !(found.lesson && found.optimum); each--) {
            const frame = await loadFrame(run.id, run.frames.steps[each]);
            if (run.wanted !== step) return;
            for (const name of ["lesson", "optimum"]) if (frame.points?.[name]) found[name] ??= frame;
        }
        Object.assign(run, { lessonFrame: found.lesson, optimumFrame: found.optimum });
        schedule();
    }
}

// The bytes of a data URL. `fetch` would do, but a page without a server may fetch nothing.
function blobOf(url) {
    const [head, text] = url.split(",");
    return new Blob([numbers(text, Uint8Array)], { type: head.slice(5).split(";")[0] });
}
