// Where the page's data come from: a server, or the page itself. Both answer the same questions.

// The data of a page that needs no server: `data.runs` holds, for each run, its info, the lines of its log and its frames.
export function inlineSource(data) {
    const find = (id) => data.runs.find((run) => run.info.id === id);
    return {
        isLive: false,
        meta: async () => data.meta,
        runs: async () => data.runs.map((run) => run.info),
        info: async (id) => find(id).info,
        log: async (id, after) => ({ lines: after ? [] : find(id).lines, after: 1, is_training: false, reset: false, changed: [] }),
        frames: async (id) => {
            const { frames, points } = find(id);
            return { steps: frames.map((frame) => frame.step), seconds: frames.map((frame) => frame.seconds), data: points };
        },
        frame: async (id, step) => find(id).frames.find((frame) => frame.step === step),
        thumbnail: (id) => find(id).frames.at(-1)?.picture ?? null,
        nearest: async (id, step, index) => find(id).nearest?.[step]?.[index] ?? null,
    };
}

// A server on this computer. An answer that is no success becomes an Error with the server's sentence.
export function httpSource() {
    async function ask(path) {
        const answer = await fetch(`api/${path}`);
        const body = await answer.json().catch(() => ({}));
        if (!answer.ok) throw Object.assign(new Error(body.error ?? `the server answered ${answer.status}`), { status: answer.status });
        return body;
    }
    const at = (id) => `runs/${encodeURIComponent(id)}`;
    return {
        isLive: true,
        meta: () => ask("meta"),
        runs: async () => (await ask("runs")).runs,
        info: (id) => ask(at(id)),
        log: (id, after) => ask(`${at(id)}/log?after=${after}`),
        frames: (id) => ask(`${at(id)}/frames`),
        frame: (id, step) => ask(`${at(id)}/frames/${step}`),
        thumbnail: (id) => `api/${at(id)}/thumbnail`,
        nearest: (id, step, index) => ask(`${at(id)}/nearest?step=${step}&index=${index}`),
        explorer: (id) => `api/${at(id)}/explorer`,
    };
}
