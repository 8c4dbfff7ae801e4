// The runs there are: choose one, or several to compare; where each stands, and what is wrong with it.

import { capital, command, duration, element, inWords, refill, spaced } from "./elements.js";
import { alarmBands } from "./series.js";

// The list, newest first, with the newest samples of each.
export function makeRuns(host, page) {
    const list = element("ul", {}), filter = element("input", { type: "search", placeholder: "find a run", "aria-label": "find a run", oninput: () => fill() });
    host.append(element("h2", {}, "Runs"), filter, list);
    let runs = [], chosen = [], colors = new Map(), drawn = "";

    function fill() {
        const words = filter.value.toLowerCase();
        filter.hidden = runs.length < 8;
        refill(list, runs.filter((run) => `${run.name} ${run.data}`.toLowerCase().includes(words)).map(item));
    }
    function item(run) {
        const isShown = chosen.includes(run.id);
        const box = element("input", { type: "checkbox", "aria-label": `compare ${run.name}`, onchange: () => page.state.set({ runs: box.checked ? [...chosen, run.id] : chosen.filter((id) => id !== run.id), at: null }) });
        box.checked = isShown;
        const picture = run.samples_step === null ? null : page.source.thumbnail(run.id);
        const status = run.is_training ? `training, ${Math.round(100 * (run.progress ?? 0))} %` : run.status === "running" ? "cut off" : run.status;
        return element("li", { class: isShown ? "shown" : "", "data-run": run.id }, box, element("button", { type: "button", class: "run", onclick: () => page.state.set({ runs: [run.id], at: null }) },
            picture ? element("img", { loading: "lazy", src: `${picture}${page.source.isLive ? `?${run.samples_step}` : ""}`, alt: "" }) : null,
            element("span", {}, element("b", { style: isShown ? `--colour: ${colors.get(run.id)}` : null }, run.name), element("small", {}, `${run.study ? `study ${run.study}, ` : ""}${run.data.split("/").at(-1)}, ${inWords(run.steps)} steps, ${status}`), ...(run.alarms ?? []).map((alarm) => element("small", { class: "alarm" }, spaced(alarm)))),
        ));
    }
    return {
        update(all, shown, given) {
            const key = JSON.stringify([all.map((run) => [run.id, run.steps, run.status, run.is_training, run.alarms]), shown.map((id) => [id, given.get(id)])]);
            if (key === drawn) return;
            drawn = key;
            [runs, chosen, colors] = [all, shown, given];
            host.hidden = runs.length < (page.source.isLive ? 1 : 2);
            fill();
        },
    };
}

// Where the shown runs stand: status, speed, end, and alarms with their evidence.
export function makeStatus(host, page) {
    let drawn = "";
    return {
        update(view) {
            const key = JSON.stringify([view.version, view.axis, Math.round(view.position)]);
            if (key === drawn) return;
            drawn = key;
            refill(host, view.runs.slice(0, 6).map((run) => about(run, view)));
        },
    };
    function about(run, view) {
        const { info, series } = run, { summary } = info, last = series.step.length - 1;
        const [seconds, progress] = [series.seconds[last] ?? 0, series.progress[last] ?? 0];
        const speed = seconds > 0 ? (series.images[last] ?? 0) / seconds : 0;
        const left = info.is_training && progress > 0 ? `, about ${duration((seconds * (1 - progress)) / progress)} left` : "";
        const state = info.is_training ? `training: ${Math.round(100 * progress)} %${left}` : (summary.status ?? "running") === "running" ? "cut off without warning (a power cut, or somebody killed it)" : `${summary.status}: ${summary.reason}`;
        const advice = info.is_training ? [] : summary.status === "finished" ? [] : [command(`sparring resume ${info.path}`)];
        const isNow = view.position >= view.last || last < 0; // what is active now stands in the summary
        const alarms = isNow ? summary.health ?? [] : alarmBands(series, view.axis).filter((band) => band.from <= view.position && (band.to >= view.position || band.goesOn));
        return element("div", { class: "status" },
            element("h3", { style: `--colour: ${run.color}` }, run.name),
            element("p", {}, `${info.item ? `${capital(info.item)}. ` : ""}${capital(state)}. ${inWords(series.step[last] ?? 0)} steps in ${duration(seconds)}${speed ? `, ${inWords(Math.round(speed))} real samples a second` : ""}.`),
            ...advice,
            ...(alarms.length ? alarms.map(alarmBox) : [element("p", { class: "good" }, "There is no alarm here.")]),
        );
    }
    function alarmBox(alarm) {
        const evidence = Object.entries(alarm.evidence ?? {}).map(([name, value]) => `${spaced(name)} ${inWords(value)}`).join(", ");
        return element("div", { class: `alarm ${alarm.severity}`, role: "note" },
            element("b", {}, spaced(alarm.name)), `, ${alarm.severity} since step ${inWords(alarm.since)}: ${alarm.meaning}.`,
            ...(evidence ? [element("br"), `Evidence: ${evidence}.`] : []), element("br"), `Try: ${alarm.advice}`);
    }
}

// The recipes: what differs between the runs first, and all the rest below.
export function makeRecipes(host) {
    let drawn = "";
    return {
        update(view) {
            const key = view.runs.map((run) => run.id).join();
            if (key === drawn) return;
            drawn = key;
            const names = [...new Set(view.runs.flatMap((run) => Object.keys(run.info.recipe)))];
            const text = (run, name) => { const value = run.info.recipe[name]; return value === null || value === undefined ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value); };
            const differ = names.filter((name) => new Set(view.runs.map((run) => text(run, name))).size > 1);
            const table = (chosen) => element("table", {}, element("tr", {}, element("th", {}, "setting"), ...view.runs.map((run) => element("th", { style: `--colour: ${run.color}` }, run.name))),
                ...chosen.map((name) => element("tr", {}, element("td", {}, name), ...view.runs.map((run) => element("td", {}, text(run, name))))));
            host.replaceChildren(
                ...(view.runs.length > 1 ? [element("p", {}, differ.length ? "They differ in these settings:" : "Their recipes are the same."), ...(differ.length ? [table(differ)] : [])] : []),
                element("details", {}, element("summary", {}, "every setting"), table(names)),
            );
        },
    };
}
