"""What a command line asks for by a reference: the name it gets, and its pin in the store.

Each has a lock of its own there. The plain name, ``ORG/NAME``, is that of the whole repo as it is by default; a part
of it, or another revision, has it only as long as nothing else does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from assetmgr.errors import (
    AssetError,
    NotLockedError,
    OriginError,
    RepoNotFoundError,
    RevisionNotFoundError,
    SeveralErrors,
    UsageError,
    WrongKindError,
)
from assetmgr.lock import LockedAsset
from assetmgr.manifest import Asset, FilesSource, HubSource
from assetmgr.names import is_digest
from assetmgr.origins import Origins
from assetmgr.references import Reference, asset_of, rebased, typed
from assetmgr.sheets import Sheets
from assetmgr.store import Store


class Holder(NamedTuple):
    """Who has a name: the digest of its declaration, and what it is of (`subject`); empty where a manifest has it."""

    declared: str
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Pinned:
    """A reference with its name and the bytes that it stands for now."""

    reference: Reference
    asset: Asset
    entry: LockedAsset


class Way(Enum):
    """How a reference comes to its pin."""

    KEEP = "take what is locked"
    RESOLVE = "resolve it"
    ASK = "ask what its revision is now, and take what is locked where nobody answers"
    REFUSE = "say that it is not locked"


def decide(*, held: bool, moving: bool, locked: bool, offline: bool) -> Way:
    """Decide how to pin a reference.

    Parameters
    ----------
    held
        Whether a lock has a pin for it.
    moving
        Whether what it names can move: a hub's branch or tag. Who names one wants it as it is now.
    locked
        Whether only a pin that is there already will do.
    """
    if locked:
        return Way.KEEP if held else Way.REFUSE
    if not held:
        return Way.RESOLVE
    return Way.ASK if moving and not offline else Way.KEEP


def choose_name(reference: Reference, asset: Asset, holder: Callable[[str], Holder | None]) -> str:
    """The name of a reference: the same as before, no other's, and the plain one where it may be.

    Parameters
    ----------
    holder
        Who has a name now, or None.
    """
    digest, subject = asset.digest(), subject_of(asset)
    for length in (0, 8, 16, 32, 64):
        name = f"{reference.name}+{digest[:length]}" if length else reference.name
        has = holder(name)
        if has is None or has.declared == digest:
            return name
        # A URL is one thing whatever is said of it; of a repo, the whole goes before a part.
        if has.subject == subject and (reference.is_whole or not isinstance(asset.source, HubSource)):
            return name
    raise UsageError(f"{reference.text}: every name for it is taken", mend="declare it in assets.yaml, under a name")


def subject_of(asset: Asset | LockedAsset) -> str:
    """What an asset of one reference is of: its repo, or its URL."""
    if isinstance(asset, LockedAsset):
        what = asset.repo or " ".join(url for file in asset.files for url in file.urls)
    elif isinstance(asset.source, HubSource):
        what = asset.source.repo
    else:
        files = asset.source.files if isinstance(asset.source, FilesSource) else ()
        what = " ".join(url for file in files for url in file.written)
    return f"{asset.kind} {what}"


def pin(reference: Reference, sheets: Sheets, store: Store, origins: Origins, *, locked: bool) -> Pinned:
    """Find a reference's name and bytes, and write its lock where they are new.

    Raises
    ------
    AssetError
        What its origin says, in words that fit a command line.
    """
    whole = rebased(reference, os.getcwd(), None)
    asset = asset_of(whole, os.sep)
    asset = replace(asset, name=choose_name(whole, asset, lambda name: _holder(name, asset, sheets, store)))
    say = origins.context.reporter.say
    held = sheets.locked_reference(asset.name)
    held = held if held is not None and held.declared == asset.digest() else None
    way = decide(held=held is not None, moving=_moves(asset), locked=locked, offline=origins.context.offline)
    if way is Way.REFUSE:
        raise NotLockedError(f"{reference.text}: not locked in {store.root}", mend=f"assetmgr pull {typed(reference)}")
    if held is not None and way is Way.KEEP:
        if _moves(asset) and not locked:
            say(f"{asset.name}: offline: taking {held.revision} as it was locked, at {held.commit[:12]}")
        return Pinned(reference, asset, held)
    try:
        change = sheets.lock_reference(origins, asset, upgrade=way is Way.ASK)
    except OriginError as error:
        answered = isinstance(error, (RepoNotFoundError, RevisionNotFoundError))
        if held is None or answered:
            raise told(error, reference, asset) from None
        say(f"{error.message}; taking {held.revision} as it was locked, at {held.commit[:12]}")
        return Pinned(reference, asset, held)
    except AssetError as error:
        raise told(error, reference, asset) from None
    entry = sheets.locked_reference(asset.name)
    assert entry is not None
    if change.changes and entry.origin == "files" and not any(_known(asset)):
        say(f"{asset.name}: pinned to what came, as no sha256 was given: sha256 {entry.files[0].sha256}")
    elif change.changes:
        say(change.changes[0])
    return Pinned(reference, asset, entry)


def _known(asset: Asset) -> list[str | None]:
    return [file.sha256 for file in asset.source.files] if isinstance(asset.source, FilesSource) else []


def _moves(asset: Asset) -> bool:
    return isinstance(asset.source, HubSource) and not is_digest(asset.source.revision, "git_sha1")


def _holder(name: str, asset: Asset, sheets: Sheets, store: Store) -> Holder | None:
    declared = sheets.asset(name)
    if declared is not None:
        return Holder(declared.digest())
    entry = sheets.locked_reference(name)
    if entry is not None:
        return Holder(entry.declared, subject_of(entry))
    if not isinstance(asset.source, HubSource):
        # Plain files lie at a place of their name alone, and another project's manifest may be out of sight.
        for receipt in store.receipts_of(name):
            return Holder(receipt.entry.declared)
    return None


_REWORDED = (
    (r"correct `hub:` in the manifest", "correct the name"),
    (r"correct `revision:` in the manifest, or .*", "name a branch, tag or commit that it has"),
    (r"take the newest of .*", "name a commit that it has"),
    (r"correct its digests, its size or its url in .*", "correct the URL, or what --sha256 says of it"),
    (r"correct the url in the manifest, or add another", "correct the URL"),
    (r" in the manifest\b", ""),
    (r"\bassetmgr (?:lock|pull) (?:--upgrade )?{name}(?!\S)", "assetmgr pull {text}"),
)


def told(error: AssetError, reference: Reference, asset: Asset) -> AssetError:
    """An error of an origin, in words for who named a reference and wrote no manifest."""
    if isinstance(error, SeveralErrors):
        return SeveralErrors([told(one, reference, asset) for one in error.errors])
    message = error.message.removeprefix(f"{asset.declared_at}: ").replace("the manifest asks for", "this asks for")
    mend = error.mend
    for pattern, words in _REWORDED:
        said = words.format(text=typed(reference))
        mend = re.sub(pattern.replace("{name}", re.escape(asset.name)), said.replace("\\", r"\\"), mend)
    if isinstance(error, WrongKindError):
        there = "hub-dataset" if asset.kind == "model" else "hub"
        other = replace(reference, text=f"{there}:{reference.text.partition(':')[2]}")
        mend = f"assetmgr pull {typed(other)}"
    return type(error)(message, mend=mend)
