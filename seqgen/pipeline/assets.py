"""What all clips are made from, gathered once by the driver and sent to every worker: banks with their graphs, the hand, the encoder, the photos.

Plain arrays and small records, so that Ray can share them between the workers of a node.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from seqgen.config import config_digest
from seqgen.dataset.licences import Asset, asset_of
from seqgen.files import arrays_digest, cache_folder, file_digest, mapped_file
from seqgen.hand import load_hand
from seqgen.hand.fit import load_encoder, read_encoder
from seqgen.hand.model import HandModel
from seqgen.pipeline.config import GenerateConfig
from seqgen.poses import load_bank_of
from seqgen.poses.bank import PoseBank
from seqgen.poses.graph import NeighbourGraph, load_graph, open_graph
from seqgen.poses.stored import open_bank
from seqgen.scene.skin.folder import SkinRef, list_skins
from seqgen.scene.surroundings.photos import PhotoRef, list_photos
from seqgen.scene.things.meshes import MeshRef, list_meshes, load_mesh
from seqgen.splits import SplitName

Array = np.ndarray
OWN, UNSTATED = "CC0-1.0", "not stated"  # licences of what seqgen draws itself, and of what the user's folders hold
USERS = "the user's folder"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PoseSource:
    """The poses of one split and the graph that joins them."""

    bank: PoseBank
    graph: NeighbourGraph

    def kept(self) -> "KeptPoses | PoseSource":
        """The folders of the cache that hold it; itself where it is in this process's memory."""
        bank, graph = mapped_file(self.bank.joints_m), mapped_file(self.graph.neighbours)
        return KeptPoses(bank.parent, graph.parent, self.bank.name) if bank and graph else self


@dataclass(frozen=True)
class KeptPoses:
    """A PoseSource as two folders of the cache: all that another process of this machine need be told. Both map the same files."""

    bank: Path
    graph: Path
    name: str

    def opened(self) -> PoseSource:
        """A UserError where the folders have gone."""
        return PoseSource(replace(open_bank(self.bank), name=self.name), open_graph(self.graph))


@dataclass(frozen=True)
class Assets:
    """See the head of this file. `encoder`: the state of a PoseEncoder, `encoder_file` the user's if it is theirs.

    `digests`: kind of asset to the hash by which a run knows it again: of arrays, and of the user's files by split, name and size. `file_hashes`: sha256 of the content of
    the user's skins and meshes, by their place.
    """

    poses: dict[SplitName, PoseSource | KeptPoses]
    hand: HandModel
    encoder: dict[str, Array]
    photos: dict[SplitName, list[PhotoRef]]
    skins: dict[SplitName, list[SkinRef]]
    meshes: list[MeshRef]
    store_flow: bool
    encoder_file: str | None
    digests: dict[str, str]
    file_hashes: dict[str, str]

    @property
    def digest(self) -> str:
        """A hash of all of it."""
        return config_digest(self.digests)

    def kept(self) -> "Assets":
        """The same for other processes of this machine: poses that are files are told by their place."""
        return replace(self, poses={split: source.kept() for split, source in self.poses.items()})

    def opened(self) -> "Assets":
        """The same with all poses at hand."""
        return replace(self, poses={split: source.opened() if isinstance(source, KeptPoses) else source for split, source in self.poses.items()})

    def num_bytes(self) -> int:
        """Roughly what is sent to the workers of a node."""
        sent = [source for source in self.poses.values() if isinstance(source, PoseSource)]
        return sum(source.bank.joints_m.nbytes * 2 + source.graph.neighbours.nbytes + source.graph.parents.nbytes + source.graph.costs.nbytes for source in sent)

    def licences(self) -> list[Asset]:
        """What the data set shows, follows or was made with, with licences and hashes, for its manifest; the poses come first."""
        bank, skins = next(iter(self.poses.values())).bank, {skin for chosen in self.skins.values() for skin in chosen}
        return [
            asset_of("poses", bank.name, bank.licence, bank.name, self.digests["poses"]),
            asset_of("hand", self.hand.name, self.hand.licence, self.hand.provenance, self.digests["hand"]),
            self._encoder(bank),
            *(asset_of("skin", skin.name, UNSTATED, USERS, self.file_hashes[skin.place]) for skin in sorted(skins, key=lambda skin: skin.name)),
            *(asset_of("occluder", mesh.name, UNSTATED, USERS, self.file_hashes[mesh.path]) for mesh in self.meshes),
            *_photo_assets({photo for chosen in self.photos.values() for photo in chosen}),
        ]

    def _encoder(self, bank: PoseBank) -> Asset:
        """The encoder: the user's, the shipped one (see `load_encoder`), or one trained on this hand and these poses."""
        if self.encoder_file is not None:
            name, licence, source = Path(self.encoder_file).name, UNSTATED, "the user's file"
        elif (self.hand.name, bank.name) == ("open", "built-in"):
            name, licence, source = "built-in", OWN, "comes with seqgen"
        else:
            name, licence, source = "trained", "as the hand and the poses", f"trained by seqgen on the {self.hand.name} hand and {bank.name}"
        return asset_of("encoder", name, licence, source, self.digests["encoder"])


