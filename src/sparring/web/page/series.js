// The numbers of a log by name, as columns beside its steps and seconds.

const COUNTERS = new Set(["step", "images", "seconds", "progress"]);

export function openSeries() {
    return { step: [], seconds: [], images: [], progress: [], columns: new Map(), alarms: [], shares: [] };
}

// Add lines of the log. Figures of evaluations stand beside the other numbers, by their own names. `rates` are the
// learning rates at the start, and the factors by which the schedule changes them along the training.
export function addLines(series, lines, rates) {
    for (const line of lines) {
        const place = series.step.length;
        if (rates) {
            const factor = rates.factors[Math.round(line.progress * (rates.factors.length - 1))] ?? 1;
            line.generator_rate = rates.generator * factor;
            line.discriminator_rate = rates.discriminator * factor;
        }
        for (const name of COUNTERS) series[name].push(line[name]);
        for (const [name, value] of Object.entries({ ...line, ...line.evaluation })) {
            if (typeof value !== "number" || COUNTERS.has(name)) continue;
            if (!series.columns.has(name)) series.columns.set(name, []);
            series.columns.get(name)[place] = value;
        }
        const before = place > 0 ? place - 1 : null;
        const seconds = line.seconds - (before === null ? 0 : series.seconds[before]);
        if (!series.columns.has("images_per_second")) series.columns.set("images_per_second", []);
        if (seconds > 0) series.columns.get("images_per_second")[place] = (line.images - (before === null ? 0 : series.images[before])) / seconds;
        if (line.alarms) series.alarms.push({ place, alarms: line.alarms });
        if (line.class_shares) series.shares.push({ place, shares: line.class_shares });
    }
}

// The last place at or before a position on an axis, or -1; the axis is "step" or "seconds".
export function placeAt(values, position) {
    let low = 0, high = values.length;
    while (low < high) {
        const middle = (low + high) >> 1;
        if (values[middle] <= position) low = middle + 1;
        else high = middle;
    }
    return low - 1;
}

// The latest value of a column at or before a place.
export function valueAt(series, name, place) {
    const column = series.columns.get(name) ?? [];
    for (let each = Math.min(place, column.length - 1); each >= 0; each--) {
        if (column[each] !== undefined) return { value: column[each], place: each };
    }
    return null;
}

// When each alarm was active: its name, severity, the positions where it began and ended (the last line where it goes on).
export function alarmBands(series, axis) {
    const x = series[axis], bands = [];
    const open = new Map();
    for (const { place, alarms } of series.alarms) {
        const now = new Set(alarms.map((alarm) => alarm.name));
        for (const [name, band] of open) {
            if (!now.has(name)) {
                band.to = x[place];
                open.delete(name);
            }
        }
        for (const alarm of alarms) {
            if (!open.has(alarm.name)) {
                const from = x[Math.max(0, placeAt(series.step, alarm.since))] ?? x[place];
                const band = { ...alarm, from, to: x.at(-1), goesOn: true };
                bands.push(band);
                open.set(alarm.name, band);
            } else {
                Object.assign(open.get(alarm.name), { evidence: alarm.evidence });
            }
        }
        for (const band of bands) band.goesOn = open.has(band.name) && open.get(band.name) === band;
    }
    for (const band of open.values()) band.to = x.at(-1);
    return bands;
}

// A column on a common grid of positions: in each cell the last value; null where a cell has none.
export function onGrid(series, axis, name, grid) {
    const column = series.columns.get(name) ?? [], x = series[axis];
    const values = new Array(grid.length).fill(null);
    let cell = 0;
    for (let place = 0; place < column.length; place++) {
        if (column[place] === undefined) continue;
        while (cell < grid.length - 1 && grid[cell] < x[place]) cell++;
        values[cell] = column[place];
    }
    return values;
}
