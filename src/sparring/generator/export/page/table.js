// Rows of a table: what the network makes as cells, as `Column.decode` and `fill_derived` in sparring/data make them, and
// the distribution of each column over that of the data.

import { element, save } from "./elements.js";
import { shareBelow } from "./random.js";

// As in sparring/data/columns.py.
const LEAST_SHARE = 1e-4;
const [WIDTH, HEIGHT, MARGIN, TITLE, IN_ROW, MOST_PANELS, MOST_NAME] = [400, 220, 16, 32, 4, 24, 28]; // pixels, and panels
const NUM_ROWS = 20; // that are shown

// Which one-hot part of a column is the largest, the first of equal ones.
function choose({ start, hasPlace, numChoices }, sample) {
    let chosen = 0;
    for (let place = 1; place < numChoices; place++) if (sample[start + hasPlace + place] > sample[start + hasPlace + chosen]) chosen = place;
    return chosen;
}

// The number at a place of the normal scale.
function numberAt({ knots, step, bounds, decimals }, place) {
    const share = Math.max(0, Math.min(1, (shareBelow(Math.max(-5, Math.min(5, place))) - LEAST_SHARE) / (1 - 2 * LEAST_SHARE)));
    let right = knots.findIndex(([, , high]) => high >= share);
    if (right < 0) right = knots.length - 1;
    const [value, low] = knots[right], [before, , end] = knots[Math.max(0, right - 1)];
    let number = share < low && low > end ? before + ((share - end) / (low - end)) * (value - before) : value;
    if (step) number = Math.round(number / step) * step;
    if (bounds.length) number = Math.max(bounds[0], Math.min(bounds[1], number));
    return decimals === null ? number : Number(number.toFixed(decimals));
}

// What a column has if another one has a value: the same as in the data, and between numbers one between or the nearer one's.
function lookUp({ pairs, knots, values, kind, decimals }, value) {
    const sorted = pairs.filter(([key]) => typeof key === "number").sort(([one], [other]) => one - other);
    if (typeof value !== "number") return (pairs.find(([key]) => key === value) ?? pairs.at(-1))[1];
    const found = sorted.findIndex(([key]) => key >= value), right = found < 0 ? sorted.length - 1 : found, left = Math.max(0, right - 1);
    const [[below, one], [above, other]] = [sorted[left], sorted[right]];
    const grows = knots.length && !values.includes(null) && sorted.every(([, image], place) => !place || image >= sorted[place - 1][1]);
    if (!grows) return Math.abs(below - value) < Math.abs(above - value) ? one : other;
    const share = above > below ? Math.max(0, Math.min(1, (value - below) / (above - below))) : 1;
    const between = one + share * (other - one);
    return kind === "date" || decimals === 0 ? Math.round(between) : between;
}

function write({ kind, form }, value) {
    if (value === null) return "";
    if (typeof value === "boolean") return value ? "True" : "False";
    if (kind !== "date") return String(value);
    const iso = new Date(1000 * value).toISOString(), parts = { Y: [0, 4], m: [5, 7], d: [8, 10], H: [11, 13], M: [14, 16], S: [17, 19] };
    return form.replace(/%(\w)/g, (_, letter) => iso.slice(...parts[letter]));
}

// The cells of one of the rows, as a .csv file has them: `columns` are those of `describe_columns` in Python.
export function toCells(columns, sample, number) {
    const row = new Map(columns.filter(({ sources }) => !sources.length).map((column) => {
        const chosen = choose(column, sample), isPlace = column.knots.length && !chosen;
        const value = column.kind === "identifier" ? number + 1 : isPlace ? numberAt(column, sample[column.start]) : column.values[chosen - Boolean(column.knots.length)];
        return [column.name, value ?? null];
    }));
    for (const column of columns.filter(({ sources }) => sources.length)) {
        const given = column.sources.map((name) => row.get(name));
        const sum = () => (given.includes(null) ? null : Number((given[0] + given[1]).toFixed(column.decimals ?? 0)));
        row.set(column.name, given.length === 2 ? sum() : lookUp(column, given[0]));
    }
    return columns.map((column) => write(column, row.get(column.name)));
}

// The shares of samples in the bins of a column's data.
export function shares(column, samples) {
    const { bars, edges } = column, found = bars.map(() => 0), numBins = Math.max(0, edges.length - 1);
    for (const sample of samples) {
        const chosen = choose(column, sample);
        let bin = numBins ? numBins - 1 + chosen : chosen;
        if (numBins && !chosen) {
            const number = numberAt(column, sample[column.start]);
            bin = Math.max(0, Math.min(numBins - 1, edges.findLastIndex((edge) => edge <= number)));
        }
        if (bin < found.length) found[bin] += 1 / samples.length;
    }
    return found;
}

// What shows rows: a canvas's size and how to draw on it, and a part of the page with the first rows and a button.
export function makeTable(columns, fileName) {
    const drawn = columns.filter(({ bars }) => bars.length).slice(0, MOST_PANELS);
    const size = [Math.min(drawn.length, IN_ROW) * WIDTH, Math.ceil(drawn.length / IN_ROW) * HEIGHT];
    const rows = element("div", { class: "rows" });
    let cells = [];

    function show(context, samples) {
        const style = getComputedStyle(document.body), colour = (name) => style.getPropertyValue(name);
        context.clearRect(0, 0, ...size);
        context.font = "22px system-ui";
        for (const [place, column] of drawn.entries()) {
            const [left, top] = [(place % IN_ROW) * WIDTH + MARGIN, Math.floor(place / IN_ROW) * HEIGHT + MARGIN];
            const made = shares(column, samples), most = Math.max(...column.bars, ...made, 1e-9);
            const [wide, floor, room] = [(WIDTH - 2 * MARGIN) / made.length, top + HEIGHT - 2 * MARGIN, HEIGHT - 2 * MARGIN - TITLE];
            context.fillStyle = colour("--ink");
            context.fillText(column.name.length > MOST_NAME ? `${column.name.slice(0, MOST_NAME)}…` : column.name, left, top + TITLE / 2);
            for (const [bar, share] of made.entries()) {
                const data = (room * column.bars[bar]) / most;
                context.fillStyle = colour("--bars");
                context.fillRect(left + bar * wide, floor - data, 0.9 * wide, data);
                context.fillStyle = colour("--accent");
                context.fillRect(left + bar * wide, floor - (room * share) / most - 2, 0.9 * wide, 4);
            }
        }
        cells = samples.map((sample, number) => toCells(columns, sample, number));
        const line = (name, texts) => element("tr", {}, ...texts.map((text) => element(name, {}, text)));
        rows.replaceChildren(element("table", {}, line("th", columns.map(({ name }) => name)), ...cells.slice(0, NUM_ROWS).map((texts) => line("td", texts))));
    }
    const quote = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const csv = () => [columns.map(({ name }) => name), ...cells].map((texts) => `${texts.map(quote).join(",")}\n`).join("");
    const button = element("button", { type: "button", onclick: () => save(new Blob([csv()], { type: "text/csv" }), fileName()) }, "save as CSV");
    return { size, show, host: element("section", { "aria-label": "rows" }, rows, button) };
}
