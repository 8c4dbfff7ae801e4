// The latent window: drag through a plane of seeds, push along the generator's principal directions, keep favourites.

import { command, element, inWords } from "./elements.js";
import { drawPlane, toPlane } from "./points.js";

const PAD = 260; // pixels of the square that is dragged
const SPAN = 4; // seeds along each side of it
const ACROSS = 1000; // the seed's number grows by this from one row of the plane to the next

export function makeExplorer(host, page) {
    const { state, source } = page;
    const pad = element("canvas", { class: "pad", width: PAD, height: PAD, tabindex: 0, role: "application", "aria-label": "a plane of seeds: drag, or use the arrow keys" });
    const result = element("div", { class: "sample" }), line = element("p", { class: "command-line" });
    const sliders = element("div", { class: "sliders" }), tools = element("p", { class: "tools" }), kept = element("div", { class: "kept" });
    host.append(element("div", { class: "explorer" }, element("div", {}, pad, tools), result, element("div", {}, sliders)), line, kept);
    const walker = element("button", { type: "button", title: "go from each kept place to the next", onclick: walk }, "walk");
    let run = null, about = null, opened = "", isAsking = false, isStale = false, last = "";

    const place = () => state.get().seeds.split(",").map((text) => Number(text) || 0);
    const values = () => state.get().sliders.split(",").map((text) => Number(text) || 0);

    // The four seeds around a place in the plane, and how much each counts.
    function mix([x, y]) {
        const [left, low] = [Math.floor(x), Math.floor(y)], [right, up] = [x - left, y - low];
        const corners = [[0, 0, (1 - right) * (1 - up)], [1, 0, right * (1 - up)], [0, 1, (1 - right) * up], [1, 1, right * up]];
        return corners.filter(([, , weight]) => weight > 1e-6).map(([across, high, weight]) => [left + across + ACROSS * (low + high), weight]);
    }

    function request() {
        const { label, truncation } = state.get(); // which may be another run's
        const isKnown = about.labels.includes(label), isGaussian = about.prior === "gaussian";
        return { seeds: [mix(place())], directions: values().slice(0, about.directions), label: isKnown ? label : null, truncation: isGaussian && truncation ? Number(truncation) : null };
    }

    // One question at a time: while the answer is awaited, only the newest wish is kept.
    async function ask() {
        if (!run || !about) return;
        if (isAsking) {
            isStale = true;
            return;
        }
        const wish = JSON.stringify([run.id, request()]);
        if (wish === last) return;
        isAsking = true;
        try {
            const answer = await source.explore(run.id, request());
            last = wish;
            show(answer);
        } catch (error) {
            if (error.status !== 429) last = wish; // what the server refuses once is not asked again
            page.say(error.message);
        }
        isAsking = false;
        if (isStale) {
            isStale = false;
            ask();
        }
    }

    function show(answer) {
        const [item] = answer.items;
        const shown = item.picture ? [element("img", { src: item.picture, alt: "the sample of this latent" })] : [element("p", {}, `(${item.numbers.map(inWords).join(", ")})`)];
        const extent = run.frame?.points?.extent; // of points in the plane: the sample among the real points
        if (extent) shown.unshift(drawPlane({ real: run.frames.data?.real, fakes: toPlane(item.numbers, extent), extent, size: 10 }, PAD));
        result.replaceChildren(...shown, ...(item.sound ? [element("audio", { controls: true, src: item.sound })] : []));
        line.replaceChildren(answer.command ? command(answer.command) : element("span", { class: "quiet" }, "There is no command for this sample: it lies between seeds, or a slider is not at zero. Double-click the plane to go to the nearest seed."));
    }

    function drawPad() {
        const context = pad.getContext("2d"), style = getComputedStyle(document.body), [x, y] = place();
        const cell = PAD / SPAN, first = [Math.floor(x - SPAN / 2), Math.floor(y - SPAN / 2)];
        context.clearRect(0, 0, PAD, PAD);
        context.strokeStyle = style.getPropertyValue("--rule");
        context.fillStyle = style.getPropertyValue("--quiet");
        context.font = "11px system-ui";
        for (let column = 0; column <= SPAN + 1; column++) {
            for (let row = 0; row <= SPAN + 1; row++) {
                const [seedX, seedY] = [first[0] + column, first[1] + row];
                const [px, py] = [PAD / 2 + (seedX - x) * cell, PAD / 2 - (seedY - y) * cell];
                context.strokeRect(px, py, cell, cell);
                const seed = seedX + ACROSS * seedY;
                if (seed >= 0) context.fillText(String(seed), px + 3, py - 3);
            }
        }
        context.fillStyle = style.getPropertyValue("--accent");
        context.beginPath();
        context.arc(PAD / 2, PAD / 2, 6, 0, 7);
        context.fill();
    }

    const clamp = ([x, y]) => [Math.max(0, Math.min(ACROSS - 2, x)), Math.max(0, y)].map((value) => Math.round(value * 1000) / 1000);
    const goTo = (where) => state.set({ seeds: clamp(where).join(",") });
    pad.addEventListener("pointerdown", (event) => {
        pad.setPointerCapture(event.pointerId);
        let from = [event.clientX, event.clientY];
        const drag = (moved) => {
            const [x, y] = place(), cell = PAD / SPAN;
            goTo([x - (moved.clientX - from[0]) / cell, y + (moved.clientY - from[1]) / cell]);
            from = [moved.clientX, moved.clientY];
        };
        pad.addEventListener("pointermove", drag);
        pad.addEventListener("pointerup", () => pad.removeEventListener("pointermove", drag), { once: true });
    });
    pad.addEventListener("dblclick", () => goTo(place().map(Math.round)));
    pad.addEventListener("keydown", (event) => {
        const by = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
        if (!by) return;
        event.preventDefault();
        event.stopPropagation();
        const [x, y] = place();
        goTo([x + by[0], y + by[1]]);
    });

    function build() {
        const setSlider = (number, value) => {
            const now = values();
            while (now.length <= number) now.push(0);
            now[number] = value;
            state.set({ sliders: now.join(",") });
        };
        sliders.replaceChildren(
            element("p", { class: "quiet" }, "Move the latents along the directions that change the samples most, by up to four standard deviations:"),
            ...Array.from({ length: about.directions }, (_, number) => {
                const slider = element("input", { type: "range", min: -4, max: 4, step: 0.1, value: 0, "aria-label": `direction ${number + 1}` });
                slider.addEventListener("input", () => setSlider(number, Number(slider.value)));
                return element("label", {}, `${number + 1} `, slider);
            }),
            element("button", { type: "button", onclick: () => state.set({ sliders: "" }) }, "back to zero"),
        );
        const labels = about.labels.length ? [choose("label", "class", "any", about.labels)] : [];
        const truncations = about.prior === "gaussian" ? [choose("truncation", "truncation", "none", ["2", "1", "0.7", "0.5", "0.3"])] : [];
        tools.replaceChildren(...labels, ...truncations, element("button", { type: "button", title: "keep this place", onclick: keep }, "keep"), walker);
    }

    function choose(field, name, none, options) {
        const select = element("select", { "data-field": field, onchange: () => state.set({ [field]: select.value }) }, element("option", { value: "" }, none), ...options.map((each) => element("option", { value: each }, each)));
        return element("label", {}, `${name} `, select);
    }

    // The controls show what the address says, also after a step back.
    function setControls() {
        for (const [number, slider] of sliders.querySelectorAll("input").entries()) slider.value = values()[number] ?? 0;
        for (const select of tools.querySelectorAll("select")) {
            select.value = state.get()[select.dataset.field];
            if (select.selectedIndex < 0) select.value = "";
        }
    }

    // Favourites are places with their sliders; a walk goes from one to the next and round again.
    const favourites = () => state.get().kept.split("|").filter(Boolean);
    function keep() {
        state.set({ kept: [...favourites(), `${state.get().seeds};${state.get().sliders}`].join("|") });
    }
    function goToFavourite(text) {
        const [seeds, sliderValues] = text.split(";");
        state.set({ seeds, sliders: sliderValues ?? "" });
    }
    async function walk() {
        const stops = favourites();
        if (stops.length < 2) return page.say("Keep two places or more first: the walk goes from one to the next.");
        walker.disabled = true;
        const read = (text) => text.split(";").map((part) => part.split(",").map((each) => Number(each) || 0));
        for (let number = 0; number < stops.length; number++) {
            const [from, to] = [read(stops[number]), read(stops[(number + 1) % stops.length])];
            for (let part = 0; part < 24; part++) {
                const share = part / 24, between = (one = 0, other = 0) => Math.round((one + (other - one) * share) * 1000) / 1000;
                const longest = Math.max(from[1].length, to[1].length);
                state.set({
                    seeds: [0, 1].map((axis) => between(from[0][axis], to[0][axis])).join(","),
                    sliders: Array.from({ length: longest }, (_, axis) => between(from[1][axis], to[1][axis])).join(","),
                });
                await new Promise((done) => setTimeout(done, 50));
            }
        }
        walker.disabled = false;
    }

    return {
        update(view) {
            run = view.runs[0] ?? null;
            const key = run ? `${run.id} ${run.info.has_latents}` : "";
            if (key !== opened) {
                opened = key;
                about = null;
                host.parentElement.hidden = true;
                if (!run?.info.has_latents || !source.isLive) return;
                source.explorer(run.id).then((answer) => {
                    if (key !== opened) return;
                    about = answer;
                    host.parentElement.hidden = !about;
                    if (about) {
                        last = pad.dataset.drawn = "";
                        build();
                        page.redraw();
                    }
                }).catch((error) => page.say(error.message));
            }
            if (!about) return;
            const { seeds, sliders: moves, label, truncation, kept: places } = state.get();
            const now = [seeds, moves, label, truncation, places, view.theme].join();
            if (pad.dataset.drawn !== now) {
                pad.dataset.drawn = now;
                drawPad();
                setControls();
                kept.replaceChildren(...favourites().map((text, number) => element("button", { type: "button", onclick: () => goToFavourite(text) }, `place ${number + 1}`)),
                    ...(favourites().length ? [element("button", { type: "button", onclick: () => state.set({ kept: "" }) }, "forget all")] : []));
            }
            ask();
        },
    };
}
