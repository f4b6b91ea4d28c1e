"""What a registry's tag names, and what it is to name when assets are pushed under it: decided without a registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from assetmgr.carried import Carriage, Carried
from assetmgr.errors import AssetError
from assetmgr.images import Image, blobs_of, image
from assetmgr.lock import Lock, check_refs


@dataclass(frozen=True, slots=True)
class Tagged:
    """What a tag names.

    Attributes
    ----------
    named
        The document's bytes; None of a tag that is not there.
    assets
        By name.
    blobs
        Of each asset, the size of each blob.
    """

    named: bytes | None = None
    assets: Mapping[str, Carried] = field(default_factory=dict)
    blobs: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def holds(self, told: Carriage) -> bool:
        """Whether it names all of some assets, as they are told."""
        return all(self.assets.get(each.name) == each for each in told.assets)

    def joined(
        self, told: Carriage, blobs: Mapping[str, Mapping[str, int]], say: Callable[[str], object], where: str
    ) -> Image:
        """The image that names assets besides those here.

        What is here under the same name is replaced. What required that as it was cannot stay, which is said.
        """
        new = {each.name: each for each in told.assets}
        kept = {name: each for name, each in self.assets.items() if name not in new and name in self.blobs}
        while lost := [name for name, each in kept.items() if not _stands(each, {**kept, **new})]:
            for name in lost:
                del kept[name]
        try:
            check_refs(each.entry for each in (*kept.values(), *new.values()))
        except AssetError:
            kept = {}
        gone = sorted(self.assets.keys() - kept.keys() - new.keys())
        if gone:
            say(f"{where}: the tag no longer names {', '.join(gone)}: it does not go with what is pushed now")
        every = {**kept, **new}
        order = Lock({name: each.entry for name, each in every.items()}).closure(sorted(every))
        document = Carriage(tuple(every[entry.name] for entry in order))
        return image(document, {**{name: self.blobs[name] for name in kept}, **blobs})


def _stands(each: Carried, every: Mapping[str, Carried]) -> bool:
    """Whether all that an asset requires is there, as it was when it was locked."""
    return all(name in every for name in each.entry.requires) and all(
        name in every and every[name].entry.digest() == digest for name, digest in each.pins.items()
    )


def tagged(named: bytes, manifests: Sequence[bytes], carriages: Iterable[Carriage]) -> Tagged:
    """What a tag names, by its document, all manifests that this leads to, itself among them, and what they tell."""
    assets: dict[str, Carried] = {}
    for one in carriages:
        for each in one.assets:
            assets.setdefault(each.name, each)
    blobs: dict[str, dict[str, int]] = {}
    for manifest in manifests:
        for name, found in blobs_of(manifest).items():
            blobs.setdefault(name, {}).update(found)
    return Tagged(named, assets, blobs)
