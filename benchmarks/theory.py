"""Draws the pictures of docs/theory.md: vanishing gradients, and paths of the Dirac-GAN.

    python benchmarks/theory.py

It takes a quarter of a minute.
"""

from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import nn

from sparring import OBJECTIVES, R1, GradientPenalty
from sparring.bench import dirac
from sparring.game.penalties import Penalty
from sparring.seeding import Stream

PICTURES = Path("docs/images")
COLOURS = {"minimax": "#b3261e", "non_saturating": "#2f6fbb", "least_squares": "#5b8c2a", "wasserstein": "#d9661f"}
STEPS, EVERY = 2000, 20
"""Updates of the discriminator, and how often the gradients are measured."""


def gradient_norms(objective_name: str) -> list[float]:
    """The gradient that a generated point receives, while the discriminator gets better and the points stand still.

    The real and the generated points are two Gaussians of σ 0.1 whose means lie 2 apart. A number is the mean norm
    over the generated points.
    """
    objective = OBJECTIVES[objective_name]
    penalty = GradientPenalty(10.0) if objective_name == "wasserstein" else None
    real = 0.1 * Stream(0, "real").normal(512, 2)
    fake = 0.1 * Stream(0, "fake").normal(512, 2) + torch.tensor([2.0, 0.0])
    with Stream(0, "network").as_default():
        hidden = [nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2)]
        network = nn.Sequential(*hidden, nn.Linear(64, 1), nn.Flatten(0))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    norms = []
    for step in range(STEPS + 1):
        if step % EVERY == 0:
            points = fake.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(objective.generator(network(real), network(points)).sum(), points)
            norms.append(gradient.norm(dim=1).mean().item())
        losses = objective.discriminator(network(real), network(fake))
        if penalty is not None:
            losses = losses + penalty(network, real, fake, Stream(0, "penalty", step))
        optimizer.zero_grad()
        torch.autograd.backward(losses.mean())
        optimizer.step()
    return norms


def draw_vanishing_gradients() -> None:
    """The gradients over the training of the discriminator, for four objectives."""
    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, colour in COLOURS.items():
        norms = gradient_norms(name)
        axes.semilogy(range(0, STEPS + 1, EVERY), norms, label=name, color=colour)
        print(f"{name:15}", "  ".join(f"{norm:.2e}" for norm in norms[:: len(norms) // 5]))
    axes.set(xlabel="updates of the discriminator, the generator standing still", ylabel="gradient norm at a sample")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURES / "vanishing-gradients.png")


def draw_dirac_paths() -> None:
    """Where (θ, ψ) goes from (1, 1) under four ways to train."""
    ways: list[tuple[str, str, list[Penalty], bool]] = [
        ("non_saturating, simultaneous", "non_saturating", [], True),
        ("non_saturating, alternating", "non_saturating", [], False),
        ("wasserstein, gradient_penalty 1", "wasserstein", [GradientPenalty(1.0)], True),
        ("non_saturating, r1 0.3", "non_saturating", [R1(0.3)], True),
    ]
    figure = Figure(figsize=(11, 3.1), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (label, objective, penalties, simultaneous) in zip(figure.subplots(1, 4), ways, strict=True):
        path = dirac.train(1.0, 1.0, 400, objective=objective, penalties=penalties, simultaneous=simultaneous)
        axes.plot(path[:, 0], path[:, 1], linewidth=0.7, color="#2f6fbb")
        axes.plot(*path[0], "o", color="#8a8a8a")
        axes.plot(*path[-1], "o", color="#d9661f")
        axes.set(xlabel="generator θ", ylabel="discriminator ψ")
        axes.set_title(label, fontsize=9)
        axes.set_aspect("equal", adjustable="datalim")
    figure.savefig(PICTURES / "dirac.png")


if __name__ == "__main__":
    PICTURES.mkdir(parents=True, exist_ok=True)
    draw_dirac_paths()
    draw_vanishing_gradients()