def _photo_assets(photos: Iterable[PhotoRef]) -> list[Asset]:
    """Photos of one licence and source are one asset: a folder may hold thousands."""
    groups: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for photo in sorted(photos, key=lambda photo: photo.name):
        groups.setdefault((photo.licence, photo.source), []).append((photo.name, photo.bytes))
    return [asset_of("background", f"{len(files)} picture{'s' * (len(files) > 1)}", *of, config_digest({"files": files})) for of, files in sorted(groups.items())]


def gather_assets(config: GenerateConfig, say: Callable[[str], None] = log.info) -> Assets:
    """Everything a run needs, checked and built or taken from the cache. UserErrors for what the user gave wrongly, before any work begins."""
    photos = list_photos(config.background.folder, config.split, config.clip.size)
    meshes = list_meshes(config.occluder.folder) if config.occluder.folder else []
    for mesh in meshes:
        load_mesh(mesh)  # refuses here, before any work, what the workers would refuse
    hand = load_hand(config.hand.kind, mano_dir=Path(config.hand.mano_dir) if config.hand.mano_dir else None)
    skins = list_skins(config.skin, hand, config.split)
    chosen = config.hand.encoder
    encoder = read_encoder(Path(chosen)) if chosen else None
    bank, parts = load_bank_of(config.poses, config.split, say)
    say(f"poses: {len(bank):,} distinct in {bank.name}")
    poses = {name: PoseSource(part, load_graph(part, cache_folder(), where=f"{bank.name}, {name} split", say=say)) for name, part in parts.items()}
    encoder = encoder or load_encoder(hand, bank.name, bank.digest, bank.joints_m, cache_folder(), say=say)
    state = {name: tensor.numpy() for name, tensor in encoder.state_dict().items()}
    store_flow = bank.copies_allowed if config.labels.flow_source is None else config.labels.flow_source
    files = {place: file_digest(Path(place)) for place in [*(skin.place for split in skins.values() for skin in split), *(mesh.path for mesh in meshes)]}
    return Assets(poses, hand, state, photos, skins, meshes, store_flow, chosen, _digests(bank, hand, state, photos, skins, meshes), files)


def _digests(
    bank: PoseBank, hand: HandModel, encoder: dict[str, Array], photos: dict[SplitName, list[PhotoRef]], skins: dict[SplitName, list[SkinRef]], meshes: list[MeshRef]
) -> dict[str, str]:
    """See `Assets.digests`."""
    files = {
        "background": {split: [(photo.name, photo.bytes) for photo in chosen] for split, chosen in photos.items()},
        "skin": {split: [(skin.name, skin.bytes) for skin in chosen] for split, chosen in skins.items()},
        "occluder": {"all": [(mesh.name, Path(mesh.path).stat().st_size) for mesh in meshes]},
    }
    arrays = [value for value in (getattr(hand, field.name) for field in fields(hand)) if isinstance(value, np.ndarray)]
    hashes = {"poses": bank.digest, "hand": arrays_digest(*arrays), "encoder": arrays_digest(*encoder.values())}
    return hashes | {kind: config_digest(listed) for kind, listed in files.items()}
