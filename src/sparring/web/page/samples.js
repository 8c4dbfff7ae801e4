// Samples of the same latents through time, with the discriminator's probability of each, and what they resemble.

import { choice, element, inWords, loadImage, save } from "./elements.js";
import { animate } from "./film.js";
import { drawPlane } from "./points.js";

const TILE = 48, LARGEST_TILE = 96; // pixels on the screen: small tiles are enlarged to about the first
const ORDERS = { drawn: "as drawn", worst: "least probable first", best: "most probable first", class: "by class" };

export function makeSamples(host, page) {
    const { state } = page;
    const order = choice("order:", ORDERS, (chosen) => state.set({ order: chosen }));
    const scale = element("span", { class: "legend" }, "Click a sample to see the training items nearest to it. The line below it is the discriminator's probability that it is real, from ", element("b", { class: "low" }, "0"), " to ", element("b", { class: "high" }, "1"));
    const body = element("div", { class: "runs-side-by-side" });
    const tools = element("p", { class: "tools" }, order.label, " ", scale);
    host.append(tools, body);
    const grids = new Map();
    let runs = [];
    const dialog = element("dialog", { "aria-label": "a sample" });
    document.body.append(dialog);
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

    page.film.append(element("button", { type: "button", title: "save the samples throughout the training as an animated picture", onclick: saveFilm }, "save film"));

    async function saveFilm() {
        const run = runs.find((each) => each.frame);
        if (!run) return;
        page.say("Making the film …", true);
        try {
            const pictures = [];
            for (const step of run.frames.steps) {
                const frame = await page.frame(run.id, step).catch(() => null); // it was thinned out just now
                if (!frame) continue;
                const { picture, points } = frame;
                const image = picture ? await loadImage(picture) : drawPlane({ map: points.map, real: run.frames.data?.real, fakes: points.samples, extent: points.extent });
                pictures.push({ image, text: `step ${inWords(step)}` });
            }
            save(await animate(pictures, 100), `${run.name}.webp`);
            page.say(`Saved a film of ${inWords(pictures.length)} frames.`);
        } catch (error) {
            page.say(`The film could not be made: ${error.message}.`);
        }
    }

    // One run's samples: a button for each, all with the same picture as background, each with its own part of it.
    function makeGrid(run) {
        const title = element("h3", { style: `--colour: ${run.color}` });
        const tiles = element("div", { class: "tiles" });
        const box = element("div", { class: "run-samples" }, title, tiles);
        return { run, title, tiles, box, buttons: [], shown: "", frame: null };
    }

    function fill(grid, frame, by) {
        const key = `${frame.step} ${by}`;
        if (grid.shown === key) return;
        grid.shown = key;
        grid.frame = frame;
        const [width, height] = frame.tile;
        const room = grid.tiles.clientWidth || 480;
        // A picture that is no grid of samples, such as a scatter plot or a list of words, is shown whole.
        grid.isWhole = frame.width <= width && frame.height <= height;
        const usual = Math.max(1, Math.round(Math.min(TILE, room / frame.columns - 6) / width));
        const zoom = Math.min(usual, (grid.isWhole ? room : LARGEST_TILE) / width);
        const count = grid.isWhole ? 1 : frame.probabilities.length;
        grid.tiles.style.setProperty("--picture", `url("${frame.url}")`);
        grid.tiles.style.maxWidth = `${frame.columns * (width * zoom + 2)}px`;
        while (grid.buttons.length < count) {
            const button = element("button", { type: "button", class: "tile" });
            grid.buttons.push(button);
            grid.tiles.append(button);
        }
        while (grid.buttons.length > count) grid.buttons.pop().remove();
        const places = grid.isWhole ? [0] : sorted(frame, by), step = [width + frame.gap, height + frame.gap];
        for (const [place, index] of places.entries()) {
            const button = grid.buttons[place], row = Math.floor(index / frame.columns), column = index % frame.columns;
            const probability = frame.probabilities[index];
            button.style.cssText =
                `width: ${width * zoom}px; height: ${height * zoom}px; ` +
                `background-position: ${-column * step[0] * zoom}px ${-row * step[1] * zoom}px; ` +
                `background-size: ${frame.width * zoom}px ${frame.height * zoom}px; --probability: ${probability ?? 0.5}; ${zoom < 1 ? "image-rendering: auto" : ""}`;
            button.disabled = grid.isWhole;
            if (grid.isWhole) {
                button.title = `samples of step ${inWords(frame.step)}`;
                button.setAttribute("aria-label", button.title);
                continue;
            }
            const label = frame.labels[index] ?? "";
            button.setAttribute("aria-label", `sample ${index + 1}${label ? `, ${label}` : ""}, probability ${inWords(probability)}`);
            button.title = `${label ? `${label}, ` : ""}probability ${inWords(probability)}`;
            button.onclick = () => open(grid, index, zoom);
        }
    }

    async function open(grid, index, zoom) {
        const frame = grid.frame, { run } = grid;
        const [width, height] = frame.tile, big = Math.max(zoom, Math.round(160 / width));
        const row = Math.floor(index / frame.columns), column = index % frame.columns;
        const tile = element("div", { class: "big tile", role: "img", "aria-label": "the sample" });
        tile.style.cssText =
            `width: ${width * big}px; height: ${height * big}px; background-image: url("${frame.url}"); ` +
            `background-position: ${-column * (width + frame.gap) * big}px ${-row * (height + frame.gap) * big}px; ` +
            `background-size: ${frame.width * big}px ${frame.height * big}px`;
        const near = element("div", { class: "nearest" }, "Looking for the nearest training items …");
        const label = frame.labels[index];
        dialog.replaceChildren(
            element("h3", {}, `${run.name}, step ${inWords(frame.step)}, sample ${index + 1}`),
            element("div", { class: "one" }, tile, element("p", {}, label ? `Class ${label}. ` : "", `The discriminator takes it for real with probability ${inWords(frame.probabilities[index])}.`)),
            near,
            element("form", { method: "dialog" }, element("button", {}, "close")),
        );
        dialog.showModal();
        try {
            const found = await page.source.nearest(run.id, frame.step, index);
            if (!found) near.textContent = "To see the nearest training items of this sample, open the live page: sparring watch.";
            else near.replaceChildren(
                element("p", {}, `The nearest of ${inWords(found.of)} training items, with their distances. A distance of 1 is usual between two training items.`),
                ...found.items.map((item) => element("figure", {}, item.picture ? element("img", { src: item.picture, alt: item.label || "a training item" }) : `(${item.numbers.map(inWords).join(", ")})`, ...(item.sound ? [element("audio", { controls: true, src: item.sound })] : []), element("figcaption", {}, `${item.label ? `${item.label}, ` : ""}distance ${inWords(item.distance)}`))),
            );
        } catch (error) {
            near.textContent = error.message;
        }
    }

    return {
        update(view) {
            const { order: by } = state.get();
            const shown = view.runs.filter((run) => run.frame?.url).slice(0, 6);
            runs = view.runs;
            order.select.value = by;
            page.film.hidden = !runs.some((run) => run.frame);
            for (const [id, grid] of grids) {
                if (!shown.some((run) => run.id === id)) {
                    grid.box.remove();
                    grids.delete(id);
                }
            }
            for (const run of shown) {
                if (!grids.has(run.id)) {
                    const grid = makeGrid(run);
                    grids.set(run.id, grid);
                    body.append(grid.box);
                }
                const grid = grids.get(run.id), frame = run.frame;
                grid.run = run;
                grid.title.textContent = `${run.name}, step ${inWords(frame.step)}`;
                grid.title.style.setProperty("--colour", run.color);
                fill(grid, frame, by);
            }
            tools.hidden = [...grids.values()].every((grid) => grid.isWhole);
            host.parentElement.hidden = !shown.length;
        },
    };
}

function sorted(frame, by) {
    const places = frame.probabilities.map((_, index) => index);
    if (by === "worst") places.sort((one, other) => frame.probabilities[one] - frame.probabilities[other]);
    if (by === "best") places.sort((one, other) => frame.probabilities[other] - frame.probabilities[one]);
    if (by === "class" && frame.labels.length) places.sort((one, other) => frame.labels[one].localeCompare(frame.labels[other], "en", { numeric: true }) || one - other);
    return places;
}
