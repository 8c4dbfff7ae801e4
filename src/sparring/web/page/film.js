// An animated WebP made in the browser: it compresses each frame by itself, and this joins them into one file.
//
// A WebP file is "RIFF", the size, "WEBP", and chunks: four letters, a size, the bytes, padded to an even length. An
// animation has a chunk VP8X (size of the canvas, and that it moves), ANIM (background, number of repetitions), and
// for each frame ANMF (place, size, milliseconds), which holds the frame's own chunks.
// https://developers.google.com/speed/webp/docs/riff_container

const LABEL_HEIGHT = 22;

// Join pictures {image, text} into an animated WebP that shows each for some milliseconds, with its text below it. An image is one
// that is loaded, or a canvas.
export async function animate(pictures, milliseconds) {
    if (!pictures.length) throw new Error("the run has no frames yet");
    const { width: wide, height: high } = pictures[0].image;
    const zoom = Math.ceil(480 / wide);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [wide * zoom, high * zoom + LABEL_HEIGHT];
    const context = canvas.getContext("2d");
    const frames = [];
    for (const [number, { image, text }] of pictures.entries()) {
        context.fillStyle = "#fff";
        context.fillRect(0, 0, canvas.width, canvas.height);
        context.imageSmoothingEnabled = false;
        context.drawImage(image, 0, 0, wide * zoom, high * zoom);
        context.fillStyle = "#222";
        context.font = "14px system-ui, sans-serif";
        context.fillText(text, 6, canvas.height - 6);
        const blob = await new Promise((done) => canvas.toBlob(done, "image/webp", 0.85));
        if (blob?.type !== "image/webp") throw new Error("this browser writes no WebP");
        const chunks = imageChunks(new Uint8Array(await blob.arrayBuffer()));
        const wait = number === pictures.length - 1 ? 20 * milliseconds : milliseconds; // stay at the end for a while
        frames.push(chunk("ANMF", [...uint24(0), ...uint24(0), ...uint24(canvas.width - 1), ...uint24(canvas.height - 1), ...uint24(wait), 2], ...chunks));
    }
    const header = chunk("VP8X", [2, 0, 0, 0, ...uint24(canvas.width - 1), ...uint24(canvas.height - 1)]);
    const parts = [header, chunk("ANIM", [255, 255, 255, 255, 0, 0]), ...frames];
    const size = parts.reduce((sum, part) => sum + part.length, 4);
    return new Blob([letters("RIFF"), uint32(size), letters("WEBP"), ...parts], { type: "image/webp" });
}

// The chunks of a still WebP that hold its pixels.
function imageChunks(bytes) {
    const found = [], view = new DataView(bytes.buffer);
    for (let place = 12; place + 8 <= bytes.length; ) {
        const name = String.fromCharCode(...bytes.subarray(place, place + 4));
        const size = view.getUint32(place + 4, true), end = place + 8 + size + (size % 2);
        if (["VP8 ", "VP8L", "ALPH"].includes(name)) found.push(bytes.subarray(place, end));
        place = end;
    }
    return found;
}

function chunk(name, fields, ...inner) {
    const size = fields.length + inner.reduce((sum, part) => sum + part.length, 0);
    const made = new Uint8Array(8 + size + (size % 2));
    made.set(letters(name));
    made.set(uint32(size), 4);
    made.set(fields, 8);
    let place = 8 + fields.length;
    for (const part of inner) {
        made.set(part, place);
        place += part.length;
    }
    return made;
}

function letters(text) {
    return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

function uint24(value) {
    return [value & 255, (value >> 8) & 255, (value >> 16) & 255];
}

function uint32(value) {
    return Uint8Array.from([...uint24(value), (value >>> 24) & 255]);
}
