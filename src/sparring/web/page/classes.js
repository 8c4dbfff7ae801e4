// What share of the samples looks like each class, over time. Classes that nearly vanish are red.

import { element, refill, whileSeen } from "./elements.js";
import { placeAt } from "./series.js";

const MISSING = 0.2; // a class is missing where samples hold less than this part of its share of the data
const BAR_HEIGHT = 22;

export function makeClasses(host, page) {
    const shownOf = (view) => view.runs.filter((run) => run.series.shares.length && run.info.classes?.length > 1).slice(0, 4);
    const draw = whileSeen(host.parentElement, (view) => refill(host, shownOf(view).flatMap((run) => [
        element("h3", { style: `--colour: ${run.color}` }, run.name),
        element("div", { class: "classes", role: "table", "aria-label": `share of each class, ${run.name}` }, ...rows(run, view)),
    ])));
    return {
        update(view) {
            host.parentElement.hidden = !shownOf(view).length;
            draw(view);
        },
    };
}

function rows(run, view) {
    const { shares } = run.series, x = run.series[view.axis];
    const now = shares[Math.max(0, placeAt(shares.map((each) => x[each.place]), view.position))];
    return run.info.classes.map((name, number) => {
        const due = run.info.class_shares[number] ?? 0, share = now.shares[number] ?? 0;
        const isMissing = share < MISSING * due;
        return element("div", { class: `class${isMissing ? " missing" : ""}`, role: "row" },
            element("span", { role: "rowheader" }, name),
            strip(run, number, due, view),
            element("span", { role: "cell", class: "share" }, `${(100 * share).toFixed(1)} %, data ${(100 * due).toFixed(1)} %${isMissing ? ": missing" : ""}`),
        );
    });
}

// The share of one class through time as bars, in two shapes; a line marks its share of the data.
function strip(run, number, due, view) {
    const x = run.series[view.axis], last = view.last, most = Math.max(2 * due, ...run.series.shares.map((each) => each.shares[number]));
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 1000 ${BAR_HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const draw = (name, attributes) => {
        const made = document.createElementNS("http://www.w3.org/2000/svg", name);
        for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
        svg.append(made);
    };
    const bars = { few: "", enough: "" };
    run.series.shares.forEach((each, index) => {
        const from = (1000 * x[each.place]) / last;
        const to = index + 1 < run.series.shares.length ? (1000 * x[run.series.shares[index + 1].place]) / last : 1000;
        const high = BAR_HEIGHT * (1 - each.shares[number] / most);
        bars[each.shares[number] < MISSING * due ? "few" : "enough"] += `M${from} ${BAR_HEIGHT}V${high}H${Math.max(from, to)}V${BAR_HEIGHT}`;
    });
    for (const [name, shape] of Object.entries(bars)) draw("path", { d: shape, class: name });
    draw("line", { x1: 0, x2: 1000, y1: BAR_HEIGHT - (BAR_HEIGHT * due) / most, y2: BAR_HEIGHT - (BAR_HEIGHT * due) / most, class: "due" });
    const at = (1000 * view.position) / last;
    draw("line", { x1: at, x2: at, y1: 0, y2: BAR_HEIGHT, class: "now" });
    return svg;
}
