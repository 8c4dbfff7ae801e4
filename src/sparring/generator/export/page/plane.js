// A plane of seeds that is dragged: each numbered crossing is a seed, and between four of them their latents are mixed.

import { element } from "./elements.js";

const PAD = 260; // pixels
const SPAN = 4; // seeds along each side
const ACROSS = 1000n; // the seed grows by this from one row to the next
const MOST = 2n ** 64n - 1n;

// The seed of a crossing, so many columns and rows from another one.
export function seedAt(seed, column, row) {
    return BigInt(seed) + BigInt(column) + ACROSS * BigInt(row);
}

// The latent at a place between four crossings, along great circles: first to the right, then upwards. `latentOf` gives
// the latent of a seed.
export function mix(seed, [x, y], latentOf, between) {
    const [left, low] = [Math.floor(x), Math.floor(y)];
    const along = (one, other, share) => (share ? between(one(), other(), share) : one());
    const row = (number) => along(() => latentOf(seedAt(seed, left, number)), () => latentOf(seedAt(seed, left + 1, number)), x - left);
    return along(() => row(low), () => row(low + 1), y - low);
}

// `get` returns the seed in the middle and how far from it the place is; `set` takes a new place, `settle` goes to a seed.
export function makePlane({ get, set, settle }) {
    const pad = element("canvas", { width: PAD, height: PAD, tabindex: 0, role: "application", "aria-label": "a plane of seeds: drag, or use the arrow keys" });
    const cell = PAD / SPAN;

    function draw() {
        const { seed, place: [x, y] } = get(), context = pad.getContext("2d"), style = getComputedStyle(document.body);
        const [left, low] = [Math.floor(x - SPAN / 2), Math.floor(y - SPAN / 2)];
        context.clearRect(0, 0, PAD, PAD);
        context.strokeStyle = style.getPropertyValue("--rule");
        context.fillStyle = style.getPropertyValue("--quiet");
        context.font = "11px system-ui";
        for (let column = left; column <= left + SPAN + 1; column++) {
            for (let row = low; row <= low + SPAN + 1; row++) {
                const [across, down] = [PAD / 2 + (column - x) * cell, PAD / 2 - (row - y) * cell], number = seedAt(seed, column, row);
                context.strokeRect(across, down, cell, cell);
                if (number >= 0n && number <= MOST) context.fillText(String(number), across + 3, down - 3);
            }
        }
        context.fillStyle = style.getPropertyValue("--accent");
        context.beginPath();
        context.arc(PAD / 2, PAD / 2, 6, 0, 7);
        context.fill();
    }

    // No further than to the seeds 0 and 2⁶⁴ − 1, and within the columns of a row.
    function move(across, up) {
        const { seed, place: [x, y] } = get(), column = Number(BigInt(seed) % ACROSS);
        const rows = [0n, MOST - 2n * ACROSS].map((end) => Number((end - BigInt(seed)) / ACROSS));
        const within = (value, least, most) => Math.round(1000 * Math.max(least, Math.min(most, value))) / 1000;
        set([within(x + across, -column, Number(ACROSS) - 1 - column), within(y + up, rows[0], Math.max(rows[0], rows[1]))]);
    }

    pad.addEventListener("pointerdown", (event) => {
        pad.setPointerCapture(event.pointerId);
        let [fromX, fromY] = [event.clientX, event.clientY];
        const drag = ({ clientX, clientY }) => {
            move((fromX - clientX) / cell, (clientY - fromY) / cell);
            [fromX, fromY] = [clientX, clientY];
        };
        pad.addEventListener("pointermove", drag);
        pad.addEventListener("pointerup", () => pad.removeEventListener("pointermove", drag), { once: true });
    });
    const toNearest = () => {
        const { seed, place } = get();
        settle(String(seedAt(seed, ...place.map(Math.round))));
    };
    pad.addEventListener("dblclick", toNearest);
    pad.addEventListener("keydown", (event) => {
        const by = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
        if (event.key === "Enter") toNearest();
        else if (by) move(...by);
        else return;
        event.preventDefault();
    });
    return { pad, draw };
}
