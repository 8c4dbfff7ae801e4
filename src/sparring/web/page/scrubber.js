// One slider moves everything: curves, samples, figures and alarms of all shown runs. It plays like a film.

import { choice, duration, element, inWords } from "./elements.js";
import { alarmBands } from "./series.js";

const FRAMES_PER_SECOND = 12;

export function makeScrubber(host, page) {
    const { state } = page;
    const play = element("button", { type: "button", class: "play", "aria-label": "play", onclick: toggle }, "▶");
    const slider = element("input", { type: "range", min: 0, step: "any", "aria-label": "position in the training" });
    const bands = element("div", { class: "bands", "aria-hidden": "true" });
    const words = element("output", {});
    const newest = element("button", { type: "button", title: "go to the newest step and follow the training (End)", onclick: () => state.set({ at: null }) }, "newest");
    const axis = choice("by", { step: "steps", seconds: "seconds" }, (chosen) => {
        state.set({ axis: chosen, at: null });
    });
    const film = element("span", { class: "film" });
    host.append(play, element("div", { class: "track" }, slider, bands), words, newest, axis.label, film);
    let timer = null, view = null;

    slider.addEventListener("input", () => state.set({ at: Number(slider.value) }));
    addEventListener("keydown", (event) => {
        if (event.altKey || event.ctrlKey || event.metaKey || event.target !== slider && event.target.closest("input, select, textarea, audio, dialog")) return;
        const count = event.shiftKey ? 10 : 1;
        if (event.key === "ArrowRight") move(count);
        else if (event.key === "ArrowLeft") move(-count);
        else if (event.key === " " && !event.target.closest("button, summary")) toggle();
        else if (event.key === "Home") state.set({ at: 0 });
        else if (event.key === "End") state.set({ at: null });
        else return;
        event.preventDefault();
    });

    // The positions at which some run has a frame, or else a line of the log.
    function stops() {
        const places = view.runs.flatMap((run) => (run.frames.steps.length ? run.frames[view.axis === "step" ? "steps" : "seconds"] : run.series[view.axis]));
        return [...new Set(places)].sort((one, other) => one - other);
    }

    function move(count) {
        if (!view) return;
        const places = stops();
        if (!places.length) return;
        let now = places.findLastIndex((place) => place <= view.position + 1e-9);
        now = Math.min(places.length - 1, Math.max(0, now + count));
        state.set({ at: now === places.length - 1 && count > 0 ? null : places[now] });
    }

    function toggle() {
        if (timer !== null) return stop();
        if (!view) return;
        const places = stops();
        if (places.length < 2) return;
        if (view.position >= places.at(-1)) state.set({ at: places[0] });
        play.textContent = "❚❚";
        play.setAttribute("aria-label", "pause");
        timer = setInterval(() => {
            move(1);
            if (state.get().at === null || stops().length < 2) stop();
        }, 1000 / FRAMES_PER_SECOND);
    }

    function stop() {
        clearInterval(timer);
        timer = null;
        play.textContent = "▶";
        play.setAttribute("aria-label", "play");
    }

    return {
        film, // where samples put their button
        update(now) {
            view = now;
            play.disabled = timer === null && stops().length < 2;
            axis.select.value = now.axis;
            slider.max = now.last;
            slider.value = now.position;
            const unit = now.axis === "step" ? `step ${inWords(Math.round(now.position))}` : duration(now.position);
            words.textContent = `${unit} of ${now.axis === "step" ? inWords(now.end) : duration(now.end)}`;
            slider.setAttribute("aria-valuetext", words.textContent);
            newest.disabled = state.get().at === null;
            if (bands.dataset.key === `${now.version} ${now.axis}`) return;
            bands.dataset.key = `${now.version} ${now.axis}`;
            bands.replaceChildren(...now.runs.flatMap((run) => alarmBands(run.series, now.axis).map((band) => element("i", {
                class: band.severity, title: `${run.name}: ${band.name}`,
                style: `left: ${(100 * band.from) / now.last}%; width: ${Math.max(0.5, (100 * (band.to - band.from)) / now.last)}%`,
            }))));
        },
    };
}
