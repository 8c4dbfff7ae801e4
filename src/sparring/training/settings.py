"""The settings that `train` and `resume` take: `Recipe` says what each field means, and a test compares the two."""

import math
from os import PathLike
from typing import Annotated, Literal, TypedDict

from annotated_types import Ge, Le, Lt

from sparring.data.memory import Indexable
from sparring.game.objectives import Objective
from sparring.game.penalties import Penalty
from sparring.training.recipe import Count, Decay, NotNegative, Pixels, Positive, Share


class Changes(TypedDict, total=False):
    """Fields of `Recipe` that can change when a run is resumed."""

    balance: bool
    objective: str | Objective
    smoothing: Annotated[float, Ge(0), Lt(1)]
    penalty: str | Penalty
    penalty_weight: Annotated[float, Ge(0), Lt(math.inf)] | None
    penalty_interval: Count
    penalty_final: Positive
    learning_rate: Positive
    learning_rate_ratio: Positive
    schedule: Literal["constant", "linear", "late", "cosine"]
    beta1: Decay
    beta2: Decay
    batch_size: Count
    accumulate: Count
    recompute: bool | None
    discriminator_steps: Count
    generator_steps: Count
    simultaneous: bool
    augment: Share | None
    augment_target: Annotated[float, Ge(-1), Le(1)] | None
    clip_gradients: Positive | None
    average_decay: Decay
    restraints: dict[str, NotNegative]
    steps: Count | None
    images: Count | None
    minutes: Positive | None
    until: str | None
    evaluation_share: Share
    evaluation_steps: Count | None
    log_steps: Count
    sample_seconds: Positive
    sample_steps: Count | None
    page_frames: Annotated[int, Ge(0), Le(10_000)]
    checkpoint_seconds: Positive
    checkpoint_steps: Count | None
    keep_checkpoints: Count
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "float32", "bfloat16"]
    compile: bool


class Settings(Changes, total=False):
    """All fields of `Recipe` but the data and their labels."""

    source: str | PathLike[str] | Indexable | None
    column: str | None
    columns: str | None
    frames: Literal["first", "all"]
    follow_links: bool
    sample_rate_hz: Annotated[int, Ge(1000), Le(192_000)] | None
    seconds: Positive | None
    size: int | tuple[Pixels, Pixels] | None
    mirror: bool
    start_from: str | PathLike[str] | None
    both_ways: bool
    input_warp: Share
    first_map: Literal["structural", "identical", "random"]
    network: str | None
    width: Count | None
    normalization: Literal["batch", "none"] | None
    conditional: bool | None
    num_clusters: Count | None
    prior: Literal["gaussian", "uniform"]
    latent_dim: Count
    optimizer: Literal["adam", "rmsprop", "sgd"]
    seed: Annotated[int, Ge(0), Lt(2**63)]
