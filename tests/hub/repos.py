"""Repositories: commits that are whole trees, and the branches and tags that name them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from .entries import Entry, LfsRule, RawEntry, default_lfs, make_entry

Kind = Literal["model", "dataset"]
Gated = Literal[False, "auto", "manual"]
DATE = "2024-01-01T00:00:00.000Z"


@dataclass(frozen=True)
class Commit:
    """A whole tree under one digest of it, its parent and its message."""

    sha: str
    parent: str | None
    message: str
    entries: Mapping[str, Entry]

    @cached_property
    def folders(self) -> Mapping[str, str]:
        """Every folder of the tree with a digest of what is in it."""
        found: dict[str, Any] = {}
        for path, entry in sorted(self.entries.items()):
            folder = entry.folder
            while folder:
                found.setdefault(folder, hashlib.sha1()).update(f"{path}\0{entry.oid}\n".encode())
                folder = folder.rpartition("/")[0]
        return {folder: digest.hexdigest() for folder, digest in sorted(found.items())}

    @cached_property
    def card(self) -> Mapping[str, Any] | None:
        """The front matter of the README, which the hub calls the repository's card."""
        readme = self.entries.get("README.md")
        text = readme.content.read(0, readme.content.size).decode(errors="replace") if readme else ""
        before, begin, rest = text.partition("---\n")
        head, end, _ = rest.partition("\n---")
        return yaml.safe_load(head) if begin and end and not before.strip() else None

    @property
    def tags(self) -> list[str]:
        """What the hub makes of a card's fields for its search, beside the card's own tags."""
        card = self.card or {}
        said = card.get("license", [])
        licenses = said if isinstance(said, list) else [said]
        return [*card.get("tags", []), *(f"license:{name}" for name in licenses)]

    def listing(self, folder: str = "", *, recursive: bool, expand: bool = False) -> list[dict[str, Any]] | None:
        """Return what ``/tree`` shows of a folder, folders first; None where there is no such folder."""
        if folder and folder not in self.folders:
            return None
        inside = f"{folder}/" if folder else ""

        def shown(path: str, parent: str) -> bool:
            return path.startswith(inside) if recursive else parent == folder

        rows: list[dict[str, Any]] = [
            {"type": "directory", "oid": oid, "size": 0, "path": path}
            for path, oid in self.folders.items()
            if path != folder and shown(path, path.rpartition("/")[0])
        ]
        rows += [e.listing(expand=expand) for _, e in sorted(self.entries.items()) if shown(e.path, e.folder)]
        if expand:
            for row in rows:
                row["lastCommit"] = {"id": self.sha, "title": self.message, "date": DATE}
        return rows


class Repo:
    """A model or dataset repository. `private` and `gated` may be changed while it is served."""

    def __init__(self, repo_id: str, kind: Kind, *, private: bool = False, gated: Gated = False) -> None:
        self.id = repo_id
        self.kind: Kind = kind
        self.private = private
        self.gated: Gated = gated
        self.commits: dict[str, Commit] = {}
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}

    def commit(
        self,
        files: Mapping[str, bytes | Path | RawEntry],
        branch: str = "main",
        message: str = "",
        delete: Collection[str] = (),
        lfs: LfsRule = default_lfs,
    ) -> str:
        """Add a commit to a branch: the tree of its head, less `delete`, with `files` over it.

        A branch that does not exist begins empty (`Repo.branch` begins one elsewhere). Returns the commit's
        digest, which depends only on the repository's name and on the history's content.
        """
        parent = self.branches.get(branch)
        tree = dict(self.commits[parent].entries) if parent else {}
        for path in delete:
            del tree[path]
        tree |= {path: make_entry(path, source, lfs) for path, source in files.items()}
        digest = hashlib.sha1(f"{self.kind}\0{self.id}\0{parent}\0{message}\0".encode())
        for path, entry in sorted(tree.items()):
            digest.update(repr((path, entry.oid, entry.size, entry.etag, entry.sha256)).encode())
        sha = digest.hexdigest()
        self.commits[sha] = Commit(sha, parent, message, tree)
        self.branches[branch] = sha
        return sha

    def commit_folder(self, folder: Path, branch: str = "main", message: str = "", lfs: LfsRule = default_lfs) -> str:
        """Commit every file under a folder, served from where it lies."""
        files = {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}
        return self.commit(files, branch, message, lfs=lfs)

    def tag(self, name: str, commit: str | None = None) -> None:
        """Name a commit; by default the head of main."""
        self.tags[name] = self._known(commit)

    def branch(self, name: str, commit: str | None = None) -> None:
        """Begin or move a branch; ``refs/pr/1`` is a branch too."""
        self.branches[name] = self._known(commit)

    def _known(self, commit: str | None) -> str:
        return self.commits[commit or self.branches["main"]].sha

    def find(self, revision: str) -> Commit | None:
        """Return the commit that a branch, a tag or a full digest names."""
        name = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        sha = self.branches.get(name) or self.tags.get(name) or revision
        return self.commits.get(sha)

    def refs(self) -> dict[str, Any]:
        """Return what ``/refs`` shows."""

        def rows(names: Mapping[str, str], begins: str, prefix: str = "") -> list[dict[str, str]]:
            return [
                {"name": name, "ref": prefix + name, "targetCommit": sha}
                for name, sha in names.items()
                if name.startswith(begins) and not (prefix and name.startswith("refs/"))
            ]

        return {
            "branches": rows(self.branches, "", "refs/heads/"),
            "converts": rows(self.branches, "refs/convert/"),
            "pullRequests": rows(self.branches, "refs/pr/"),
            "tags": rows(self.tags, "", "refs/tags/"),
        }

    def history(self, commit: Commit) -> list[dict[str, Any]]:
        """Return what ``/commits`` shows: the commit and what it grew from, newest first."""
        rows: list[dict[str, Any]] = []
        at: Commit | None = commit
        while at is not None:
            rows.append({"id": at.sha, "title": at.message, "message": "", "date": DATE, "authors": []})
            at = self.commits[at.parent] if at.parent else None
        return rows

    def info(self, commit: Commit | None, *, blobs: bool) -> dict[str, Any]:
        """Return what ``/api/models/{id}`` shows."""
        shown: dict[str, Any] = {
            "_id": hashlib.sha1(f"{self.kind}\0{self.id}".encode()).hexdigest()[:24],
            "id": self.id,
            "author": self.id.rpartition("/")[0],
            "lastModified": DATE,
            "createdAt": DATE,
            "private": self.private,
            "gated": self.gated,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [],
        }
        if self.kind == "model":
            shown["modelId"] = self.id
        if commit is not None:
            shown["sha"] = commit.sha
            shown["tags"] = commit.tags
            if commit.card is not None:
                shown["cardData"] = commit.card
            shown["siblings"] = [entry.sibling(blobs=blobs) for _, entry in sorted(commit.entries.items())]
        return shown
