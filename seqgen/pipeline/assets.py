"""What all clips are made from, gathered once by the driver and sent to every worker: banks with their graphs, the hand, the encoder, the photos.

Plain arrays and small records, so that Ray can share them between the workers of a node.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from seqgen.config import config_digest
from seqgen.dataset.manifest import Asset
from seqgen.files import arrays_digest, cache_folder
from seqgen.hand import load_hand
from seqgen.hand.fit import load_encoder, read_encoder
from seqgen.hand.model import HandModel
from seqgen.pipeline.config import GenerateConfig
from seqgen.poses import load_bank_of
from seqgen.poses.bank import PoseBank, split_rows
from seqgen.poses.graph import NeighbourGraph, load_graph
from seqgen.scene.skin.folder import SkinRef, list_skins
from seqgen.scene.surroundings.photos import PhotoRef, list_photos
from seqgen.scene.things.meshes import MeshRef, list_meshes, load_mesh
from seqgen.splits import SplitName

Array = np.ndarray
OWN, UNSTATED = "CC0-1.0", "not stated"  # licences of what seqgen draws itself, and of what the user's folders hold
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PoseSource:
    """The poses of one split and the graph that joins them."""

    bank: PoseBank
    graph: NeighbourGraph


@dataclass(frozen=True)
class Assets:
    """See the head of this file. `encoder`: the state of a PoseEncoder. `digest`: a hash of all of it, of the user's files by name and size."""

    poses: dict[SplitName, PoseSource]
    hand: HandModel
    encoder: dict[str, Array]
    photos: dict[SplitName, list[PhotoRef]]
    skins: dict[SplitName, list[SkinRef]]
    meshes: list[MeshRef]
    store_flow: bool
    digest: str

    def num_bytes(self) -> int:
        """Roughly what the workers of a node share."""
        return sum(source.bank.joints_m.nbytes * 2 + source.graph.neighbours.nbytes + source.graph.parents.nbytes + source.graph.costs.nbytes for source in self.poses.values())

    def licences(self) -> list[Asset]:
        """What the data set shows or follows, with licences, for its manifest."""
        bank = next(iter(self.poses.values())).bank
        photos = Counter((photo.licence, photo.source) for photo in {photo for chosen in self.photos.values() for photo in chosen})
        return [
            Asset("poses", bank.name, bank.licence, bank.name),
            Asset("hand", self.hand.name, self.hand.licence, self.hand.provenance),
            *(Asset("skin", skin.name, UNSTATED, "the user's folder") for skin in sorted({skin for chosen in self.skins.values() for skin in chosen}, key=lambda skin: skin.name)),
            *(Asset("occluder", mesh.name, UNSTATED, "the user's folder") for mesh in self.meshes),
            *(Asset("background", f"{count} picture{'s' * (count > 1)}", licence, source) for (licence, source), count in sorted(photos.items())),
        ]


def gather_assets(config: GenerateConfig, say: Callable[[str], None] = log.info) -> Assets:
    """Everything a run needs, checked and built or taken from the cache. UserErrors for what the user gave wrongly, before any work begins."""
    photos = list_photos(config.background.folder, config.split, config.clip.size)
    meshes = list_meshes(config.occluder.folder) if config.occluder.folder else []
    for mesh in meshes:
        load_mesh(mesh)  # refuses here, before any work, what the workers would refuse
    hand = load_hand(config.hand.kind, mano_dir=Path(config.hand.mano_dir) if config.hand.mano_dir else None)
    skins = list_skins(config.skin, hand, config.split)
    bank = load_bank_of(config.poses, say)
    say(f"poses: {len(bank):,} distinct in {bank.name}")
    poses = {}
    for name, rows in split_rows(bank, config.split).items():
        part = bank if len(rows) == len(bank) else bank.subset(rows)
        poses[name] = PoseSource(part, load_graph(part, cache_folder(), where=f"{bank.name}, {name} split", say=say))
    chosen = config.hand.encoder
    encoder = read_encoder(Path(chosen)) if chosen else load_encoder(hand, bank.name, bank.digest, bank.joints_m, cache_folder(), say=say)
    state = {name: tensor.numpy() for name, tensor in encoder.state_dict().items()}
    store_flow = bank.copies_allowed if config.labels.flow_source is None else config.labels.flow_source
    return Assets(poses, hand, state, photos, skins, meshes, store_flow, _digest(bank, hand, state, photos, skins, meshes))


def _digest(
    bank: PoseBank, hand: HandModel, encoder: dict[str, Array], photos: dict[SplitName, list[PhotoRef]], skins: dict[SplitName, list[SkinRef]], meshes: list[MeshRef]
) -> str:
    files = {
        "photos": {split: [(photo.name, photo.bytes) for photo in chosen] for split, chosen in photos.items()},
        "skins": {split: [(skin.name, skin.bytes) for skin in chosen] for split, chosen in skins.items()},
        "meshes": [(mesh.name, Path(mesh.path).stat().st_size) for mesh in meshes],
    }
    arrays = [value for value in (getattr(hand, field.name) for field in fields(hand)) if isinstance(value, np.ndarray)]
    return config_digest({"bank": bank.digest, "hand": arrays_digest(*arrays), "encoder": arrays_digest(*encoder.values()), **files})
