"""Prove what is there: quick by stamps, full by hashes. Neither needs a network, a manifest or a lock."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import msgspec

from assetmgr import views
from assetmgr.contents import Contents
from assetmgr.digests import hash_descriptor, in_parallel
from assetmgr.errors import AssetError, IntegrityError, NotInstalledError
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.receipt import Receipt, Stamp
from assetmgr.reporting import Reporter, Silent
from assetmgr.store import Layout, State, Store


class Finding(NamedTuple):
    """One thing that is not as the lock says.

    ``kind`` is ``missing``, ``broken link``, ``truncated``, ``altered``, ``unreadable``, ``moved ref``,
    ``tree listing``, ``listing`` (of an archive) or ``local_dir``.
    """

    asset: str
    path: str
    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.asset}: {self.path}: {self.kind}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found.

    Attributes
    ----------
    receipt
        The receipt with fresh stamps; None stands for a file that is not right.
    findings
        What is wrong.
    hashed_bytes
        How much was read.
    """

    receipt: Receipt
    findings: tuple[Finding, ...]
    hashed_bytes: int = 0


def prove(path: str, file: LockedFile, progress: Callable[[int], object] | None = None) -> Stamp | tuple[str, str]:
    """Hash one file: its fresh stamp, or what is wrong with it as (kind, detail).

    The descriptor is opened once; size, time and digest speak of the same open file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        return ("broken link", f"leads to {os.readlink(path)}") if os.path.islink(path) else ("missing", "no such file")
    except OSError as error:
        return "unreadable", str(error.strerror)
    try:
        before = os.fstat(descriptor)
        if before.st_size != file.size:
            if progress is not None:
                progress(file.size)
            kind = "truncated" if before.st_size < file.size else "altered"
            return kind, f"expected {file.size} bytes, found {before.st_size}"
        _, digests = hash_descriptor(descriptor, progress=progress)
        after = os.fstat(descriptor)
    except OSError as error:
        return "unreadable", str(error.strerror)
    finally:
        os.close(descriptor)
    if digests["sha256"] != file.sha256:
        return "altered", f"expected sha256 {file.sha256}, found {digests['sha256']}"
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        return "altered", "it changes while it is read"
    return Stamp.of(after)


def prove_many(
    files: Iterable[tuple[LockedFile, str]], label: str, reporter: Reporter
) -> dict[str, Stamp | tuple[str, str]]:
    """Hash many files in parallel, largest first so that the cores end together; result by path."""
    work = sorted(files, key=lambda item: item[0].size, reverse=True)
    results: dict[str, Stamp | tuple[str, str]] = {}
    with reporter.progress(label, sum(file.size for file, _ in work)) as bar:
        for (_, path), result in in_parallel(lambda item: prove(item[1], item[0], bar.add), work):
            results[path] = result
    return results


def verify(
    store: Store,
    receipt: Receipt,
    *,
    full: bool = False,
    reporter: Reporter | None = None,
    others: Callable[[], Collection[tuple[str, str]]] = tuple,
    marks: bool = True,
) -> Verdict:
    """Prove one entry against its receipt.

    Quick takes a fitting stamp for proof, and hashes what has none; full hashes everything.

    Parameters
    ----------
    others
        Gives the (ref, commit) that other receipts of the store claim. A ref that another project moved is not damage.
    marks
        Whether what stands beside the files is checked too.
    """
    entry, contents = receipt.entry, store.contents(receipt.entry)
    files, known = contents.files, contents.of_receipt(receipt.stamps)
    states = store.survey(contents.placed, known)
    unlisted = check_listings(contents)
    if not full and all(state is State.PROVED for state in states):
        found = [*unlisted, *(check_marks(store, receipt, others) if marks else ())]
        return Verdict(_without_bad_tree(receipt, found), tuple(found))
    layout = Layout(entry)
    names = [store.at(layout.name(file)) for file in files]
    reporter = reporter or Silent()
    todo = {
        name: file
        for name, file, state in zip(names, files, states, strict=True)
        if state is not State.MISSING and (full or state is not State.PROVED)
    }
    # Names that lead to one inode, and should hold the same, are read once.
    inodes: dict[tuple[int, int, str | None], str] = {}
    same: dict[str, str] = {}
    for name, file in todo.items():
        with contextlib.suppress(OSError):
            status = os.stat(name)
            same[name] = inodes.setdefault((status.st_dev, status.st_ino, file.sha256), name)
    unique = [(file, name) for name, file in todo.items() if same.get(name, name) == name]
    results = prove_many(unique, f"{'verifying' if full else 'proving'} {entry.name}", reporter)
    stamps: list[Stamp | None] = []
    findings = unlisted
    for file, name, state, old in zip(files, names, states, known, strict=True):
        if not full and state is State.PROVED:
            stamps.append(old)
            continue
        result = results.get(same.get(name, name))
        if result is None:
            result = absent(store, layout, file)
        if isinstance(result, Stamp):
            stamps.append(result)
        else:
            stamps.append(None)
            findings.append(Finding(entry.name, file.path, *result))
    fresh = msgspec.structs.replace(receipt, stamps=contents.for_receipt(stamps, receipt.stamps))
    if marks:
        findings += check_marks(store, fresh, others, full=full)
    return Verdict(_without_bad_tree(fresh, findings), tuple(findings), sum(file.size for file, _ in unique))


def check_listings(contents: Contents) -> list[Finding]:
    """Tell the archives whose members nobody knows here."""
    return [
        Finding(
            contents.entry.name, each.archive.path, "listing", f"the store has none of its {each.extract.members} files"
        )
        for each in contents.unlisted
    ]


def _without_bad_tree(receipt: Receipt, findings: Iterable[Finding]) -> Receipt:
    """A listing that was found wrong has no stamp that a later look could trust."""
    wrong = any(finding.kind == "tree listing" for finding in findings)
    return msgspec.structs.replace(receipt, tree=None) if wrong else receipt


def absent(store: Store, layout: Layout, file: LockedFile) -> tuple[str, str]:
    """What is wrong with a file that no name shows, as (kind, detail)."""
    name = store.at(layout.name(file))
    if os.path.islink(name):
        return "broken link", f"leads to {os.readlink(name)}"
    if layout.repo and os.path.exists(store.at(layout.bytes(file))):
        return "missing", "its blob is there, the snapshot's link is not"
    return "missing", "no such file"


def check_marks(
    store: Store,
    receipt: Receipt,
    others: Callable[[], Collection[tuple[str, str]]] = tuple,
    *,
    full: bool = False,
) -> list[Finding]:
    """Check what stands beside the files: the ref, huggingface_hub's listing, the local_dirs."""
    entry, layout = receipt.entry, Layout(receipt.entry)
    findings = []
    if layout.ref is not None:
        found = read_ref(store.at(layout.ref))
        blocked = ref_is_blocked(store.at(layout.ref))
        if found != entry.commit and not blocked and (layout.ref, found) not in others():
            detail = f"{entry.revision} should lead to {entry.commit[:12]}, found {found[:12] if found else 'no ref'}"
            findings.append(Finding(entry.name, layout.ref, "moved ref", detail))
    if layout.repo and entry.listing is not None:
        findings += _check_tree(store, receipt, layout, full=full)
    for folder in receipt.local_dirs:
        try:
            for name, what in views.problems(store, entry, folder, full=full):
                findings.append(Finding(entry.name, os.path.join(folder, name), "local_dir", what))
        except AssetError as error:
            findings.append(Finding(entry.name, folder, "local_dir", f"{error.message}; {error.mend}"))
    return findings


