// The random numbers of numpy's Philox and ziggurat, so that a seed draws here what it draws in Python.

// The four words of 64 bits of one block of Philox 4x64-10 (Salmon et al. 2011), for a counter and a key of such words.
function philox([c0, c1, c2, c3], [k0, k1]) {
    const word = (value) => BigInt.asUintN(64, value);
    for (let round = 0; round < 10; round++) {
        const one = 0xd2e7470ee14c6c93n * c0, other = 0xca5a826395121157n * c2;
        [c0, c1, c2, c3] = [(other >> 64n) ^ c1 ^ k0, word(other), (one >> 64n) ^ c3 ^ k1, word(one)];
        [k0, k1] = [word(k0 + 0x9e3779b97f4a7c15n), word(k1 + 0xbb67ae8584caa73bn)];
    }
    return [c0, c1, c2, c3];
}

// A stream of whole numbers of 32 bits: the low half of each word, then its high half. `key` holds the seed and the
// purpose, both BigInt, as in sparring/seeding.py; numpy counts up before it makes a block.
function bits(key) {
    let counter = 0n, halves = [];
    return () => {
        if (!halves.length) {
            halves = philox([++counter, 0n, 0n, 0n], key).flatMap((word) => [Number(word & 0xffffffffn), Number(word >> 32n)]);
        }
        return halves.shift();
    };
}

const asUniform = (number) => (number >>> 8) / 16777216;

// `count` numbers uniform in [0, 1), as `Stream.uniform` draws them.
export function uniforms(seed, purpose, count) {
    const next = bits([seed, purpose]);
    return Float32Array.from({ length: count }, () => asUniform(next()));
}

// The ziggurat of Marsaglia and Tsang 2000: 256 layers of equal area under exp(−x²/2). For each layer its width over 2²³,
// the share of it that lies under the curve wholly, times 2²³, and the curve's height at its end.
const EDGE = 3.6541528853610088, AREA = 0.00492867323399;
function makeLayers() {
    const height = (x) => Math.exp(-0.5 * x * x), size = 2 ** 23;
    const width = new Float32Array(256), inner = new Uint32Array(256), heights = new Float32Array(256);
    let x = EDGE;
    const base = AREA / height(x);
    [width[0], inner[0], heights[0]] = [base / size, Math.round((x / base) * size), 1];
    [width[255], heights[255]] = [x / size, height(x)];
    for (let layer = 254; layer >= 1; layer--) {
        const next = Math.sqrt(-2 * Math.log(AREA / x + height(x)));
        inner[layer + 1] = Math.round((next / x) * size);
        [width[layer], heights[layer]] = [next / size, height(next)];
        x = next;
    }
    return { width, inner, heights };
}
const LAYERS = makeLayers();

// `count` standard normal numbers, as `Stream.normal` draws them: in single precision, step by step.
export function normals(seed, purpose, count) {
    const next = bits([seed, purpose]), single = Math.fround, uniform = () => asUniform(next());
    const logarithm = () => single(Math.log1p(-uniform()));
    const draw = () => {
        for (;;) {
            const number = next(), layer = number & 255, size = number >>> 9;
            const x = single(size * LAYERS.width[layer]) * (number & 256 ? -1 : 1);
            if (size < LAYERS.inner[layer]) return x;
            if (layer === 0) {
                for (;;) {
                    const beyond = single(single(-1 / EDGE) * logarithm()), limit = -logarithm();
                    if (limit + limit > single(beyond * beyond)) return ((size >>> 8) & 1 ? -1 : 1) * single(single(EDGE) + beyond);
                }
            }
            const [low, high] = [LAYERS.heights[layer], LAYERS.heights[layer - 1]];
            if (single(single(single(high - low) * uniform()) + low) < Math.exp(-0.5 * x * x)) return x;
        }
    };
    return Float32Array.from({ length: count }, draw);
}

// The share of standard normal numbers below x, by its series around 0: exact to 15 digits where |x| < 5.
export function shareBelow(x) {
    let sum = 0, term = x;
    for (let power = 3; Math.abs(term) > 1e-17; power += 2) {
        sum += term;
        term *= (x * x) / power;
    }
    return 0.5 + (sum * Math.exp(-0.5 * x * x)) / Math.sqrt(2 * Math.PI);
}

// Normal numbers of at most `largest` in magnitude: those below which the shares of the uniform numbers lie.
export function truncatedNormals(seed, purpose, count, largest) {
    const edge = shareBelow(-largest);
    return uniforms(seed, purpose, count).map((uniform) => {
        const share = edge + uniform * (1 - 2 * edge);
        let x = 0; // Newton's method from the middle, which never leaps over the answer
        for (let step = 0; step < 60; step++) {
            const error = shareBelow(x) - share;
            x -= error * Math.sqrt(2 * Math.PI) * Math.exp(0.5 * x * x);
            if (Math.abs(error) < 1e-16) break;
        }
        return Math.max(-largest, Math.min(largest, x));
    });
}
