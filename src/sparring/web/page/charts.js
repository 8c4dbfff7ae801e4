// Curves of the log: a small chart for each kind of number, all with the same time axis and the scrubber's position.

import { element, inWords, spaced, whileSeen } from "./elements.js";
import { alarmBands, onGrid, placeAt, valueAt } from "./series.js";

const CELLS = 1000; // positions at which curves are drawn; a chart is about 500 pixels wide
const HEIGHT = 150;
const DASHES = [[], [6, 4], [2, 3]]; // of the first, second and third number in a chart

export function makeCharts(host, page) {
    let charts = null;
    return {
        update(view) {
            if (!charts) {
                charts = page.meta.charts.map((chart) => makeChart(chart, page));
                host.append(element("div", { class: "charts" }, ...charts.map((chart) => chart.section)));
            }
            for (const chart of charts) chart.update(view);
        },
    };
}

function makeChart(chart, page) {
    const names = chart.names;
    const values = element("p", { class: "values", "aria-live": "off" });
    const canvas = element("div", { class: "curve" });
    const line = element("div", { class: "position" });
    const section = element(
        "figure", { class: "chart" }, element("figcaption", {}, element("b", {}, chart.title), `: ${chart.sentence}`), values, canvas,
    );
    let plot = null, kind = "", drawn = "", latest = null;

    const draw = whileSeen(section, (view) => {
        latest = view;
        const key = [view.version, view.axis, canvas.clientWidth, view.theme].join();
        if (key !== drawn) {
            if (canvas.clientWidth === 0) return; // it was hidden, and will be seen in a moment
            drawn = key;
            const shown = view.runs.flatMap((run) => names.filter((name) => run.series.columns.has(name)).map((name) => ({ run, name })));
            drawCurves(shown, view);
        }
        place(view);
    });

    const end = (view) => Math.max(...view.runs.map((run) => run.series[view.axis].at(-1) ?? 0), 1);

    // A training adds a line each second: as long as the curves are of the same kind, they only get new numbers.
    function drawCurves(shown, view) {
        const grid = commonGrid(view, end(view));
        const columns = shown.map(({ run, name }) => onGrid(run.series, view.axis, name, grid));
        const dots = points(columns[0]?.filter((value) => value !== null).length);
        const series = shown.map(({ run, name }) => ({
            label: `${run.name} ${spaced(name)}`,
            stroke: run.color, width: 1.5, dash: DASHES[names.indexOf(name) % DASHES.length], spanGaps: true,
            points: dots,
        }));
        const bands = [];
        // A figure's standard error, drawn as its interval of 95 %: only for one run, or nothing could be told apart.
        const error = `${names[0]}_error`;
        if (view.runs.length === 1 && view.runs[0].series.columns.has(error)) {
            const errors = onGrid(view.runs[0].series, view.axis, error, grid);
            for (const sign of [1, -1]) {
                columns.push(columns[0].map((value, cell) => (value === null ? null : value + sign * 1.96 * (errors[cell] ?? 0))));
                series.push({ stroke: "transparent", points: { show: false }, spanGaps: true });
            }
            bands.push({ series: [columns.length - 1, columns.length], fill: `${view.runs[0].color}33` });
        }
        const key = JSON.stringify([series.map((each) => [each.label, each.stroke]), dots, view.axis, canvas.clientWidth, view.theme]);
        if (plot && key === kind) return plot.setData([grid, ...columns]);
        kind = key;
        plot?.destroy();
        plot = null;
        if (!shown.length) return;
        const ink = getComputedStyle(document.body).getPropertyValue("--quiet");
        const rule = getComputedStyle(document.body).getPropertyValue("--rule");
        const axis = { stroke: ink, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule, width: 1 }, font: "11px system-ui" };
        plot = new uPlot({
            width: canvas.clientWidth, height: HEIGHT, bands, legend: { show: false },
            cursor: { show: false }, padding: [8, 18, 0, 0],
            scales: {
                x: { time: false, range: () => [0, end(latest)] },
                y: { distr: chart.log ? 3 : 1, range: chart.range ? () => chart.range : undefined },
            },
            axes: [{ ...axis, size: 26 }, { ...axis, size: 52, values: (_, ticks, axisNumber, space, distance) => ticks.map((tick) => (tick === null ? "" : tickText(tick, chart.log ? tick : distance))) }],
            series: [{}, ...series],
            // The line is placed when the axes are: uPlot draws a moment after it gets its numbers.
            hooks: { drawClear: [(self) => drawBands(self, latest)], draw: [() => place(latest)] },
        }, [grid, ...columns], canvas);
        plot.over.append(line);
    }

    // Where alarms were active, behind the curves; problems are darker than notices.
    function drawBands(self, view) {
        for (const run of view.runs) {
            for (const band of alarmBands(run.series, view.axis)) {
                const left = self.valToPos(band.from, "x", true), right = self.valToPos(band.to, "x", true);
                self.ctx.fillStyle = band.severity === "problem" ? "rgba(213, 94, 0, .18)" : "rgba(230, 159, 0, .14)";
                self.ctx.fillRect(left, self.bbox.top, Math.max(2, right - left), self.bbox.height);
            }
        }
    }

    // The position and the values there: cheap, since it happens thirty times a second.
    function place(view) {
        if (!plot) return;
        const left = plot.valToPos(view.position, "x");
        line.style.transform = `translateX(${Math.max(0, left)}px)`;
        const found = [];
        for (const run of view.runs.slice(0, 4)) {
            for (const [number, name] of names.entries()) {
                const value = valueAt(run.series, name, placeAt(run.series[view.axis], view.position));
                if (!value) continue;
                const error = valueAt(run.series, `${name}_error`, value.place);
                const interval = error && error.place === value.place ? ` ± ${inWords(1.96 * error.value)}` : "";
                const words = names.length > 1 ? `${chart.short?.[number] ?? spaced(name)} ` : "";
                found.push(element("span", { style: `--colour: ${run.color}`, class: `value dash${number}` }, `${words}${inWords(value.value)}${interval}${chart.unit ? ` ${chart.unit}` : ""}`));
            }
        }
        values.replaceChildren(...found);
    }

    canvas.addEventListener("pointerdown", (event) => {
        const move = (moved) => {
            if (!plot) return;
            const box = plot.over.getBoundingClientRect();
            page.state.set({ at: Math.max(0, Math.round(plot.posToVal(moved.clientX - box.left, "x") * 100) / 100) });
        };
        move(event);
        const stop = () => removeEventListener("pointermove", move);
        addEventListener("pointermove", move);
        addEventListener("pointerup", stop, { once: true });
    });
    new ResizeObserver(() => latest && draw(latest)).observe(canvas);

    return {
        section,
        update(view) {
            section.classList.toggle("empty", !view.runs.some((run) => names.some((name) => run.series.columns.has(name))));
            draw(view);
        },
    };
}

// Few values are dots on the line, and one alone is a large one.
function points(count) {
    return { show: count < 60, size: count > 1 ? 4 : 8, ...(count > 1 ? {} : { width: 4 }) };
}

// A number on an axis, with as many digits as tell it from the next: 62,700 as 62.7K.
function tickText(value, distance) {
    const digits = 1 + Math.ceil(Math.log10(Math.max(1, Math.abs(value / distance))));
    return value.toLocaleString("en", { notation: Math.abs(value) < 10_000 ? "standard" : "compact", maximumSignificantDigits: Math.min(12, digits) });
}

// The positions of one run, where there are few; else evenly spaced ones, so that many runs cost no more than one.
function commonGrid(view, last) {
    if (view.runs.length === 1 && view.runs[0].series.step.length <= CELLS) return [...view.runs[0].series[view.axis]];
    return Array.from({ length: CELLS }, (_, cell) => (last * cell) / (CELLS - 1));
}
