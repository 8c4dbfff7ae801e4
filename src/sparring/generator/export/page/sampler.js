// Samples of a generator: what `Generator.sample` in Python draws for a seed, in the browser.

import { makeEngine, unpack } from "./engine.js";
import { normals, truncatedNormals, uniforms } from "./random.js";

// `about` describes the generator: see to_html.py.
export async function openSampler(about, weights, kernel) {
    const { halves, singles } = await unpack(weights, about.numHalves);
    const labelSize = about.labelSize, size = about.latentDim;
    const engine = await makeEngine(kernel, about.steps, halves, singles, size + labelSize);

    let end = 0; // where the part of the next attribute begins in a vector
    const parts = about.attributes.map((attribute) => {
        const start = end;
        end += attribute.values.length || 1;
        return { ...attribute, start };
    });

    // The latents of the samples 0 to count − 1 of a seed, one Float32Array each.
    function latents(seed, count, truncation) {
        const purpose = BigInt(about.purposes.latents), all = count * size, given = BigInt(seed);
        const numbers = truncation ? truncatedNormals(given, purpose, all, truncation)
            : about.prior === "gaussian" ? normals(given, purpose, all)
            : uniforms(given, purpose, all).map((uniform) => 2 * uniform - 1);
        return Array.from({ length: count }, (_, number) => numbers.slice(number * size, (number + 1) * size));
    }

    // What the network takes for labels: one-hot classes or vectors of attributes, as they occur in the training data.
    // `label` is the number of a class for all samples. With attributes it holds a number for each, the place of a value
    // or the number itself; null leaves it to chance.
    function labels(seed, count, label) {
        if (!labelSize) return Array.from({ length: count }, () => []);
        const shares = uniforms(BigInt(seed), BigInt(about.purposes.labels), count);
        if (about.attributes.length) return vectors(shares, label ?? []);
        const edges = about.edges, end = edges.at(-1);
        return Array.from(shares, (share) => {
            const reached = edges.findIndex((edge) => edge > Math.fround(share * end));
            const number = label !== null ? label : reached < 0 ? edges.length - 1 : reached;
            return Array.from({ length: labelSize }, (_, place) => Number(place === number));
        });
    }

    // Vectors with the wanted attributes; the others are those of a row that has these, as `Config.vectors` draws them.
    function vectors(shares, wanted) {
        const asked = parts.map((part, number) => ({ ...part, number: wanted[number] ?? null })).filter((part) => part.number !== null);
        const fitting = about.rows.filter((row) => asked.every(({ values, start, number }) => !values.length || row[start + number]));
        const rows = fitting.length ? fitting : about.rows;
        return Array.from(shares, (share) => {
            const vector = [...rows[Math.floor(share * rows.length)]];
            for (const { values, mean, deviation, start, number } of asked) {
                if (values.length) values.forEach((_, place) => { vector[start + place] = Number(place === number); });
                else vector[start] = (number - mean) / deviation;
            }
            return vector;
        });
    }

    // The attributes of a vector: of each the place of its value, or its number.
    const decode = (vector) => parts.map(({ values, mean, deviation, start }) => (values.length ? vector.slice(start, start + values.length).indexOf(1) : vector[start] * deviation + mean));

    const direction = (number) => singles.subarray(about.directionsAt + number * size, about.directionsAt + (number + 1) * size);

    // The latents moved along directions, each by so many standard deviations.
    function push(latent, amounts) {
        const moved = Float32Array.from(latent);
        amounts.forEach((amount, number) => amount && direction(number).forEach((value, place) => { moved[place] += amount * about.deviation * value; }));
        return moved;
    }

    return { engine, singles, latents, labels, decode, push };
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
