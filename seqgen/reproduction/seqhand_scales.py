"""How large SeqHAND's tables are made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seqgen.reproduction.scales import Scale
from seqgen.reproduction.tables import Training


@dataclass(frozen=True, kw_only=True)
class SeqHandScale(Scale):
    """`width`: of the networks, as a multiple of the papers'; a training's rate and a fine-tuning's."""

    backbone: str
    deep_backbone: str
    width: float
    lr: float
    tuning_lr: float

    def learning(self, training: Training) -> dict[str, Any]:
        """Generated clips are taken as they are, and other looks are kept for fine-tuning: the paper moves the hands of FreiHAND about and says no more."""
        tuned = training.start is not None
        return {
            "input": {"size": self.size_px[0]},
            "augment": {"share": 1.0 if tuned else 0.0},
            "model": {"backbone": self._backbone(training), "width": self.width},
            "optim": {"lr": self.tuning_lr if tuned else self.lr, "warmup": 50, "precision": "bfloat16"},
        }

    def facts(self, trainings: Sequence[Training]) -> dict[str, str]:
        networks = dict.fromkeys(self._backbone(training) for training in trainings)
        return {
            "networks": f"{' and '.join(networks)}, {self.width:g} times as wide, pictures of {self.size_px[0]} px",
            "optimiser": f"Adam, {self.lr:g} ({self.tuning_lr:g} in fine-tuning), cosine; the last weights are tested",
        }

    def _backbone(self, training: Training) -> str:
        return self.deep_backbone if training.network.deep else self.backbone


SEQHAND_SCALES = {
    # Two cores, 2 hours and 11 minutes for both tables of SeqHAND. A hand turned any way is more than a network learns in so few frames (66 mm after 60,000, where
    # the mean hand is off by 103); seen from its owner's head it turns only as an arm lets it. Clips of 5 teach a fresh network little, for their frames are
    # alike: the ConvLSTM is at 40 mm after 120,000, an encoder taught with as many stills at 33, where a blind guess is off by 50. So rows start from a
    # backbone taught with stills, as the paper's do from ImageNet's.
    "small": SeqHandScale(
        size_px=(96, 96),
        frames=10,
        window=5,
        clips={"source": 12_000, "target": 3000, "test": 3000},
        split={"train": 8, "val": 1, "test": 1},
        backbone="resnet18",
        deep_backbone="resnet34",
        width=0.5,
        batch=24,
        steps=500,
        tuning_steps=300,
        backbone_steps=1500,
        lr=1e-3,
        tuning_lr=2e-4,
        test_clips=300,
        device="cpu",
        threads=1,
        readers=0,
        checkpoint_every=200,
        jobs=2,
        fields={"camera.egocentric": 1.0},
    ),
    "medium": SeqHandScale(  # one large GPU, twenty minutes
        size_px=(112, 112),
        frames=10,
        window=10,
        clips={"source": 10_000, "target": 4000, "test": 4000},
        split={"train": 6, "val": 1, "test": 1},
        backbone="resnet50",
        deep_backbone="resnet101",
        width=1.0,
        batch=16,
        steps=1200,
        tuning_steps=300,
        backbone_steps=0,
        lr=5e-4,
        tuning_lr=1e-4,
        test_clips=500,
        device="cuda",
        threads=1,
        readers=3,
        checkpoint_every=100,
        jobs=4,
    ),
    "paper": SeqHandScale(  # the paper's 40,000 clips of ten frames at 224 px
        size_px=(224, 224),
        frames=10,
        window=10,
        clips={"source": 50_000, "target": 20_000, "test": 10_000},
        split={"train": 8, "val": 1, "test": 1},
        backbone="resnet50",
        deep_backbone="resnet101",
        width=1.0,
        batch=16,
        steps=50_000,
        tuning_steps=10_000,
        backbone_steps=0,  # the paper's start from ImageNet's weights, which are the user's to fetch; here they would be `run.backbone` of every row
        lr=1e-4,
        tuning_lr=1e-4,
        test_clips=1000,
        device="cuda",
        threads=4,
        readers=12,
        checkpoint_every=1000,
        jobs=1,
    ),
}
