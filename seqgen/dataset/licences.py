"""What licences allow: the terms of each that seqgen meets, and whether a data set may be passed on.

This is how seqgen reads the licences, no advice of a lawyer; what counts is their own text. Knows nothing of how assets are gathered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

NO_CONDITIONS = {
    "none": "nothing of others was used",
    "public-domain": "free for any use",
    "CC0-1.0": "given to the public: free for any use",
}
_NAMED = "free for any use that names its author and the licence and says that it was changed"
_ALIKE = f"{_NAMED}; what is made with it goes on under the same licence"
_NOTICE = "free for any use that keeps the copyright notice and the text of the licence"
CONDITIONS = {
    **dict.fromkeys(("CC-BY-2.0", "CC-BY-3.0", "CC-BY-4.0"), _NAMED),
    **dict.fromkeys(("CC-BY-SA-3.0", "CC-BY-SA-4.0"), _ALIKE),
    **dict.fromkeys(("MIT", "BSD-3-Clause"), _NOTICE),
    "Apache-2.0": f"{_NOTICE}, and says what was changed",
}
# Licences under which what was made with an asset may be passed on. A licence that is not here counts as one that forbids it.
OPEN_LICENCES = frozenset({**NO_CONDITIONS, **CONDITIONS})
# How the names of the others begin. MANO: https://mano.is.tue.mpg.de/license.html, grant and "No Distribution".
RESTRICTED = {
    "MANO licence": "non-commercial research, education and art only, and no training for commercial use; nothing of the model may be given to others in any form without "
    "written permission of the Max Planck Society, and nothing exempts pictures or parameters made with it, so frames that show it may not be passed on",
    "BigHand2.2M": "given out on request, for research only; neither the annotations nor what is derived from them may be passed on, and the motion is",
    "HANDS2017": "made from BigHand2.2M and given out as that is, for research only; neither the annotations nor what is derived from them may be passed on, and the motion is",
    "not stated": "nobody has stated a licence, so none is assumed",
}
UNKNOWN = "not among the licences that seqgen knows as open, so taken for one that forbids passing on"
INSTEAD = {  # by kind of asset
    "poses": "take poses.bank = built-in, or poses under an open licence (an .npz states it as `licence`)",
    "hand": "take hand.kind = open",
    "skin": "leave skin.folder out, for drawn skins",
    "occluder": "leave occluder.folder out, for the built-in solids",
    "background": "leave background.folder out, for the built-in photos and textures",
}
TOOLS = {"encoder": "turned joints into rotations; nothing of it is in pictures or labels"}  # kinds of asset that a data set was made with and does not show
NAMED_AT_ONCE = 3


@dataclass(frozen=True)
class Asset:
    """Something that the pictures show or follow, or were made with: a pose bank, a hand model, an encoder, photos.

    `source`: where it is from (an address or a package). `terms`: what the licence asks, in a sentence. `sha256`, hexadecimal, is that of the arrays of a pose bank, hand
    or encoder, of the file of a skin or occluder, and for backgrounds of the names and sizes of the files; None where there is nothing to hash.
    """

    kind: str
    name: str
    licence: str
    source: str
    sha256: str | None = None
    terms: str = ""


def asset_of(kind: str, name: str, licence: str, source: str, sha256: str | None) -> Asset:
    """An asset with the terms of its licence."""
    return Asset(kind, name, licence, source, sha256, TOOLS.get(kind) or terms_of(licence))


def terms_of(licence: str) -> str:
    """What a licence asks, in a sentence. Open ones are known by their whole name: "MIT, but ..." is another."""
    told = {**NO_CONDITIONS, **CONDITIONS}.get(licence)
    return told or next((terms for beginning, terms in RESTRICTED.items() if licence.startswith(beginning)), UNKNOWN)


def verdict(assets: Sequence[Asset], shareable: Sequence[bool] = ()) -> dict[str, Any]:
    """Whether a data set made with these assets may be passed on: {"may_be_shared": bool, "because": sentences, "attribution": whom to name, of what}.

    `shareable`: that column of the index. Where only some clips show what forbids it, the verdict says so; the data set as a whole may still not be passed on.
    """
    return verdict_of(assets, sum(shareable), len(shareable))


def verdict_of(assets: Sequence[Asset], shareable: int, clips: int) -> dict[str, Any]:
    """The same where so many of so many clips are shareable."""
    shown = [asset for asset in assets if asset.kind not in TOOLS]
    closed = [asset for asset in shown if asset.licence not in OPEN_LICENCES]
    allowed, because = not closed and shareable == clips, [_reason(alike) for alike in _groups(closed)]
    if not allowed and shareable:
        because.append(f"{shareable:,} of {clips:,} clips show nothing that forbids it and may be passed on by themselves: `shareable` in index.parquet says which")
    elif not allowed and not closed:
        because.append("no clip has `shareable` in index.parquet: each shows something whose licence forbids it")
    return {"may_be_shared": allowed, "because": _conditions(shown) if allowed else because, "attribution": [_attribution(asset) for asset in shown if asset.licence in CONDITIONS]}


def changed_assets(theirs: Sequence[Asset], ours: Sequence[Asset]) -> list[str]:
    """In words, asset by asset, what was not the same there and here; empty when all was."""
    there, here = ({(asset.kind, asset.name, asset.source): asset.sha256 for asset in assets} for assets in (theirs, ours))
    only = [f"{kind} {name} ({source}) is used {where} only" for a, b, where in ((there, here, "there"), (here, there, "here")) for kind, name, source in a.keys() - b.keys()]
    pairs = {asset: (there[asset], here[asset]) for asset in there.keys() & here.keys()}
    other = [f"{kind} {name}: sha256 {str(a)[:12]} there, {str(b)[:12]} here" for (kind, name, _), (a, b) in pairs.items() if a != b]
    return sorted(only) + sorted(other)


def _groups(assets: Sequence[Asset]) -> list[list[Asset]]:
    """Assets of one kind and licence together, in the order in which they first come: a folder may hold thousands."""
    groups: dict[tuple[str, str], list[Asset]] = {}
    for asset in assets:
        groups.setdefault((asset.kind, asset.licence), []).append(asset)
    return list(groups.values())


def _reason(alike: Sequence[Asset]) -> str:
    """Why assets of one kind and licence forbid it, and what to do."""
    first, names = alike[0], ", ".join(asset.name for asset in alike[:NAMED_AT_ONCE])
    more = f" and {len(alike) - NAMED_AT_ONCE:,} more" if len(alike) > NAMED_AT_ONCE else ""
    return f"{first.kind} {names}{more}, licence {first.licence!r}: {terms_of(first.licence)}; to share, {INSTEAD.get(first.kind, 'leave it out')}"


def _conditions(assets: Sequence[Asset]) -> list[str]:
    """That all licences are open, and what they ask."""
    used = sorted({asset.licence for asset in assets})
    asked = [f"{licence} is {CONDITIONS[licence]}" for licence in used if licence in CONDITIONS]
    return [f"all that is shown or followed has an open licence: {', '.join(used) or 'none'}", *asked]


def _attribution(asset: Asset) -> str:
    """Whom to name, under which licence: what those of CONDITIONS ask to be passed on too."""
    return f"{asset.kind}: {asset.source}; {asset.licence}, {_address(asset.licence)}; changed"


def _address(licence: str) -> str:
    """Where the text of a licence of CONDITIONS is."""
    if licence.startswith("CC-"):
        name, _, version = licence.removeprefix("CC-").lower().rpartition("-")
        return f"https://creativecommons.org/licenses/{name}/{version}/"
    return f"https://spdx.org/licenses/{licence}.html"
