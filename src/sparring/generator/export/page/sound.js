// Sounds of log-mel spectrograms, as `Spectrogram.decode` in sparring/data/spectrograms.py makes them.

const HOPS = 4; // the length of the window
const NUM_INVERSION_STEPS = 5, NUM_PHASE_STEPS = 32, MOMENTUM = 0.99, TINY = 1e-12, RANGE_DB = 80;

// Cosines and sines of all multiples of a full turn's part, by the number of parts.
const TURNS = new Map();
function turns(size) {
    if (!TURNS.has(size)) TURNS.set(size, [Math.cos, Math.sin].map((wave) => Float64Array.from({ length: size }, (_, k) => wave((2 * Math.PI * k) / size))));
    return TURNS.get(size);
}

// The Fourier transform of complex numbers, by exp(sign · 2πi kn / size). It takes every `step`th of them from `first` on:
// halves of an even length are split again, those of an odd length are summed up.
function fourier(real, imaginary, sign, size = real.length, first = 0, step = 1) {
    const x = new Float64Array(size), y = new Float64Array(size), [cosines, sines] = turns(size);
    if (size % 2) {
        for (let k = 0; k < size; k++) {
            for (let n = 0; n < size; n++) {
                const at = first + n * step, cosine = cosines[(k * n) % size], sine = sign * sines[(k * n) % size];
                x[k] += real[at] * cosine - imaginary[at] * sine;
                y[k] += real[at] * sine + imaginary[at] * cosine;
            }
        }
        return [x, y];
    }
    const half = size / 2;
    const even = fourier(real, imaginary, sign, half, first, 2 * step), odd = fourier(real, imaginary, sign, half, first + step, 2 * step);
    for (let k = 0; k < half; k++) {
        const cosine = cosines[k], sine = sign * sines[k];
        const right = odd[0][k] * cosine - odd[1][k] * sine, up = odd[0][k] * sine + odd[1][k] * cosine;
        x[k] = even[0][k] + right;
        y[k] = even[1][k] + up;
        x[k + half] = even[0][k] - right;
        y[k + half] = even[1][k] - up;
    }
    return [x, y];
}

// A function of a spectrogram [bands × frames] that returns its wave. `mel` [frequencies × bands] are the bands, and
// `inverse` [bands × frequencies] their pseudoinverse.
export function makeVoice({ hop, topDb, numSamples }, numBands, numFrames, mel, inverse) {
    const size = HOPS * hop, half = size / 2, numFrequencies = half + 1, length = hop * numFrames;
    const window = Float64Array.from({ length: size }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / size));
    const windowSum = window.reduce((sum, value) => sum + value, 0);
    const overlap = new Float64Array(length);
    const eachSample = (frame, change) => {
        for (let n = 0; n < size; n++) {
            const at = frame * hop - half + n;
            if (at >= 0 && at < length) change(at, n);
        }
    };
    for (let frame = 0; frame < numFrames; frame++) eachSample(frame, (at, n) => { overlap[at] += window[n] ** 2; });

    // The magnitudes of one frame's frequencies, whose powers p solve M p = bands with p ≥ 0.
    function magnitudes(bands) {
        const toFrequencies = (values) => Float64Array.from({ length: numFrequencies }, (_, f) => values.reduce((sum, value, b) => sum + value * mel[f * numBands + b], 0));
        const toBands = (powers) => Float64Array.from({ length: numBands }, (_, b) => powers.reduce((sum, power, f) => sum + power * mel[f * numBands + b], 0));
        const back = toFrequencies(bands);
        let powers = back.map((value, f) => Math.max(0, bands.reduce((sum, band, b) => sum + band * inverse[b * numFrequencies + f], 0)) + 1e-3 * value);
        for (let step = 0; step < NUM_INVERSION_STEPS; step++) {
            const now = toFrequencies(toBands(powers));
            powers = powers.map((power, f) => (power * back[f]) / Math.max(TINY, now[f]));
        }
        return powers.map((power) => Math.sqrt(power) * windowSum);
    }

    function toSpectra(wave) {
        return Array.from({ length: numFrames }, (_, frame) => {
            const part = new Float64Array(size);
            eachSample(frame, (at, n) => { part[n] = wave[at] * window[n]; });
            return fourier(part, new Float64Array(size), -1).map((each) => each.subarray(0, numFrequencies));
        });
    }

    function toWave(spectra) {
        const wave = new Float64Array(length);
        for (const [frame, [real, imaginary]] of spectra.entries()) {
            const mirrored = (values, sign) => Float64Array.from({ length: size }, (_, k) => (k <= half ? values[k] : sign * values[size - k]));
            const [part] = fourier(mirrored(real, 1), mirrored(imaginary, -1), 1);
            eachSample(frame, (at, n) => { wave[at] += (part[n] / size) * window[n]; });
        }
        return wave.map((value, at) => value / overlap[at]);
    }

    return (spectrogram) => {
        const wanted = Array.from({ length: numFrames }, (_, frame) => magnitudes(Float64Array.from({ length: numBands }, (_, band) => {
            const value = Math.max(-1, Math.min(1, spectrogram[band * numFrames + frame]));
            return value > -1 ? 10 ** (((value - 1) * (RANGE_DB / 2) + topDb) / 10) : 0;
        })));
        let spectra = wanted.map((sizes) => [sizes, new Float64Array(numFrequencies)]), before = null;
        for (let step = 0; step < NUM_PHASE_STEPS; step++) {
            const consistent = toSpectra(toWave(spectra));
            spectra = consistent.map((now, frame) => {
                const ahead = [0, 1].map((part) => now[part].map((value, f) => (before ? before[frame][part][f] + (1 + MOMENTUM) * (value - before[frame][part][f]) : value)));
                const factor = wanted[frame].map((size, f) => size / Math.max(TINY, Math.hypot(ahead[0][f], ahead[1][f])));
                return ahead.map((values) => values.map((value, f) => value * factor[f]));
            });
            before = consistent;
        }
        return Float32Array.from(toWave(spectra).subarray(0, numSamples), (value) => Math.max(-1, Math.min(1, value)));
    };
}

// A wave as a file: 16 bits a sample, one channel.
export function wavFile(wave, rate) {
    const view = new DataView(new ArrayBuffer(44 + 2 * wave.length));
    const text = (at, letters) => [...letters].forEach((letter, place) => view.setUint8(at + place, letter.charCodeAt(0)));
    text(0, "RIFF");
    view.setUint32(4, 36 + 2 * wave.length, true);
    text(8, "WAVEfmt ");
    for (const [at, value, bytes] of [[16, 16, 4], [20, 1, 2], [22, 1, 2], [24, rate, 4], [28, 2 * rate, 4], [32, 2, 2], [34, 16, 2], [40, 2 * wave.length, 4]]) {
        if (bytes === 2) view.setUint16(at, value, true);
        else view.setUint32(at, value, true);
    }
    text(36, "data");
    wave.forEach((value, place) => view.setInt16(44 + 2 * place, Math.round(32767 * value), true));
    return new Blob([view], { type: "audio/wav" });
}
