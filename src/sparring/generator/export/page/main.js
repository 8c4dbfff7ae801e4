// The page: a grid of samples, one of them large, and what decides them.

import { choice, command, element, numbers, save } from "./elements.js";
import { makeVoice, wavFile } from "./sound.js";
import { between, level, openSampler } from "./sampler.js";

const FRAME_MS = 12; // of work, before the browser may draw
const SIDE = 320; // pixels of a canvas with points

async function main() {
    const read = (id) => document.getElementById(id).textContent;
    const about = JSON.parse(read("about")), [features, height, width] = about.itemShape;
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(about.style);
    document.adoptedStyleSheets = [sheet];
    const message = element("p", { role: "status", "aria-live": "polite" });
    document.body.append(element("h1", {}, about.name), element("p", { class: "quiet" }, about.words), message);
    if (!globalThis.WebAssembly || !globalThis.DecompressionStream) {
        message.textContent = "This browser is too old: the page needs WebAssembly and DecompressionStream, which browsers have had since 2023.";
        return;
    }
    const sampler = await openSampler(about, read("weights"), numbers(about.kernel, Uint8Array));
    const { engine } = sampler, isPoints = about.shownAs === "points";

    // What is drawn. All of it stands in the address, so a link opens the same view.
    const FIRST = { seed: "0", label: "", truncation: "", other: "1", position: "0", chosen: "0", sliders: "" };
    const state = { ...FIRST };
    for (const [name, text] of new URLSearchParams(location.hash.slice(1))) if (name in FIRST) state[name] = text;
    const amounts = () => state.sliders.split(",").map((text) => Number(text) || 0);

    function inputs() {
        const truncation = Number(state.truncation) || null, position = Number(state.position);
        const label = about.labels.some(([, number]) => String(number) === state.label) ? Number(state.label) : null;
        let latents = sampler.latents(state.seed, about.count, truncation);
        if (position) {
            const others = sampler.latents(state.other, about.count, truncation);
            latents = latents.map((latent, number) => between(latent, others[number], position));
        }
        return { latents: latents.map((latent) => sampler.push(latent, amounts())), labels: sampler.labels(state.seed, about.count, label) };
    }

    // Drawing: the chosen sample at once, the others as time allows; what is no longer wanted is given up.
    const columns = Math.min(about.count, Math.ceil(Math.sqrt((about.count * height) / width))), rows = Math.ceil(about.count / columns);
    const [gridWidth, gridHeight] = isPoints ? [SIDE * 2, SIDE * 2] : [columns * width, rows * height];
    const drawing = { willReadFrequently: true }; // pixels are made here, not by the graphics card
    const grid = element("canvas", { width: gridWidth, height: gridHeight, tabindex: isPoints ? false : 0, role: "img", "aria-label": isPoints ? "a plane with the samples" : "samples: choose one by the arrow keys" });
    const large = element("canvas", { width: isPoints ? 1 : width, height: isPoints ? 1 : height, role: "img", "aria-label": "the chosen sample" });
    large.style.width = `min(100%, ${(24 * width) / height}rem)`; // a style in the markup would be against the policy
    const caption = element("p", { class: "quiet" }), line = element("p", { class: "quiet" });
    const voice = about.wave ? makeVoice(about.wave, height, width, sampler.singles.subarray(about.mel), sampler.singles.subarray(about.melInverse)) : null;
    let turn = 0, audio = null;

    // The chosen sample as a wave.
    function speak() {
        const { latents, labels } = inputs(), chosen = Math.min(about.count - 1, Number(state.chosen) || 0);
        return voice(engine.run([latents[chosen]], [labels[chosen]])[0]);
    }
    function play() {
        const wave = speak();
        audio ??= new AudioContext();
        const buffer = audio.createBuffer(1, wave.length, about.wave.rate), source = audio.createBufferSource();
        buffer.copyToChannel(wave, 0);
        source.buffer = buffer;
        source.connect(audio.destination);
        source.start();
    }

    function picture(sample) {
        const image = new ImageData(width, height), { data } = image;
        for (let pixel = 0; pixel < width * height; pixel++) {
            if (about.colours) {
                const [shade, row] = [level(sample[pixel]), height - 1 - Math.floor(pixel / width)]; // low frequencies below
                data.set([...about.colours.slice(3 * shade, 3 * shade + 3), 255], 4 * (row * width + (pixel % width)));
                continue;
            }
            for (let channel = 0; channel < 4; channel++) {
                const isGiven = channel < 3 || features === 4;
                data[4 * pixel + channel] = isGiven ? level(sample[features * pixel + (features === 1 ? 0 : channel)]) : 255;
            }
        }
        return image;
    }

    function draw(sample, number) {
        const context = grid.getContext("2d", drawing);
        if (isPoints) {
            const [x, y] = [0, 1].map((axis) => (0.5 + (axis ? -1 : 1) * (sample[axis] / (2 * about.extent))) * gridWidth);
            context.fillRect(x - 1.5, y - 1.5, 3, 3);
        } else context.putImageData(picture(sample), (number % columns) * width, Math.floor(number / columns) * height);
    }

    async function update() {
        const mine = ++turn, { latents, labels } = inputs(), chosen = Math.min(about.count - 1, Number(state.chosen) || 0);
        if (isPoints) {
            const context = grid.getContext("2d", drawing);
            context.clearRect(0, 0, gridWidth, gridHeight);
            context.fillStyle = getComputedStyle(document.body).getPropertyValue("--accent");
        } else large.getContext("2d").putImageData(picture(engine.run([latents[chosen]], [labels[chosen]])[0]), 0, 0);
        if (mine === 1) performance.mark("first picture");
        say(chosen, labels[chosen]);
        let since = performance.now();
        for (let number = 0; number < about.count; number += engine.together) {
            if (performance.now() - since > FRAME_MS) {
                await new Promise(requestAnimationFrame);
                since = performance.now();
            }
            if (mine !== turn) return;
            const end = number + engine.together;
            engine.run(latents.slice(number, end), labels.slice(number, end)).forEach((sample, place) => draw(sample, number + place));
        }
        document.body.dataset.drawn = mine;
    }

    function say(chosen, label) {
        const name = about.labels.find(([, number]) => label[number])?.[0];
        caption.textContent = isPoints ? "" : `sample ${chosen + 1} of ${about.count}${name ? `, ${name}` : ""}`;
        const chosenLabel = about.labels.find(([, number]) => String(number) === state.label)?.[0];
        const options = [`-n ${about.count}`, `--seed ${state.seed}`, chosenLabel ? `--label ${/^\w+$/.test(chosenLabel) ? chosenLabel : JSON.stringify(chosenLabel)}` : "", state.truncation ? `--truncation ${state.truncation}` : ""];
        const isPlain = !Number(state.position) && amounts().every((amount) => !amount);
        line.replaceChildren(...(isPlain ? ["the same in a terminal: ", command(`sparring sample RUN ${options.filter(Boolean).join(" ")}`)] : ["between seeds, or moved: no command draws this"]));
    }

    // Controls
    function set(changes) {
        Object.assign(state, changes);
        const changed = Object.entries(state).filter(([name, text]) => text !== FIRST[name]);
        try {
            history.replaceState(null, "", `#${new URLSearchParams(changed)}`);
        } catch {
            // A page inside another one has no address of its own.
        }
        requestAnimationFrame(update);
    }
    // A whole number from 0 to 2⁶⁴ − 1, as text: larger ones than 2⁵³ are no exact numbers of JavaScript.
    const seedOf = (text) => (/^\d+$/.test(text) && BigInt(text) < 2n ** 64n ? String(BigInt(text)) : "0");
    const seedInput = (name, words) => {
        const input = element("input", { type: "number", min: 0, step: 1, value: state[name], oninput: () => set({ [name]: seedOf(input.value) }) });
        return [element("label", {}, `${words} `, input), input];
    };
    state.seed = seedOf(state.seed);
    state.other = seedOf(state.other);
    const [seedLabel, seed] = seedInput("seed", "seed"), [otherLabel] = seedInput("other", "towards seed");
    const another = () => {
        seed.value = String(crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000);
        set({ seed: seed.value });
    };
    const slider = (name, value, limits, change) => {
        const input = element("input", { type: "range", ...limits, value, "aria-label": name, oninput: () => change(Number(input.value)) });
        return input;
    };
    const towards = slider("towards the other seed", state.position, { min: 0, max: 1, step: 0.01 }, (position) => set({ position: String(position) }));
    const setAmount = (number, amount) => {
        const now = Array.from({ length: about.numDirections }, (_, place) => amounts()[place] ?? 0);
        now[number] = amount;
        set({ sliders: now.some(Boolean) ? now.join(",") : "" });
    };
    const sliders = Array.from({ length: about.numDirections }, (_, number) => slider(`direction ${number + 1}`, amounts()[number] ?? 0, { min: -4, max: 4, step: 0.1 }, (amount) => setAmount(number, amount)));
    const back = () => {
        for (const each of [...sliders, towards]) each.value = 0;
        set({ sliders: "", position: "0" });
    };
    const savePng = async () => {
        await update();
        grid.toBlob((blob) => save(blob, `${about.name}-seed-${state.seed}.png`), "image/png");
    };
    // A choice of a field of the state. Keys begin with a space: an object would sort whole numbers otherwise.
    const pick = (name, options, field) => {
        const { select, label } = choice(name, { "": "any", ...Object.fromEntries(options) }, (chosen) => set({ [field]: chosen.trim() }));
        select.value = state[field] ? ` ${state[field]}` : "";
        return label;
    };
    document.body.append(
        element("div", { class: "tools" },
            seedLabel, element("button", { type: "button", onclick: another }, "another seed"),
            about.labels.length ? pick("class", about.labels.map(([name, number]) => [` ${number}`, name]), "label") : null,
            about.prior === "gaussian" ? pick("truncation", ["2", "1", "0.7", "0.5", "0.3"].map((each) => [` ${each}`, each]), "truncation") : null,
            otherLabel, towards,
            element("button", { type: "button", onclick: savePng }, "save as PNG"),
        ),
        element("main", {},
            element("div", { class: "grid" }, grid),
            isPoints ? null : element("div", {}, large, caption, ...(voice ? [
                element("button", { type: "button", onclick: play }, "play"), " ",
                element("button", { type: "button", onclick: () => save(wavFile(speak(), about.wave.rate), `${about.name}-seed-${state.seed}.wav`) }, "save as WAV"),
            ] : [])),
            element("div", { class: "sliders" },
                element("p", { class: "quiet" }, "Along the first layer's principal directions, in standard deviations of the latents:"),
                ...sliders.map((each, number) => element("label", {}, `${number + 1} `, each)),
                element("button", { type: "button", onclick: back }, "back to zero")),
        ),
        line,
        element("p", { class: "quiet" }, about.licence),
    );
    const choose = (chosen) => chosen >= 0 && chosen < about.count && set({ chosen: String(chosen) });
    if (!isPoints) {
        grid.addEventListener("click", (event) => {
            const place = [(event.offsetX / grid.clientWidth) * columns, (event.offsetY / grid.clientHeight) * rows].map(Math.floor);
            choose(place[1] * columns + place[0]);
        });
        grid.addEventListener("keydown", (event) => {
            const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
            if (!by) return;
            event.preventDefault();
            choose(Number(state.chosen) + by);
        });
    }
    // For the console and other scripts: numbers as the network makes them, the same as in Python up to rounding.
    globalThis.sparring = {
        sample({ n = 1, seed: number = 0, label = null, truncation = null } = {}) {
            const latents = sampler.latents(number, n, truncation), labels = sampler.labels(number, n, label);
            const starts = Array.from({ length: Math.ceil(n / engine.together) }, (_, group) => group * engine.together);
            return starts.flatMap((start) => engine.run(latents.slice(start, start + engine.together), labels.slice(start, start + engine.together)))
                .map((sample) => sample.map((value) => value * about.scale));
        },
        level,
    };
    await update();
}

main().catch((error) => document.body.append(`The page cannot draw samples here: ${error.message}`));
