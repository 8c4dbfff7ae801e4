// The latent window: the page that `sparring export` writes, in a frame. It draws samples by itself, without the server.

import { element, whileSeen } from "./elements.js";

export function makeExplorer(host, page) {
    const { state, source } = page;
    let frame = null, opened = "", told = null;

    // The frame tells what it shows, which stands in this page's address, and how high it is.
    addEventListener("message", ({ data, source: from }) => {
        if (!frame || from !== frame.contentWindow || !data?.sparring) return;
        const { address, height } = data.sparring;
        if (typeof address === "string") state.set({ explorer: told = address });
        if (typeof height === "number") frame.height = Math.min(height, 4000);
    });

    // An address that ends with "#" would scroll this page to the frame.
    const draw = whileSeen(host.parentElement, ({ runs: [run] }) => {
        const { generator_saved: saved } = run.info, key = `${run.id} ${saved}`, wish = state.get().explorer;
        if (key === opened && wish === told) return;
        [opened, told] = [key, wish];
        frame = element("iframe", { title: "samples at chosen latents", src: `${source.explorer(run.id)}?${saved}${wish ? `#${wish}` : ""}` });
        host.replaceChildren(frame);
    });
    return {
        update(view) {
            const isThere = source.isLive && view.runs[0].info.generator_saved !== null;
            host.parentElement.hidden = !isThere;
            if (isThere) draw(view);
        },
    };
}