def ref_is_blocked(path: str) -> bool:
    """Whether another ref stands in the way: ``v1`` is a file, and ``v1/2`` needs a folder of that name."""
    parent = os.path.dirname(path)
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    return os.path.isdir(path) or not os.path.isdir(parent)


def read_ref(path: str) -> str | None:
    """The commit that a ref file names, or None."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read(100).strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _check_tree(store: Store, receipt: Receipt, layout: Layout, *, full: bool) -> list[Finding]:
    """huggingface_hub takes a snapshot for whole by its listing: one that lacks a file hides a hole for ever."""
    entry, path = receipt.entry, store.at(layout.tree)
    assert entry.listing is not None
    with contextlib.suppress(OSError):
        if not full and receipt.tree is not None and receipt.tree.fits(os.stat(path)):
            return []
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        if store.read_listing(entry.listing) is None:
            return []  # pulled where the listing could not be had, and nothing claims to be one
        return [Finding(entry.name, layout.tree, "tree listing", "missing")]
    listing = store.read_listing(entry.listing)
    expected = tree_cache(listing) if listing is not None else _own_rows(entry)
    if data == expected:
        return []
    try:
        listed = json.loads(data)["files"]
        # huggingface_hub may write its own, with more about each file.
        wrong = [
            name
            for name, row in json.loads(expected)["files"].items()
            if name not in listed or any(listed[name].get(key) != value for key, value in row.items())
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return [Finding(entry.name, layout.tree, "tree listing", "damaged")]
    return [Finding(entry.name, layout.tree, "tree listing", f"lacks or misstates {name}") for name in wrong[:5]]


def _own_rows(entry: LockedAsset) -> bytes:
    """The least that a listing must say, where the commit's own is not in the store: the entry's files."""
    files = {file.path: {"size": file.size} for file in entry.files}
    return json.dumps({"files": files}).encode()


def tree_cache(listing: bytes) -> bytes:
    """huggingface_hub's listing document (``trees/<commit>.json``, format 1 of its 2.x) from ours."""
    files = {}
    for row in json.loads(listing):
        files[row["path"]] = {"size": row["size"], "blob_id": row["git_sha1"]}
        if row.get("sha256"):
            files[row["path"]] |= {"lfs_sha256": row["sha256"], "lfs_size": row["size"]}
    document = {"format_version": 1, "files": dict(sorted(files.items()))}
    return msgspec.json.format(msgspec.json.encode(document), indent=1)


