// The game in the plane: data, samples, what the discriminator thinks, and where it pushes the samples.

import { base64Of, element, inWords, numbers } from "./elements.js";

export const REAL = [0, 114, 178], FAKE = [213, 94, 0]; // blue and vermillion: told apart by everybody
const LAYERS = {
    map: "the discriminator's probability", data: "real points", samples: "samples",
    arrows: "where the samples are pushed", grid: "the latents' grid",
};
const PUSHED = 0.06; // the longest arrow, as a share of the picture's side

export function makePoints(host, page) {
    const { state } = page;
    const chosen = () => new Set(state.get().layers.split(","));
    const boxes = {};
    const tools = element("p", { class: "tools" }, ...Object.entries(LAYERS).map(([name, words]) => {
        const box = element("input", { type: "checkbox", onchange: () => {
            const layers = chosen();
            box.checked ? layers.add(name) : layers.delete(name);
            state.set({ layers: [...layers].join(",") });
        } });
        boxes[name] = box;
        return element("label", {}, box, ` ${words} `);
    }));
    const body = element("div", { class: "runs-side-by-side" });
    host.append(tools, body);
    let drawn = "";
    return {
        update(view) {
            const shown = view.runs.filter((run) => run.frame?.points).slice(0, 4);
            host.parentElement.hidden = !shown.length;
            const key = JSON.stringify([state.get().layers, view.theme, shown.map((run) => [run.id, run.frame.step, run.optimumFrame?.step])]);
            if (key === drawn) return;
            drawn = key;
            for (const [name, box] of Object.entries(boxes)) box.checked = chosen().has(name);
            body.replaceChildren(...shown.flatMap((run) => picturesOf(run, chosen())));
        },
    };
}

function picturesOf(run, layers) {
    const { points } = run.frame, made = [];
    const figure = (title, canvas) => made.push(element("figure", { class: "plane" }, canvas, element("figcaption", {}, title)));
    figure(`${run.name}, step ${inWords(run.frame.step)}. ${range(points.map)}`, drawPlane({
        map: layers.has("map") ? points.map : null,
        real: layers.has("data") ? run.frames.data?.real : null,
        fakes: layers.has("samples") ? points.samples : null,
        arrows: layers.has("arrows") ? { from: points.samples, along: points.gradients } : null,
        grid: layers.has("grid") ? points.grid : null,
        extent: points.extent,
    }));
    const deep = run.optimumFrame;
    if (deep) {
        const { js, bound } = deep.points;
        const facts = js === undefined ? "" : ` The Jensen-Shannon divergence between data and samples is ${inWords(js)} nats: 0 if they are alike, 0.693 at most. The run's own discriminator proves that it is at least ${inWords(bound)}.`;
        figure(`The best possible discriminator at step ${inWords(deep.step)}, p / (p + q), where p is the density of the data and q that of the samples.${facts}`, drawPlane({
            map: deep.points.optimum, real: layers.has("data") ? run.frames.data?.real : null,
            fakes: layers.has("samples") ? deep.points.samples : null, extent: points.extent,
        }));
    }
    return made;
}

// What the strongest colours of a map stand for: small differences count, so colours span what there is.
function range(map) {
    let [low, high] = [65535, 0];
    for (const value of numbers(map, Uint16Array)) [low, high] = [Math.min(low, value), Math.max(high, value)];
    return `The discriminator's probabilities here go from ${(low / 65535).toFixed(3)} to ${(high / 65535).toFixed(3)}.`;
}

// Pairs of coordinates as `drawPlane` takes them.
export function toPlane(values, [x0, x1, y0, y1]) {
    const share = (value, index) => (index % 2 ? (value - y0) / (y1 - y0) : (value - x0) / (x1 - x0));
    return base64Of(Uint16Array.from(values, (value, index) => 65535 * Math.min(1, Math.max(0, share(value, index)))));
}

