// Carries out the steps of a generator's network (see program.py), with the loops of kernel.wat.
//
// Pictures lie in memory with the features of a pixel side by side, in rooms of a multiple of 8 numbers, of which the
// last may be unused: `room`. Four samples are made together, as `multiply` takes four rows.

import { numbers } from "./elements.js";

const TOGETHER = 4;
const room = (features) => Math.ceil(features / 8) * 8;

// The number of 16 bits with these bits: a sign, an exponent of 5 bits and a fraction of 10.
function fromHalf(bits) {
    const exponent = (bits >> 10) & 31, fraction = bits & 1023, sign = bits & 0x8000 ? -1 : 1;
    return sign * (exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction);
}

// The weights: packed in base64 are all low bytes of the halves, all their high bytes, and the singles.
export async function unpack(base64, numHalves) {
    const packed = new Blob([numbers(base64, Uint8Array)]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    const bytes = await new Response(packed).arrayBuffer();
    const low = new Uint8Array(bytes, 0, numHalves), high = new Uint8Array(bytes, numHalves, numHalves);
    const halves = Float32Array.from(low, (each, place) => fromHalf(each | (high[place] << 8)));
    return { halves, singles: new Float32Array(bytes.slice(2 * numHalves)) };
}

// A function of latents [latent_dim] and labels (one-hot, or a vector; [] without), for at most `TOGETHER` samples at a
// time: `run(latents, labels)` takes arrays of such, and returns for each sample Float32Array [height × width × features].
export async function makeEngine(kernel, steps, halves, singles, numInputs) {
    // First everything gets its place in memory; an address counts numbers of 4 bytes until it is handed to the kernel.
    let end = 0;
    const take = (count) => {
        const place = end;
        end += Math.ceil(count / 4) * 4; // 16 bytes
        return place;
    };
    const sizes = steps.map(({ height, width, features }) => height * width * room(features));
    const spare = TOGETHER * Math.max(room(numInputs), ...steps.map(({ features }) => room(features))); // rows beyond the last
    const largest = Math.max(room(numInputs), ...sizes) * TOGETHER + spare;
    const slots = [take(largest), take(largest), take(largest)];
    const scratch = take(Math.max(1, ...steps.map(scratchSize)) + spare);
    const plans = steps.map((step) => ({ ...step, ...place(step) }));
    const memory = new WebAssembly.Memory({ initial: Math.ceil((end * 4) / 65536) });
    const floats = new Float32Array(memory.buffer);
    const { multiply, finish, add, spread } = (await WebAssembly.instantiate(kernel, { page: { memory } })).instance.exports;
    for (const plan of plans) fill(plan);

    function scratchSize({ do: name, features, window, padding, from, inputs }) {
        if (name === "conv") return (from[0] + 2 * padding[0]) * (from[1] + 2 * padding[1]) * room(inputs);
        if (name === "spread") return Math.max(4, from[0] * from[1]) * room(window[0] * window[1] * features);
        return 0;
    }

    // Where a step's weights, scales and shifts go: `perSample` of the latter, and the weights' columns.
    function place({ do: name, height, width, features, inputs, window }) {
        if (["signs", "keep", "add", "double", "tanh"].includes(name)) return {};
        const perSample = name === "dense" ? height * width * room(features) : room(features);
        const found = { perSample, scaleAt: take(perSample), shiftAt: take(perSample), columns: perSample };
        if (name === "finish" || name === "modulate") return found;
        const taps = name === "dense" ? 1 : window[0] * window[1];
        if (name === "spread") found.columns = room(taps * features);
        return { ...found, weightsAt: take((name === "conv" ? taps : 1) * room(inputs) * found.columns) };
    }

    // Weights into panels of 8 columns; features into their rooms.
    function fill(plan) {
        const { do: name, height, width, features, inputs, weights, weightsAt, window, columns } = plan;
        const groups = name === "dense" ? height * width : 1, apart = room(features);
        if ("scaleAt" in plan && name !== "modulate") {
            for (let group = 0; group < groups; group++) {
                for (let feature = 0; feature < features; feature++) {
                    const from = group * features + feature, to = group * apart + feature;
                    floats[plan.scaleAt + to] = singles[plan.scale + from];
                    floats[plan.shiftAt + to] = singles[plan.shift + from];
                }
            }
        }
        if (weights === undefined) return;
        const taps = name === "conv" ? window[0] * window[1] : 1;
        const outputs = name === "dense" ? groups * features : name === "conv" ? features : window[0] * window[1] * features;
        const rows = taps * room(inputs);
        for (let output = 0; output < outputs; output++) {
            const column = name === "dense" ? Math.floor(output / features) * apart + (output % features) : output;
            const panel = weightsAt + (column >> 3) * rows * 8 + (column & 7);
            for (let tap = 0; tap < taps; tap++) {
                for (let input = 0; input < inputs; input++) {
                    floats[panel + (tap * room(inputs) + input) * 8] = halves[weights + (tap * inputs + input) * outputs + output];
                }
            }
        }
        plan.panels = columns / 8;
    }

    const doing = {
        signs(plan, from, to, count) {
            const half = plan.features / 2;
            for (let sample = 0; sample < count; sample++) {
                const [source, target] = [from + sample * room(half), to + sample * room(plan.features)];
                for (let place = 0; place < half; place++) {
                    floats[target + place] = plan.gain * floats[source + place];
                    floats[target + half + place] = Math.sign(floats[source + place]);
                }
                floats.fill(0, target + 2 * half, target + room(plan.features));
            }
        },
        dense(plan, from, to, count) {
            const inputs = room(plan.inputs), size = plan.perSample * 4;
            multiply(from * 4, inputs * 4, 1, inputs, 0, plan.weightsAt * 4, to * 4, size, count, plan.panels);
            finish(to * 4, count, size, plan.scaleAt * 4, plan.shiftAt * 4, plan.slope);
        },
        conv(plan, from, to, count) {
            const { from: [rows, columns], padding: [above, beside], window, height, width } = plan;
            const inputs = room(plan.inputs), line = (columns + 2 * beside) * inputs, outputs = room(plan.features);
            if (above || beside) floats.fill(0, scratch, scratch + (rows + 2 * above) * line);
            for (let sample = 0; sample < count; sample++) {
                let image = from + sample * rows * columns * inputs;
                if (above || beside) {
                    for (let row = 0; row < rows; row++) {
                        const begin = image + row * columns * inputs;
                        floats.copyWithin(scratch + (row + above) * line + beside * inputs, begin, begin + columns * inputs);
                    }
                    image = scratch;
                }
                const isWhole = window[0] === 1 && window[1] === 1 && !above && !beside; // all pixels are one long row
                for (let row = 0; row < (isWhole ? 1 : height); row++) {
                    multiply((image + row * line) * 4, inputs * 4, window[0], window[1] * inputs, line * 4, plan.weightsAt * 4,
                        (to + (sample * height + row) * width * outputs) * 4, outputs * 4, isWhole ? height * width : width, plan.panels);
                }
            }
            finish(to * 4, count * height * width, outputs * 4, plan.scaleAt * 4, plan.shiftAt * 4, plan.slope);
        },
        spread(plan, from, to, count) {
            const { from: [rows, columns], window, padding, stride, height, width, features } = plan;
            const inputs = room(plan.inputs), outputs = room(features), apart = plan.columns;
            floats.fill(0, to, to + count * height * width * outputs);
            for (let sample = 0; sample < count; sample++) {
                multiply((from + sample * rows * columns * inputs) * 4, inputs * 4, 1, inputs, 0, plan.weightsAt * 4,
                    scratch * 4, apart * 4, rows * columns, plan.panels);
                for (let row = 0; row < rows; row++) {
                    for (let tap = 0; tap < window[0]; tap++) {
                        const y = row * stride[0] - padding[0] + tap;
                        if (y < 0 || y >= height) continue;
                        spread((scratch + row * columns * apart + tap * window[1] * features) * 4, apart * 4, columns,
                            (to + (sample * height + y) * width * outputs) * 4, outputs * 4, width, window[1], stride[1], padding[1], features);
                    }
                }
            }
            finish(to * 4, count * height * width, outputs * 4, plan.scaleAt * 4, plan.shiftAt * 4, plan.slope);
        },
        finish(plan, from, to, count) {
            floats.copyWithin(to, from, from + count * plan.size);
            finish(to * 4, count * plan.height * plan.width, room(plan.features) * 4, plan.scaleAt * 4, plan.shiftAt * 4, plan.slope);
        },
        modulate(plan, from, to, count, labels) {
            const { features, size, scaleAt, shiftAt } = plan;
            floats.copyWithin(to, from, from + count * size);
            for (let sample = 0; sample < count; sample++) {
                for (let feature = 0; feature < features; feature++) {
                    let [scale, shift] = [1, 0];
                    labels[sample].forEach((share, label) => {
                        scale += share * singles[plan.scale + label * features + feature];
                        shift += share * singles[plan.shift + label * features + feature];
                    });
                    [floats[scaleAt + feature], floats[shiftAt + feature]] = [scale, shift];
                }
                finish((to + sample * size) * 4, plan.height * plan.width, room(features) * 4, scaleAt * 4, shiftAt * 4, plan.slope);
            }
        },
        // Each new pixel is 3/4 of the nearest and 1/4 of the next nearest one, in both directions; edges are repeated.
        double(plan, from, to, count) {
            const apart = room(plan.features), [rows, columns] = [plan.height / 2, plan.width / 2];
            for (let sample = 0; sample < count; sample++) {
                for (let y = 0; y < plan.height; y++) {
                    const near = y >> 1, far = Math.max(0, Math.min(rows - 1, near + (y & 1 ? 1 : -1)));
                    const one = from + (sample * rows + near) * columns * apart, two = from + (sample * rows + far) * columns * apart;
                    for (let x = 0; x < plan.width; x++) {
                        const left = (x >> 1) * apart, right = Math.max(0, Math.min(columns - 1, (x >> 1) + (x & 1 ? 1 : -1))) * apart;
                        const target = to + ((sample * plan.height + y) * plan.width + x) * apart;
                        for (let place = 0; place < apart; place++) {
                            const upper = 0.75 * floats[one + left + place] + 0.25 * floats[one + right + place];
                            const lower = 0.75 * floats[two + left + place] + 0.25 * floats[two + right + place];
                            floats[target + place] = 0.75 * upper + 0.25 * lower;
                        }
                    }
                }
            }
        },
        tanh(plan, from, to, count) {
            const apart = room(plan.features);
            for (let pixel = 0; pixel < count * plan.height * plan.width; pixel++) {
                for (let feature = 0; feature < plan.features; feature++) {
                    const place = pixel * apart + feature;
                    floats[to + place] = Math.tanh(floats[from + place]);
                }
            }
        },
    };
    for (const [number, plan] of plans.entries()) plan.size = sizes[number];
    const last = plans.at(-1);

    function run(latents, labels) {
        const count = latents.length;
        let now = 0, kept = null;
        for (let sample = 0; sample < count; sample++) {
            const start = slots[0] + sample * room(numInputs);
            floats.fill(0, start, start + room(numInputs));
            floats.set(latents[sample], start);
            floats.set(labels[sample], start + latents[sample].length);
        }
        for (const plan of plans) {
            if (plan.do === "keep") kept = now;
            else if (plan.do === "add") {
                add(slots[kept] * 4, slots[now] * 4, count * plan.size * 4);
                [now, kept] = [kept, null];
            } else {
                const to = [0, 1, 2].find((slot) => slot !== now && slot !== kept);
                doing[plan.do](plan, slots[now], slots[to], count, labels);
                now = to;
            }
        }
        const apart = room(last.features), pixels = last.height * last.width;
        return latents.map((_, sample) => {
            const begin = slots[now] + sample * pixels * apart;
            if (apart === last.features) return floats.slice(begin, begin + pixels * apart);
            const samples = new Float32Array(pixels * last.features);
            for (let pixel = 0; pixel < pixels; pixel++) {
                for (let feature = 0; feature < last.features; feature++) samples[pixel * last.features + feature] = floats[begin + pixel * apart + feature];
            }
            return samples;
        });
    }
    return { run, together: TOGETHER, height: last.height, width: last.width, features: last.features };
}
