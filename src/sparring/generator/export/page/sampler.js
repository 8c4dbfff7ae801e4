// Samples of a generator: what `Generator.sample` in Python draws for a seed, in the browser.

import { makeEngine, unpack } from "./engine.js";
import { normals, truncatedNormals, uniforms } from "./random.js";

// `about` describes the generator: see to_html.py.
export async function openSampler(about, weights, kernel) {
    const { halves, singles } = await unpack(weights, about.numHalves);
    const labelSize = about.labelSize, size = about.latentDim;
    const engine = await makeEngine(kernel, about.steps, halves, singles, size + labelSize);

    // The latents of the samples 0 to count − 1 of a seed, one Float32Array each.
    function latents(seed, count, truncation) {
        const purpose = BigInt(about.purposes.latents), all = count * size, given = BigInt(seed);
        const numbers = truncation ? truncatedNormals(given, purpose, all, truncation)
            : about.prior === "gaussian" ? normals(given, purpose, all)
            : uniforms(given, purpose, all).map((uniform) => 2 * uniform - 1);
        return Array.from({ length: count }, (_, number) => numbers.slice(number * size, (number + 1) * size));
    }

    // What the network takes for labels: one-hot classes or rows of attributes, as they occur in the training data, or
    // all of one class.
    function labels(seed, count, label) {
        if (!labelSize) return Array.from({ length: count }, () => []);
        const shares = uniforms(BigInt(seed), BigInt(about.purposes.labels), count);
        if (about.rows.length) return Array.from(shares, (share) => about.rows[Math.floor(share * about.rows.length)]);
        const edges = about.edges, end = edges.at(-1);
        return Array.from(shares, (share) => {
            const reached = edges.findIndex((edge) => edge > Math.fround(share * end));
            const number = label !== null ? label : reached < 0 ? edges.length - 1 : reached;
            return Array.from({ length: labelSize }, (_, place) => Number(place === number));
        });
    }

    const direction = (number) => singles.subarray(about.directionsAt + number * size, about.directionsAt + (number + 1) * size);

    // The latents moved along directions, each by so many standard deviations.
    function push(latent, amounts) {
        const moved = Float32Array.from(latent);
        amounts.forEach((amount, number) => amount && direction(number).forEach((value, place) => { moved[place] += amount * about.deviation * value; }));
        return moved;
    }

    return { engine, singles, latents, labels, push };
}

// A point on the great circle between two latents, as `Generator.interpolate` takes it.
export function between(start, end, position) {
    const dot = (one, other) => one.reduce((sum, value, place) => sum + value * other[place], 0);
    const angle = Math.acos(Math.max(-1, Math.min(1, dot(start, end) / Math.sqrt(dot(start, start) * dot(end, end)))));
    const [one, other] = Math.sin(angle) < 1e-6 ? [1 - position, position]
        : [Math.sin((1 - position) * angle) / Math.sin(angle), Math.sin(position * angle) / Math.sin(angle)];
    return start.map((value, place) => one * value + other * end[place]);
}

// A number in [−1, 1] as a grey level, rounded as Python rounds: halves to the even one.
export function level(value) {
    const scaled = Math.fround(Math.fround(Math.fround(value) + 1) * 127.5), whole = Math.floor(scaled);
    const rounded = scaled - whole === 0.5 ? whole + (whole & 1) : Math.round(scaled);
    return Math.max(0, Math.min(255, rounded));
}