def claimed_refs(receipts: Iterable[Receipt], but: LockedAsset, *, besides: str | None = None) -> set[tuple[str, str]]:
    """The (ref, commit) that receipts other than one entry's claim; ``besides`` leaves out one manifest's own."""
    claims = set()
    for receipt in receipts:
        ref = Layout(receipt.entry).ref
        if ref is None or receipt.entry == but:
            continue
        if besides is None or any(user != besides and os.path.exists(user) for user in receipt.wanted_by):
            claims.add((ref, receipt.entry.commit))
    return claims


@dataclass(frozen=True, slots=True)
class Installed:
    """An asset that stands in the store, as a loader needs it.

    Attributes
    ----------
    folder
        The absolute path of its snapshot or folder.
    use
        What its manifest says to loaders.
    receipt
        Its receipt, where it has one.
    """

    entry: LockedAsset
    folder: str
    use: Mapping[str, Any]
    store: Store
    receipt: Receipt | None = None

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def proved_at(self) -> int | None:
        """The oldest proof among its files (Unix seconds), as the receipt has it."""
        return self.receipt.proved_at() if self.receipt else None

    @property
    def files(self) -> Sequence[LockedFile]:
        """All that stands in the store of it, the members of its archives included."""
        return self.store.contents(self.entry).files


def installed(
    store: Store, receipt: Receipt, *, check: Literal["quick", "full", "none"] = "quick"
) -> tuple[Installed, Receipt]:
    """Prove an entry for a loader; return it with its refreshed receipt.

    Raises
    ------
    NotInstalledError
        When it never was whole.
    IntegrityError
        When a file is not what the lock says.
    """
    entry = receipt.entry
    if receipt.pulled_at <= 0:
        raise NotInstalledError(f"{entry.name}: only partly pulled", mend=f"assetmgr pull {entry.name}")
    if check != "none":
        verdict = verify(store, receipt, full=check == "full", marks=False)
        wrong, receipt = verdict.findings, verdict.receipt
        if wrong:
            more = f" (and {len(wrong) - 1} more files)" if len(wrong) > 1 else ""
            # What a full look finds may stand behind stamps that fit, where a quick one finds nothing to repair.
            how = "--full --repair" if check == "full" else "--repair"
            raise IntegrityError(f"{wrong[0]}{more}", mend=f"assetmgr verify {entry.name} {how}")
    folder = store.at(Layout(entry).folder)
    return Installed(entry, folder, receipt.use, store, receipt), receipt
