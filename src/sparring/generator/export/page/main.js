// The page: a grid of samples, one of them large, and what decides them.

import { choice, command, element, numbers, save } from "./elements.js";
import { makePlane, mix } from "./plane.js";
import { makeVoice, wavFile } from "./sound.js";
import { makeTable } from "./table.js";
import { between, level, openSampler } from "./sampler.js";

const FRAME_MS = 12; // of work, before the browser may draw
const SIDE = 320; // pixels of a canvas with points
const KEPT = 8; // seeds whose latents are kept in memory
const STEPS_OF_WALK = 24; // from one kept place to the next

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
    const table = about.columns ? makeTable(about.columns, () => `${about.name}-seed-${state.seed}.csv`) : null;
    const hasPictures = !isPoints && !table;

    // What is drawn. All of it stands in the address, so a link opens the same view.
    const FIRST = { seed: "0", label: "", truncation: "", place: "0,0", chosen: "0", sliders: "", kept: "" };
    const state = { ...FIRST };
    for (const [name, text] of new URLSearchParams(location.hash.slice(1))) if (name in FIRST) state[name] = text;
    const toNumbers = (text) => text.split(",").map((each) => Number(each) || 0);
    const amounts = () => toNumbers(state.sliders), placeOf = (text) => [0, 1].map((axis) => toNumbers(text)[axis] ?? 0);
    const memory = new Map();
    let walking = null; // instead of the latents of the place: those between two kept ones

    function latentsOf(seed, truncation) {
        const key = `${seed} ${truncation}`;
        if (!memory.has(key)) memory.set(key, sampler.latents(seed, about.count, truncation));
        if (memory.size > KEPT) memory.delete(memory.keys().next().value);
        return memory.get(key);
    }
    // The latent of a sample at a place, as a function of the sample's number: only those that are drawn are mixed.
    function latentAt(seed, place, moves) {
        const truncation = Number(state.truncation) || null;
        return (number) => sampler.push(mix(seed, place, (each) => latentsOf(each, truncation)[number], between), moves);
    }
    // What is asked for: a class's number, or a list with the place of a value or a number for each attribute; or null.
    function wanted() {
        const given = state.label.split(",").map((text) => (text.trim() && Number.isFinite(Number(text)) ? Number(text) : null));
        if (!about.attributes.length) return about.labels.some(([, number]) => number === given[0]) ? given[0] : null;
        return about.attributes.map(({ values }, place) => (values.length && values[given[place]] === undefined ? null : given[place] ?? null));
    }
    // The name of a label in a list of attributes: "digit=7,speaker=theo".
    const nameOf = (numbers) => about.attributes.map(({ name, values }, place) => {
        const number = numbers[place];
        return number === null ? "" : `${name}=${values.length ? values[number] : Number(number.toPrecision(6))}`;
    }).filter(Boolean).join(",");
    // A function of samples' numbers that makes these samples, and the labels of all.
    function maker() {
        const labels = sampler.labels(state.seed, about.count, wanted()), latent = walking ?? latentAt(state.seed, placeOf(state.place), amounts());
        return { labels, make: (numbers) => engine.run(numbers.map(latent), numbers.map((number) => labels[number])) };
    }
    const chosenOne = () => Math.min(about.count - 1, Number(state.chosen) || 0);

    // Drawing: the chosen sample at once, the others as time allows; what is no longer wanted is given up.
    const columns = Math.min(about.count, Math.ceil(Math.sqrt((about.count * height) / width))), rows = Math.ceil(about.count / columns);
    const [gridWidth, gridHeight] = table ? table.size : isPoints ? [SIDE * 2, SIDE * 2] : [columns * width, rows * height];
    const told = table ? "of each column, the shares of the data as bars and those of the rows as lines" : isPoints ? "a plane with the samples" : "samples: choose one by the arrow keys";
    const drawing = { willReadFrequently: true }; // pixels are made here, not by the graphics card
    const grid = element("canvas", { width: gridWidth, height: gridHeight, tabindex: hasPictures && 0, role: "img", "aria-label": told, class: table && "smooth" });
    const large = element("canvas", { width: hasPictures ? width : 1, height: hasPictures ? height : 1, role: "img", "aria-label": "the chosen sample" });
    large.style.width = `min(100%, ${(24 * width) / height}rem)`; // a style in the markup would be against the policy
    const caption = element("p", { class: "quiet" }), line = element("p", { class: "quiet" });
    const voice = about.wave ? makeVoice(about.wave, height, width, sampler.singles.subarray(about.mel), sampler.singles.subarray(about.melInverse)) : null;
    let turn = 0, audio = null;

    // The chosen sample as a wave.
    function speak() {
        return voice(maker().make([chosenOne()])[0]);
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
        const mine = ++turn, { make, labels } = maker(), chosen = chosenOne();
        const made = [];
        if (isPoints) {
            const context = grid.getContext("2d", drawing);
            context.clearRect(0, 0, gridWidth, gridHeight);
            context.fillStyle = getComputedStyle(document.body).getPropertyValue("--accent");
        } else if (hasPictures) large.getContext("2d").putImageData(picture(make([chosen])[0]), 0, 0);
        if (mine === 1) performance.mark("first picture");
        plane.draw();
        say(chosen, labels[chosen]);
        let since = performance.now();
        for (let number = 0; number < about.count; number += engine.together) {
            if (performance.now() - since > FRAME_MS) {
                await new Promise(requestAnimationFrame);
                since = performance.now();
            }
            if (mine !== turn) return;
            const group = Array.from({ length: Math.min(engine.together, about.count - number) }, (_, place) => number + place);
            make(group).forEach((sample, place) => (table ? made.push(sample) : draw(sample, group[place])));
        }
        table?.show(grid.getContext("2d", drawing), made);
        document.body.dataset.drawn = mine;
    }

    function say(chosen, label) {
        const classOf = (isIt) => about.labels.find(([, number]) => isIt(number))?.[0], hasAttributes = about.attributes.length > 0;
        const name = hasAttributes ? nameOf(sampler.decode(label)) : classOf((number) => label[number]);
        caption.textContent = hasPictures ? `sample ${chosen + 1} of ${about.count}${name ? `, ${name}` : ""}` : "";
        const chosenLabel = hasAttributes ? nameOf(wanted()) : classOf((number) => number === wanted());
        const options = [`-n ${about.count}`, `--seed ${state.seed}`, chosenLabel ? `--label ${/^[\w=,.-]+$/.test(chosenLabel) ? chosenLabel : JSON.stringify(chosenLabel)}` : "", state.truncation ? `--truncation ${state.truncation}` : ""];
        const isPlain = !walking && placeOf(state.place).every((each) => !each) && amounts().every((amount) => !amount);
        line.replaceChildren(...(isPlain ? ["the same in a terminal: ", command(`sparring sample ${about.run} ${options.filter(Boolean).join(" ")}`)] : ["There is no command for these samples: they lie between seeds, or a slider is not at zero."]));
    }

    // Controls
    function set(changes) {
        Object.assign(state, changes);
        walking = null;
        const address = String(new URLSearchParams(Object.entries(state).filter(([name, text]) => text !== FIRST[name])));
        try {
            history.replaceState(null, "", `#${address}`);
        } catch {
            // A page inside another one may have no address of its own.
        }
        tell({ address });
        requestAnimationFrame(update);
    }
    // A page that shows this one in a frame is told what it shows, and how high it is.
    const tell = (news) => parent !== globalThis && parent.postMessage({ sparring: news }, "*");
    new ResizeObserver(() => tell({ height: document.documentElement.offsetHeight })).observe(document.body);
    // A whole number from 0 to 2⁶⁴ − 1, as text: larger ones than 2⁵³ are no exact numbers of JavaScript.
    const seedOf = (text) => (/^\d+$/.test(text) && BigInt(text) < 2n ** 64n ? String(BigInt(text)) : "0");
    state.seed = seedOf(state.seed);
    const goTo = (number) => {
        seed.value = number;
        set({ seed: number, place: "0,0" });
    };
    const seed = element("input", { type: "number", min: 0, step: 1, value: state.seed, oninput: () => set({ seed: seedOf(seed.value), place: "0,0" }) });
    const another = () => goTo(String(crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000));
    const plane = makePlane({ get: () => ({ seed: state.seed, place: placeOf(state.place) }), set: (place) => set({ place: place.join(",") }), settle: goTo });
    const setAmount = (number, amount) => {
        const now = Array.from({ length: about.numDirections }, (_, place) => amounts()[place] ?? 0);
        now[number] = amount;
        set({ sliders: now.some(Boolean) ? now.join(",") : "" });
    };
    const sliders = Array.from({ length: about.numDirections }, (_, number) => {
        const slider = element("input", { type: "range", min: -4, max: 4, step: 0.1, value: amounts()[number] ?? 0, "aria-label": `direction ${number + 1}`, oninput: () => setAmount(number, Number(slider.value)) });
        return slider;
    });
    const back = () => {
        for (const each of sliders) each.value = 0;
        set({ sliders: "", place: "0,0" });
    };

    // Kept places, each with its sliders; a walk goes from one to the next and round again, until something is changed.
    const places = element("span", {});
    const stops = () => state.kept.split("|").filter(Boolean).map((text) => text.split(";"));
    function showKept() {
        places.replaceChildren(...stops().map(([number, place, moves], index) => element("button", { type: "button", onclick: () => {
            goTo(number);
            set({ place, sliders: moves });
            sliders.forEach((slider, axis) => { slider.value = amounts()[axis] ?? 0; });
        } }, `place ${index + 1}`)), ...(stops().length > 1 ? [element("button", { type: "button", onclick: walk }, "walk")] : []),
        ...(stops().length ? [element("button", { type: "button", onclick: () => keep("") }, "forget")] : []));
    }
    function keep(kept) {
        set({ kept });
        showKept();
    }
    async function walk() {
        const ends = stops().map(([number, place, moves]) => latentAt(number, placeOf(place), toNumbers(moves)));
        for (let step = 0; step <= STEPS_OF_WALK * ends.length; step++) {
            const from = Math.floor(step / STEPS_OF_WALK), [one, other] = [ends[from % ends.length], ends[(from + 1) % ends.length]];
            if (step && !walking) return; // something was changed
            walking = (number) => between(one(number), other(number), (step % STEPS_OF_WALK) / STEPS_OF_WALK);
            await Promise.all([update(), new Promise(requestAnimationFrame)]);
        }
        walking = null;
        update();
    }
    const savePng = async () => {
        await update();
        grid.toBlob((blob) => save(blob, `${about.name}-seed-${state.seed}.png`), "image/png");
    };
    // A choice of numbers by their names. Keys begin with a space: an object would sort whole numbers otherwise.
    const pick = (name, options, now, change) => {
        const keys = options.map(([number, words]) => [` ${number}`, words]);
        const { select, label } = choice(name, { "": "any", ...Object.fromEntries(keys) }, (chosen) => set(change(chosen.trim())));
        select.value = now === "" ? "" : ` ${now}`;
        return label;
    };
    const pickAttribute = ({ name, values, low, high }, place) => {
        const now = String(wanted()[place] ?? "");
        const change = (text) => ({ label: wanted().map((number, other) => (other === place ? text : number ?? "")).join(",").replace(/^,+$/, "") });
        if (values.length) return pick(name, [...values.entries()], now, change);
        const number = element("input", { type: "number", min: low, max: high, step: "any", placeholder: "any", value: now, oninput: () => set(change(number.value)) });
        return element("label", {}, `${name} `, number);
    };
    document.body.append(
        element("div", { class: "tools" },
            element("label", {}, "seed ", seed), element("button", { type: "button", onclick: another }, "another seed"),
            about.labels.length ? pick("class", about.labels.map(([name, number]) => [number, name]), state.label, (label) => ({ label })) : null,
            ...about.attributes.map(pickAttribute),
            about.prior === "gaussian" ? pick("truncation", ["2", "1", "0.7", "0.5", "0.3"].map((each) => [each, each]), state.truncation, (truncation) => ({ truncation })) : null,
            element("button", { type: "button", onclick: savePng }, "save as PNG"),
        ),
        element("main", {},
            element("div", { class: "grid" }, grid),
            element("div", {}, ...(hasPictures ? [large, caption] : []), ...(voice ? [
                element("button", { type: "button", onclick: play }, "play"), " ",
                element("button", { type: "button", onclick: () => save(wavFile(speak(), about.wave.rate), `${about.name}-seed-${state.seed}.wav`) }, "save as WAV"),
            ] : []), element("div", { class: "sliders" },
                element("p", { class: "quiet" }, "Along the first layer's principal directions, in standard deviations of the latents:"),
                ...sliders.map((each, number) => element("label", {}, `${number + 1} `, each)),
                element("button", { type: "button", onclick: back }, "back to zero"))),
            element("div", { class: "plane" }, plane.pad,
                element("p", { class: "quiet" }, "Each crossing is a seed. Drag to move between seeds; double-click goes to the nearest."),
                element("button", { type: "button", title: "keep this place, with its sliders", onclick: () => keep([state.kept, [state.seed, state.place, state.sliders].join(";")].filter(Boolean).join("|")) }, "keep"), " ", places),
        ),
        ...(table ? [table.host] : []),
        line,
        element("p", { class: "quiet" }, about.licence),
    );
    const choose = (chosen) => chosen >= 0 && chosen < about.count && set({ chosen: String(chosen) });
    if (hasPictures) {
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
    showKept();
    await update();
}

main().catch((error) => document.body.append(`The page cannot draw samples here: ${error.message}`));
