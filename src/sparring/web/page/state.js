// What the page shows, as one flat object. All of it stands in the address, so a link opens the same view.

// Every field with its first value. `at` is a position on the time axis, or null for the newest.
export const FIRST = {
    runs: [], axis: "step", at: null, order: "drawn", theme: "auto", layers: "map,data,samples,arrows",
    lesson: 1, explorer: "",
};

const CHOICES = { axis: ["step", "seconds"], order: ["drawn", "worst", "best", "class"], theme: ["auto", "light", "dark"] };

export function openState() {
    let values = { ...FIRST, ...readAddress() };
    const listeners = [];
    return {
        get: () => values,
        // Change some fields, write them into the address, and tell everybody.
        set(changes) {
            values = { ...values, ...changes };
            writeAddress(values, "runs" in changes ? "pushState" : "replaceState"); // "back" leads to the run before
            for (const listener of listeners) listener(values, changes);
        },
        listen: (listener) => listeners.push(listener),
        // Take over an address that the person typed or went back to.
        reread() {
            values = { ...FIRST, ...readAddress() };
            for (const listener of listeners) listener(values, values);
        },
    };
}

function readAddress() {
    const found = {};
    for (const [name, text] of new URLSearchParams(location.hash.slice(1))) {
        if (!(name in FIRST)) continue;
        if (name === "runs") found.runs = text ? text.split(",") : [];
        else if (typeof FIRST[name] === "number" || name === "at") found[name] = Number.isFinite(Number(text)) ? Number(text) : FIRST[name];
        else if (CHOICES[name]?.includes(text) ?? true) found[name] = text;
    }
    return found;
}

function writeAddress(values, write) {
    const parts = new URLSearchParams();
    for (const [name, value] of Object.entries(values)) {
        const text = Array.isArray(value) ? value.join(",") : value === null ? "" : String(value);
        const first = Array.isArray(FIRST[name]) ? FIRST[name].join(",") : FIRST[name] === null ? "" : String(FIRST[name]);
        if (text !== first) parts.set(name, text);
    }
    const hash = parts.toString();
    try {
        history[write](null, "", hash ? `#${hash}` : location.pathname + location.search);
    } catch {
        // A page inside a notebook has no address of its own.
    }
}
