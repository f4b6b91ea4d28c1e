"""What an archive holds, pinned: its listing is taken as the lock is made, and kept in the store."""

from __future__ import annotations

import os
from itertools import islice

import msgspec

from assetmgr.archives import dump_listing, extracted_size, listing, read_members
from assetmgr.errors import AssetError, PatternError, about
from assetmgr.lock import LockedExtraction, LockedFile
from assetmgr.origins import Context


def known_extraction(context: Context, file: LockedFile, kept: LockedFile | None) -> LockedExtraction | None:
    """An extraction whose listing is known: of the same bytes, taken the same way, by an earlier lock or a pull."""
    receipts = (each for receipt in context.store.receipts() for each in receipt.entry.files)
    for known in ([kept] if kept else []) + [each for each in receipts if each.sha256 == file.sha256]:
        if _listed_alike(known, file):
            assert file.extract is not None
            assert known.extract is not None
            listed = {name: getattr(known.extract, name) for name in ("listing", "members", "size")}
            return msgspec.structs.replace(file.extract, **listed)
    return None


def _listed_alike(known: LockedFile, file: LockedFile) -> bool:
    """Whether two archives have one listing. A bare compressed file's member is named after it."""
    had, wanted = known.extract, file.extract
    if had is None or wanted is None or had.listing is None or known.sha256 != file.sha256:
        return False
    names = [os.path.basename(each.path) for each in (known, file)]
    return (had.strip, had.prefix) == (wanted.strip, wanted.prefix) and names[0] == names[1]


def take_listing(context: Context, asset: str, file: LockedFile, path: str) -> LockedExtraction:
    """Read an archive whose bytes are at ``path``, and keep its listing in the store.

    Raises
    ------
    IntegrityError
        When it is damaged, or holds what must not be extracted.
    PatternError
        When ``strip`` and ``prefix`` leave nothing of it.
    """
    extract = file.extract
    assert extract is not None
    label = f"{asset}: {file.path}"
    with context.reporter.progress(f"listing {label}", file.size) as bar:
        try:
            members = listing(
                path,
                strip=extract.strip,
                prefix_filter=extract.prefix,
                name=file.path,
                progress=bar.add,
            )
            if not members:
                some = [member.path for member in islice(read_members(path, name=file.path), 3)]
                held = f"it holds {', '.join(some)}, ..." if some else "it holds no file at all"
                raise PatternError(
                    f"{label}: nothing is left of it by prefix {extract.prefix!r} and strip {extract.strip}; {held}",
                    mend=f"correct prefix: and strip: of {file.path} in the manifest",
                )
        except AssetError as error:
            raise about(error, asset) from None
    digest = context.store.write_listing(dump_listing(members))
    return msgspec.structs.replace(extract, listing=digest, members=len(members), size=extracted_size(members))
