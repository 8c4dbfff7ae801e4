// Small tools for building the page: elements, numbers in words, downloads.

// An element with attributes, event handlers (onclick, ...) and children, which are elements or text.
export function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
        if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
        else if (value === true) made.setAttribute(key, "");
        else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
}

// Give an element these children. Those that look as before stay, so that the browser lays out and paints only what changed.
export function refill(host, children) {
    for (const [place, child] of children.entries()) {
        const old = host.children[place];
        if (!old) host.append(child);
        else if (!old.isEqualNode(child)) old.replaceWith(child);
    }
    while (host.children.length > children.length) host.lastChild.remove();
}

// A function that draws a view, but only while an element can be seen: a training changes some twenty charts each second.
export function whileSeen(seen, draw) {
    let isSeen = false, latest = null;
    new IntersectionObserver((entries) => {
        isSeen = entries.at(-1).isIntersecting;
        if (isSeen && latest) draw(latest);
    }, { rootMargin: "100px" }).observe(seen);
    return (view) => {
        latest = view;
        if (isSeen) draw(view);
    };
}

// A section of the page: a heading, a sentence on what it shows, and an empty body to fill.
export function panel(title, sentence) {
    const body = element("div", { class: "body" });
    const quiet = element("p", { class: "quiet" }, sentence);
    return { section: element("section", { class: "panel", "aria-label": title }, element("h2", {}, title), quiet, body), body, quiet };
}

// 1234567 as 1,234,567; .000123 as 0.000123; at most three digits of a fraction.
export function inWords(value) {
    if (typeof value === "string") return value;
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    if (Number.isInteger(value)) return value.toLocaleString("en");
    const size = Math.abs(value);
    if (size >= 1000) return Math.round(value).toLocaleString("en");
    return String(Number(value.toPrecision(3)));
}

// 75 as 1 min 15 s, and .31 as 0.3 s.
export function duration(seconds) {
    if (!Number.isFinite(seconds)) return "–";
    if (seconds < 10) return `${Number(seconds.toFixed(1))} s`;
    const whole = Math.round(seconds);
    if (whole < 60) return `${whole} s`;
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
    return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

// discriminator_loss as discriminator loss.
export function spaced(name) {
    return name.replaceAll("_", " ");
}

// A command in a box, with a button that copies it.
export function command(text) {
    const button = element("button", { type: "button", title: "copy this command" }, "copy");
    button.addEventListener("click", async () => {
        try {
            await navigator.clipboard.writeText(text);
            button.textContent = "copied";
        } catch {
            button.textContent = "select it and copy";
        }
    });
    return element("span", { class: "command" }, element("code", {}, text), button);
}

// A choice among a few words: a select, and the label around it.
export function choice(name, options, onchange) {
    const select = element("select", { onchange: () => onchange(select.value) });
    for (const [key, words] of Object.entries(options)) {
        select.append(element("option", { value: key }, words));
    }
    return { select, label: element("label", {}, `${name} `, select) };
}

// Let the browser save a blob as a file.
export function save(blob, name) {
    const url = URL.createObjectURL(blob);
    element("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// An image of a data URL or blob URL that is ready to be drawn.
export async function loadImage(url) {
    const image = new Image();
    image.src = url;
    await image.decode();
    return image;
}

// The numbers of a base64 string: `Type` is Uint8Array, Uint16Array or Float32Array, stored with the low byte first.
export function numbers(base64, Type) {
    const text = atob(base64);
    const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    return new Type(bytes.buffer);
}

// The other way round.
export function base64Of(values) {
    return btoa(String.fromCharCode(...new Uint8Array(values.buffer)));
}

// "points of 2 dimensions" with a capital letter, at the start of a sentence.
export function capital(text) {
    return text.charAt(0).toUpperCase() + text.slice(1);
}
