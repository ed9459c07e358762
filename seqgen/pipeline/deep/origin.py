"""From a data set back to what it was made from: its config, its assets, and the machine that made it beside this one.

    dataset.json, or where that is damaged the claim of an unfinished one, or index.parquet ──> config ──> assets ──> are they those it was made from?
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from seqgen.config import build
from seqgen.dataset.claim import Origin, read_claim
from seqgen.dataset.index import INDEX_NAME, read_origin
from seqgen.dataset.licences import changed_assets
from seqgen.dataset.manifest import MANIFEST_NAME, Manifest, read_manifest
from seqgen.dataset.progress import PROGRESS_FOLDER
from seqgen.dataset.provenance import describe_machine, differences
from seqgen.errors import UserError
from seqgen.pipeline.assets import Assets, gather_assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import check_device
from seqgen.pipeline.process import one_thread
from seqgen.places import Place


@dataclass(frozen=True)
class Reopened:
    """A data set's config and assets, found to be those it was made from; its manifest, where that can be read; what of this platform may change bytes.
    `config` names the device to work on here: the CPU where the data set's own is not there; `origin` has the config as it is.
    """

    config: GenerateConfig
    origin: Origin
    assets: Assets
    manifest: Manifest | None
    differences: tuple[str, ...]


def reopen(directory: Place, say: Callable[[str], None]) -> Reopened:
    """What the data set in a folder was made from. A UserError where nothing there says so, or where the assets here are others."""
    manifest, told = _read(directory)
    complaint = None
    for name, origin in told.items():
        try:
            return _reopen(str(directory / name), origin, manifest, say)
        except UserError as error:
            complaint = complaint or error
    raise complaint


def _read(directory: Place) -> tuple[Manifest | None, dict[str, dict[str, Any]]]:
    """The manifest, and what is said of the origin, by the file that says it; as far as they can be read."""
    manifest, told, complaints = None, {}, []
    for name, read in {MANIFEST_NAME: read_manifest, PROGRESS_FOLDER: read_claim, INDEX_NAME: read_origin}.items():
        try:
            found = read(directory)
        except (UserError, OSError) as error:
            complaints.append(error)
            continue
        if isinstance(found, Manifest):
            manifest, found = found, {"config": found.config, "identity": found.identity}
        if found not in told.values():
            told[name] = found
    if not told:
        raise UserError(str(complaints[0]))
    if any("parts" in found for found in told.values()) or (manifest and manifest.parts):
        raise UserError(f"{directory} is an index over several data sets: name one of these; the index itself is made again by `seqgen export --merge`")
    return manifest, told


def _reopen(where: str, told: dict[str, Any], manifest: Manifest | None, say: Callable[[str], None]) -> Reopened:
    config = build(GenerateConfig, told["config"], where=where)
    with one_thread():
        assets = gather_assets(config, say)
    origin = Origin(config.content(), assets.digest)
    if origin.identity != told["identity"]:
        changed = changed_assets(manifest.assets, assets.licences()) if manifest else []
        what = f"made from other assets than those here ({'; '.join(changed)})" if changed else "made by another version of seqgen, or its config has been changed"
        raise UserError(f"{where}: {what}; the same bytes need the same again")
    config = _as_can_be_here(config, say)
    return Reopened(config, origin, assets, manifest, _other_platforms(manifest, describe_machine(config.device)))


def _as_can_be_here(config: GenerateConfig, say: Callable[[str], None]) -> GenerateConfig:
    """The config, with the CPU for a device that is not there."""
    try:
        check_device(config.device)
    except UserError as error:
        say(f"made with device = {config.device}, done on the CPU here, where bytes may come out otherwise ({error})")
        return config.model_copy(update={"device": "cpu"})
    return config


def _other_platforms(manifest: Manifest | None, here: dict[str, Any]) -> tuple[str, ...]:
    """What of the platforms that a data set was made on, all of them, is not as here."""
    if manifest is None:
        return ("where it was made is not known, for its dataset.json cannot be read",)
    earlier = manifest.run.get("earlier")
    runs = [manifest.run, *(run for run in earlier if isinstance(run, dict))] if isinstance(earlier, list) else [manifest.run]
    return tuple(dict.fromkeys(difference for run in runs for difference in differences(run, here)))
