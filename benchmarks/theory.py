"""Draws the pictures of docs/theory.md: vanishing gradients, and paths of the Dirac-GAN.

python benchmarks/theory.py
"""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sparring import R1, GradientPenalty
from sparring.bench import dirac
from sparring.bench.theory import vanishing_gradients
from sparring.penalties import Penalty

PICTURES = Path("docs/images")
COLOURS = {"minimax": "#b3261e", "non_saturating": "#2f6fbb", "least_squares": "#5b8c2a", "wasserstein": "#d9661f"}


def draw_vanishing_gradients() -> None:
    """The gradient that reaches the generated points, while the discriminator gets ever better."""
    measured = vanishing_gradients()
    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, norms in measured.norms.items():
        axes.semilogy(measured.steps, norms, label=name, color=COLOURS[name])
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
        path = dirac.play(1.0, 1.0, 400, objective=objective, penalties=penalties, simultaneous=simultaneous)
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
