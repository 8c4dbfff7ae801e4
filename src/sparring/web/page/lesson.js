// The nine steps of the algorithm, played one at a time with the numbers of one real iteration of this run.

import { base64Of, element, inWords, numbers } from "./elements.js";
import { drawPlane, toPlane } from "./points.js";

const SLOW = 25; // movements of one iteration are too small to be seen: they are shown so many times longer

// What each step does; `show` says what the picture has of the iteration's lesson.
const STEPS = [
    ["Initialise both networks", "θ and φ at random", "Once, before the first iteration. From then on each iteration repeats steps 2 to 8.", (lesson, share, first) => ({ map: first?.map, fakes: first?.samples })],
    ["Sample latents", "z ~ N(0, 1)", "Random numbers: one latent for each sample of the batch.", () => ({ latents: true })],
    ["Generate", "x̃ = G(z)", "The generator turns each latent into a sample.", (lesson) => ({ fakes: lesson.fakes })],
    ["Sample real data", "x ~ p", "The batch has as many real points as samples.", (lesson) => ({ fakes: lesson.fakes, real: lesson.real })],
    ["The discriminator's loss", "L_D", "The discriminator looks at both. The map is its probability that a point is real, before it learns.", (lesson) => ({ fakes: lesson.fakes, real: lesson.real, map: lesson.map })],
    ["Update the discriminator", "φ ← φ − η ∇L_D", "Its probability rises where the real points are, and falls where the samples are.", (lesson, share) => ({ fakes: lesson.fakes, real: lesson.real, map: share < 0.5 ? lesson.map : lesson.map_after })],
    ["The generator's loss", "L_G", "The generator learns from the discriminator's slope at each sample, and from nothing else. The arrows point to where its loss falls.", (lesson) => ({ fakes: lesson.fakes, map: lesson.map_after, arrows: { from: lesson.fakes, along: lesson.gradients } })],
    ["Update the generator", "θ ← θ − η ∇L_G", `The same latents now give other samples. The movement is shown ${SLOW} times as long as it is.`, (lesson, share) => ({ map: lesson.map_after, moved: { from: lesson.fakes, to: lesson.exaggerated, share } })],
    ["Repeat", "until a stop condition holds", "The next iteration begins at step 2.", (lesson) => ({ map: lesson.map_after, fakes: lesson.fakes_after, real: lesson.real })],
];

export function makeLesson(host, page) {
    const { state } = page;
    const picture = element("div", {}), words = element("div", { class: "words", "aria-live": "polite" });
    const buttons = STEPS.map(([name], index) => element("button", { type: "button", title: name, "aria-label": `step ${index + 1}: ${name}`, onclick: () => go(index + 1) }, String(index + 1)));
    const play = element("button", { type: "button", onclick: () => (timer === null ? start() : stop()) }, "play the iteration");
    host.append(element("p", { class: "tools" }, ...buttons, " ", play), element("div", { class: "lesson" }, picture, words));
    let timer = null, shown = null, share = 1, animation = null, drawn = "";

    function go(number) {
        state.set({ lesson: number });
    }
    function start() {
        play.textContent = "pause";
        timer = setInterval(() => go((state.get().lesson % STEPS.length) + 1), 2500);
    }
    function stop() {
        clearInterval(timer);
        timer = null;
        play.textContent = "play the iteration";
    }

    function draw() {
        const number = Math.min(STEPS.length, Math.max(1, state.get().lesson)), [name, formula, sentence, show] = STEPS[number - 1];
        const { points, step } = shown.frame, { lesson } = points;
        for (const [index, button] of buttons.entries()) button.setAttribute("aria-current", index === number - 1 ? "step" : "false");
        const layers = show(lesson, share, shown.first?.points);
        picture.replaceChildren(layers.latents ? drawLatents(lesson) : drawPlane({ ...layers, extent: points.extent }));
        const losses = page.meta.objectives[shown.info.recipe.objective] ?? {};
        const exact = number === 5 ? losses.discriminator : number === 7 ? losses.generator : undefined;
        const numbersNow = {
            5: `L_D = ${inWords(lesson.discriminator_loss)}; D(x) = ${inWords(lesson.real_probability[0])}, D(G(z)) = ${inWords(lesson.fake_probability[0])} on average`,
            6: `D(x) ${inWords(lesson.real_probability[0])} → ${inWords(lesson.real_probability[1])}, D(G(z)) ${inWords(lesson.fake_probability[0])} → ${inWords(lesson.fake_probability[1])}`,
            7: `L_G = ${inWords(lesson.generator_loss)}`,
        }[number];
        words.replaceChildren(
            element("h3", {}, `${number}. ${name}`), element("p", { class: "formula" }, exact ?? formula),
            ...(exact ? [element("p", { class: "quiet" }, "Here a is the discriminator's logit for a real point, b its logit for a sample, and σ the logistic function.")] : []),
            element("p", {}, sentence), ...(numbersNow ? [element("p", {}, numbersNow)] : []),
            number > 1 ? element("p", { class: "quiet" }, `This is iteration ${inWords(step)} of ${shown.name}, with its own latents and real points.`) : "",
        );
    }

    // Steps 6 and 8 move, for one second and for two, unless the person asked for less motion.
    function animate(number) {
        cancelAnimationFrame(animation);
        const lasts = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : { 6: 1000, 8: 2000 }[number] ?? 0;
        const begun = performance.now();
        const next = (now) => {
            share = lasts ? Math.min(1, (now - begun) / lasts) : 1;
            draw();
            if (share < 1) animation = requestAnimationFrame(next);
        };
        next(begun);
    }

    return {
        update(view) {
            const run = view.runs.find((each) => each.lessonFrame);
            host.parentElement.hidden = !run;
            if (!run) return;
            shown = { ...run, frame: run.lessonFrame };
            const { lesson } = shown.frame.points;
            lesson.exaggerated ??= exaggerate(lesson);
            const key = `${run.id} ${shown.frame.step} ${state.get().lesson}`;
            if (key === drawn) return;
            drawn = key;
            animate(state.get().lesson);
        },
    };
}

// The samples after the update, moved further by SLOW, as base64 like the others.
function exaggerate(lesson) {
    const from = numbers(lesson.fakes, Uint16Array), to = numbers(lesson.fakes_after, Uint16Array);
    return base64Of(Uint16Array.from(from, (value, index) => Math.min(65535, Math.max(0, value + SLOW * (to[index] - value)))));
}

// The first two numbers of each latent, from −3 to 3.
function drawLatents(lesson) {
    const extent = [-3, 3, -3, 3];
    return drawPlane({ fakes: toPlane(numbers(lesson.latents, Float32Array), extent), extent });
}
