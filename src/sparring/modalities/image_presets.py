"""The recipes for images."""

from sparring.modalities.preset import Preset

# fmt: off
# Shared by the default presets of images and of sounds, which are drawn by the same networks.
FAST = {
    "num_clusters": None, "learning_rate": 4e-3, "learning_rate_ratio": 0.25, "beta2": 0.99, "schedule": "late",
}
FAST_BY_NETWORK = {
    "resnet": {  # without normalisation it diverges at the rates above
        "objective": "relativistic", "penalty": "r1r2", "penalty_weight": 0.1, "penalty_interval": 4,
        "learning_rate": 3e-4, "beta1": 0.0,
    },
}

# Shared by the presets from papers: no labels, constant learning rates, and DCGAN's number of latents.
CLASSIC = {
    "conditional": False, "learning_rate": 2e-4, "schedule": "constant", "batch_size": 64, "latent_dim": 100,
}
TRANSLATION = CLASSIC | {
    "network": "translate", "objective": "least_squares", "schedule": "linear", "batch_size": 32, "minutes": 10.0,
}
MLP = {"network": "mlp", "normalization": "none", "prior": "uniform"}

PRESETS = (
    Preset(
        "default", "what works best here in two minutes: non-saturating, native size, labels or clusters",
        source="this project, docs/log.md",
        settings=FAST | {"augment": None},
        by_network=FAST_BY_NETWORK,
    ),
    Preset(
        "translate", "what translates digits best here: both ways, and ten groups that both domains share",
        source="this project, docs/log.md",
        settings={
            "network": "redraw", "both_ways": True, "num_clusters": 10, "input_warp": 0.7, "learning_rate": 4e-3,
            "learning_rate_ratio": 0.25, "beta2": 0.99, "schedule": "late", "batch_size": 64, "minutes": 10.0,
            "conditional": False,
        },
        translates=True,
    ),
    Preset(
        "restyle", "changes how pictures look, and keeps what they show in place: there and back again",
        source="this project, docs/log.md; after Zhu et al. 2017, arXiv:1703.10593",
        settings=TRANSLATION | {
            "restraints": {"cycle": 10.0}, "objective": "relativistic", "penalty": "r1", "penalty_weight": 0.1,
            "penalty_interval": 4, "learning_rate": 3e-3, "beta2": 0.99, "schedule": "late",
        },
        translates=True,
    ),
    Preset(
        "cyclegan", "CycleGAN's losses: least squares, there and back again, identity; on this library's networks",
        source="Zhu et al. 2017, arXiv:1703.10593, section 4 and appendix",
        settings=TRANSLATION | {"restraints": {"cycle": 10.0, "identity": 5.0}},
        translates=True,
    ),
    Preset(
        "cut", "CUT's losses: least squares, and each patch resembles the same patch of the input; one way",
        source="Park et al. 2020, arXiv:2007.15651, section 4",
        settings=TRANSLATION | {"restraints": {"contrastive": 1.0}},
        translates=True,
    ),
    Preset(
        "gan", "the first GAN: the value function to the letter, fully connected networks, uniform latents",
        source="Goodfellow et al. 2014, arXiv:1406.2661",
        settings=CLASSIC | MLP | {"objective": "minimax"},
    ),
    Preset(
        "non-saturating", "the first GAN with the generator that maximises log D(G(z))",
        source="Goodfellow et al. 2014, arXiv:1406.2661, section 3",
        settings=CLASSIC | MLP,
    ),
    Preset(
        "dcgan", "the deep convolutional GAN at 64×64",
        source="Radford et al. 2015, arXiv:1511.06434, section 4",
        settings=CLASSIC | {"network": "dcgan", "size": (64, 64), "batch_size": 128},
    ),
    Preset(
        "wgan", "Wasserstein GAN: five clipped updates of the discriminator to one of the generator",
        source="Arjovsky et al. 2017, arXiv:1701.07875, Algorithm 1",
        settings=CLASSIC | {
            "objective": "wasserstein", "penalty": "weight_clipping", "penalty_weight": 0.01, "optimizer": "rmsprop",
            "learning_rate": 5e-5, "beta2": 0.99, "discriminator_steps": 5,
        },
    ),
    Preset(
        "wgan-gp", "Wasserstein GAN with slopes of 1 instead of clipped weights",
        source="Gulrajani et al. 2017, arXiv:1704.00028, Algorithm 1",
        settings=CLASSIC | {
            "objective": "wasserstein", "penalty": "gradient_penalty", "penalty_weight": 10.0, "learning_rate": 1e-4,
            "beta1": 0.0, "beta2": 0.9, "discriminator_steps": 5,
        },
    ),
    Preset(
        "lsgan", "least squares GAN, labels 0, 1 and 1",
        source="Mao et al. 2017, arXiv:1611.04076, section 4",
        settings=CLASSIC | {"objective": "least_squares", "learning_rate": 1e-3},
    ),
    Preset(
        "dragan", "non-saturating, with slopes of 1 around the data",
        source="Kodali et al. 2017, arXiv:1705.07215; rate and batch as DCGAN's",
        settings=CLASSIC | {"penalty": "dragan", "penalty_weight": 10.0, "normalization": "batch"},
    ),
    Preset(
        "sngan", "hinge losses under spectral normalisation",
        source="Miyato et al. 2018, arXiv:1802.05957, section 4",
        settings=CLASSIC | {"objective": "hinge", "penalty": "spectral_norm"},
    ),
    Preset(
        "r1", "non-saturating, with a discriminator that is flat at the data",
        source="Mescheder et al. 2018, arXiv:1801.04406",
        settings=CLASSIC | {
            "penalty": "r1", "penalty_weight": 10.0, "optimizer": "rmsprop", "learning_rate": 1e-4, "beta2": 0.99,
            "average_decay": 0.999,
        },
    ),
    Preset(
        "r3gan", "relativistic pairs with both zero-centred penalties",
        source="Huang et al. 2024, arXiv:2501.05441",
        settings=CLASSIC | {
            "objective": "relativistic", "penalty": "r1r2", "penalty_weight": 1.0, "beta1": 0.0, "beta2": 0.99,
        },
    ),
)
