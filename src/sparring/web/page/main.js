// Puts the page together: fetches what changed, works out what is to be seen at the position, and tells the panels.

import { makeCharts } from "./charts.js";
import { makeClasses } from "./classes.js";
import { choice, panel } from "./elements.js";
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
const POLL = 1000; // milliseconds
const KEPT = 400; // frames in memory
const NO_RUNS = "there are no runs yet: start one by sparring train";

start();

function start() {
    const data = JSON.parse(document.getElementById("data").textContent);
    const state = openState(), source = data.runs ? inlineSource(data) : httpSource();
    const message = document.getElementById("message");
    const loaded = new Map(); // what is known of each run by its id
    const cache = new Map(); // frames by run and step, the newest used last
    const colors = new Map();
    const page = {
        state, source, meta: data.meta, frame: loadFrame,
        say(text) {
            message.textContent = text;
        },
        color(id) {
            if (!colors.has(id)) colors.set(id, COLOURS[colors.size % COLOURS.length]);
            return colors.get(id);
        },
    };

    const scrubber = makeScrubber(document.getElementById("scrubber"), page);
    page.film = scrubber.film;
    const list = makeRuns(document.getElementById("runs"), page);
    const panels = [
        ["Where it stands", "The state of the training, and the alarms at the slider's position.", makeStatus],
        ["Samples", "The same latents through time. Click a sample to see what it resembles.", makeSamples],
        ["The game in the plane", "Blue is real, vermillion is generated. The discriminator's map says which it believes where.", makePoints],
        ["The nine steps", "One iteration of this training, one step at a time.", makeLesson],
        ["Explore the latents", "Drag the plane: the numbers are seeds, and between them the latents are mixed.", makeExplorer],
        ["Classes", "The share of 500 samples that look like each class, by their nearest training samples. The line is the data's own share.", makeClasses],
        ["Curves", "Drag in a chart to move the slider. Shaded: times with an alarm.", makeCharts],
        ["Recipe", "Every setting of the training.", makeRecipes],
    ].map(([title, sentence, make]) => {
        const { section, body } = panel(title, sentence);
        document.getElementById("panels").append(section);
        return make(body, page);
    });
    document.getElementById("settings").append(choice("colours:", { auto: "as the system", light: "light", dark: "dark" }, state.get().theme, (theme) => state.set({ theme })));

    let all = [], version = 0, round = 0, isDrawing = false, isBusy = false, isWanted = false;
    state.listen((values, changes) => {
        if ("runs" in changes) refresh();
        schedule();
    });
    addEventListener("hashchange", () => state.reread());
    addEventListener("resize", schedule);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", schedule);
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
            if (round++ % 3 === 0 || !all.length) all = await source.runs();
            await Promise.all(shownIds().map(refreshRun));
            document.body.classList.remove("lost");
            if (document.body.dataset.lost) page.say("");
            delete document.body.dataset.lost;
        } catch (error) {
            document.body.dataset.lost = "yes";
            page.say(error.status ? error.message : "the server does not answer: what is shown may be old");
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
        const [info, log, frames] = await Promise.all([
            !old || old.info.is_training || round % 5 === 0 ? source.info(id) : old.info,
            source.log(id, old?.after ?? 0), source.frames(id),
        ]);
        const isNew = !old || log.reset;
        const run = isNew ? { id, name: info.name, color: page.color(id), series: openSeries() } : old;
        addLines(run.series, log.lines, info.rates);
        const stand = (each) => JSON.stringify([each.info.is_training, each.info.summary, each.frames.steps.length]);
        const isChanged = isNew || log.lines.length || stand({ info, frames }) !== stand(old);
        Object.assign(run, { info, after: log.after, frames });
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
                    const blob = blobOf(frame.picture);
                    frame.url = URL.createObjectURL(blob);
                    const image = new Image();
                    image.src = frame.url;
                    await image.decode();
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
        const { theme, axis, at } = state.get();
        document.documentElement.dataset.theme = theme;
        const isDark = theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
        const shown = shownIds();
        list.update(all, shown);
        const runs = shown.map((id) => loaded.get(id)).filter(Boolean);
        const ends = runs.flatMap((run) => [run.series[axis].at(-1) ?? 0, run.frames[axis === "step" ? "steps" : "seconds"].at(-1) ?? 0]);
        const last = Math.max(0, ...ends), position = at === null ? last : Math.min(at, last);
        for (const run of runs) chooseFrame(run, axis, position);
        const view = { runs, axis, position, last: last || 1, version, theme: isDark };
        document.body.classList.toggle("nothing", !runs.length);
        if (!runs.length) {
            if (round > 0 && !all.length && !document.body.dataset.lost) page.say(NO_RUNS);
            return;
        }
        if (message.textContent === NO_RUNS) page.say("");
        for (const each of [scrubber, ...panels]) each.update(view);
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
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Blob([bytes], { type: head.slice(5).split(";")[0] });
}
