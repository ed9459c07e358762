"""How large the tables of the networks of single frames are made: HandR2N2, SRN, JGR-P2O, JAR, and all five together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seqgen.config import find_config, overlay, read_toml
from seqgen.reproduction.scales import Scale
from seqgen.reproduction.tables import Training

LEARNED = ("augment", "input", "model", "optim")  # sections of a shipped config that say how a network learns; the others say where and how long


@dataclass(frozen=True, kw_only=True)
class StillScale(Scale):
    """Networks learn as their shipped configs say, but for the rate, which falls as a cosine over the steps that there are. `networks`: what is replaced in the
    config of a recipe, by dotted names."""

    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def learning(self, training: Training) -> dict[str, Any]:
        recipe = training.network.recipe
        shipped = read_toml(find_config(recipe, "train"))
        tables = {section: shipped[section] for section in LEARNED if section in shipped}
        for name, value in {"optim.schedule": "cosine", "optim.warmup": 50, **self.networks.get(recipe, {})}.items():
            tables = overlay(tables, name, value)
        return tables

    def facts(self, trainings: Sequence[Training]) -> dict[str, str]:
        recipes = dict.fromkeys(training.network.recipe for training in trainings)
        replaced = "; ".join(f"{recipe}: {', '.join(f'{name} = {value}' for name, value in self.networks[recipe].items())}" for recipe in recipes if recipe in self.networks)
        return {
            "networks": f"as in `configs/train/`: {', '.join(recipes)}{f', with {replaced}, unless a row says otherwise' if replaced else ''}",
            "optimiser": "each network's own, its rate falling as a cosine over the steps there are; the last weights are tested",
        }


STILL_SCALES = {
    # Two cores. Hands are seen from their owner's head, as in SeqHAND's tables, and at half the camera's resolution.
    "small": StillScale(
        size_px=(320, 240),
        frames=4,
        window=4,
        clips={"source": 8000, "target": 2000, "test": 2000},
        split={"train": 8, "val": 1, "test": 1},
        batch=8,
        steps=600,
        test_clips=200,
        device="cpu",
        threads=1,
        readers=0,
        checkpoint_every=100,
        jobs=2,
        fields={"camera.egocentric": 1.0},
        networks={  # rates tried on validation clips over a third of the steps: the papers teach hundreds of times as long
            "handr2n2": {"optim.precision": "bfloat16"},
            "srn": {"optim.precision": "bfloat16", "optim.lr": 0.1},
            "jgr_p2o": {"optim.precision": "bfloat16", "optim.lr": 1e-3},
            "jar": {"model.backbone": "resnet18", "model.size": 128, "optim.lr": 1e-3},
            "seqhand": {"model.backbone": "resnet18", "model.width": 0.5, "input.size": 112, "optim.lr": 1e-3},
        },
    ),
    "medium": StillScale(  # meant for one large GPU; not tried yet
        size_px=(640, 480),
        frames=8,
        window=8,
        clips={"source": 10_000, "target": 2000, "test": 2000},
        split={"train": 8, "val": 1, "test": 1},
        batch=4,
        steps=10_000,
        test_clips=200,
        device="cuda",
        threads=1,
        readers=3,
        checkpoint_every=500,
        jobs=4,
    ),
    "paper": StillScale(  # about as many frames as NYU's, seen as often as SRN's paper does
        size_px=(640, 480),
        frames=8,
        window=8,
        clips={"source": 11_400, "target": 10_000, "test": 10_000},
        split={"train": 8, "val": 1, "test": 1},
        batch=4,
        steps=180_000,
        test_clips=1000,
        device="cuda",
        threads=4,
        readers=12,
        checkpoint_every=1000,
        jobs=1,
    ),
}