// A square picture of the plane. Coordinates are uint16 over the extent; y grows upwards.
export function drawPlane({ map, real, fakes, arrows, grid, extent, moved, size = 3.5 }, side = 420) {
    const canvas = element("canvas", { width: side, height: side, role: "img", "aria-label": "points in the plane" });
    const context = canvas.getContext("2d");
    const at = (values, index) => [(values[2 * index] / 65535) * side, side - (values[2 * index + 1] / 65535) * side];
    context.fillStyle = "#fff";
    context.fillRect(0, 0, side, side);
    if (map) drawMap(context, numbers(map, Uint16Array), side);
    if (grid) drawGrid(context, numbers(grid, Uint16Array), at);
    const dots = (values, [red, green, blue], size, opacity) => {
        context.fillStyle = `rgba(${red}, ${green}, ${blue}, ${opacity})`;
        for (let index = 0; index < values.length / 2; index++) {
            const [x, y] = at(values, index);
            context.fillRect(x - size / 2, y - size / 2, size, size);
        }
    };
    if (real) dots(numbers(real, Uint16Array), REAL, 3, 0.7);
    if (arrows) drawArrows(context, numbers(arrows.from, Uint16Array), numbers(arrows.along, Float32Array), extent, at, side);
    if (fakes) dots(numbers(fakes, Uint16Array), FAKE, size, 0.9);
    if (moved) {
        const [from, to] = [numbers(moved.from, Uint16Array), numbers(moved.to, Uint16Array)];
        dots(Array.from(from, (value, index) => value + (to[index] - value) * moved.share), FAKE, 5, 1);
    }
    return canvas;
}

// From vermillion (generated) over white (one half) to blue (real); the strongest colour is the map's largest distance
// from one half, but at least a hundredth.
function drawMap(context, map, side) {
    let most = 0.01;
    for (const value of map) most = Math.max(most, Math.abs((2 * value) / 65535 - 1));
    const cells = Math.round(Math.sqrt(map.length)), image = new ImageData(cells, cells);
    for (let row = 0; row < cells; row++) {
        for (let column = 0; column < cells; column++) {
            const value = map[row * cells + column] / 65535, end = value > 0.5 ? REAL : FAKE, share = (0.75 * Math.abs(2 * value - 1)) / most;
            const place = 4 * ((cells - 1 - row) * cells + column);
            for (let part = 0; part < 3; part++) image.data[place + part] = 255 + (end[part] - 255) * share;
            image.data[place + 3] = 255;
        }
    }
    const small = new OffscreenCanvas(cells, cells);
    small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = true;
    context.drawImage(small, 0, 0, side, side);
}

function drawGrid(context, grid, at) {
    const cells = Math.round(Math.sqrt(grid.length / 2));
    context.strokeStyle = "rgba(90, 40, 120, .55)";
    context.lineWidth = 0.8;
    context.beginPath();
    for (let one = 0; one < cells; one++) {
        for (let other = 0; other < cells; other++) {
            const row = at(grid, one * cells + other), column = at(grid, other * cells + one);
            other === 0 ? context.moveTo(...row) : context.lineTo(...row);
            if (other > 0) {
                context.moveTo(...at(grid, (other - 1) * cells + one));
                context.lineTo(...column);
                context.moveTo(...row);
            }
        }
    }
    context.stroke();
}

// Arrows in one common scale: the longest is a few percent of the side. The scale is that of all arrows but the longest twentieth.
function drawArrows(context, from, along, extent, at, side) {
    const [x0, x1, y0, y1] = extent, count = Math.min(from.length, along.length) / 2;
    const lengths = Array.from({ length: count }, (_, index) => Math.hypot(along[2 * index] / (x1 - x0), along[2 * index + 1] / (y1 - y0)));
    const usual = [...lengths].sort((one, other) => one - other)[Math.floor(0.95 * (count - 1))] || 1;
    context.strokeStyle = "rgba(60, 60, 60, .8)";
    context.lineWidth = 1;
    context.beginPath();
    for (let index = 0; index < count; index++) {
        const scale = (PUSHED * side * Math.min(1, usual / (lengths[index] || 1))) / usual;
        const [x, y] = at(from, index);
        const right = (along[2 * index] / (x1 - x0)) * scale, up = (along[2 * index + 1] / (y1 - y0)) * scale;
        if (Math.hypot(right, up) < 2) continue;
        const [endX, endY] = [x + right, y - up], angle = Math.atan2(-up, right);
        context.moveTo(x, y);
        context.lineTo(endX, endY);
        for (const turn of [2.6, -2.6]) {
            context.moveTo(endX, endY);
            context.lineTo(endX + 4 * Math.cos(angle + turn), endY + 4 * Math.sin(angle + turn));
        }
    }
    context.stroke();
}
