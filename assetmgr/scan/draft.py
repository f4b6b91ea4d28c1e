"""A manifest drafted of what a scan found: what is certain is declared, the rest is said in comments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from assetmgr.errors import ManifestError
from assetmgr.manifest import Asset, Kind, parse_manifest
from assetmgr.references import field_lines, safe_name, scalar
from assetmgr.scan.finds import Find, Listed, Named, Remark, Repo, plain

_SEEN = 6


class Catalogued(Protocol):
    """What a draft asks the catalog."""

    def find(self, name: str) -> Asset | None: ...

    def nearest(self, name: str) -> str: ...

    def of_repo(self, repo: str) -> Asset | None: ...


@dataclass(frozen=True, slots=True)
class Draft:
    """A manifest's text, and what is to be told of it. ``slips`` are what the project says wrongly."""

    text: str
    models: int
    datasets: int
    requires: int
    remarks: tuple[Remark, ...]
    slips: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: Kind
    name: str
    declaration: Mapping[str, Any]
    comments: tuple[str, ...]


def draft(finds: Sequence[Find], known: Catalogued, scanned: str, path: Path) -> Draft:
    """Decide what of the finds to declare.

    Parameters
    ----------
    scanned
        What was scanned, as it was named.
    path
        Where the manifest is to stand.
    """
    remarks = [find for find in finds if isinstance(find, Remark)]
    slips: list[str] = []
    repos = _judged([find for find in finds if isinstance(find, Repo)], known, slips)
    entries: list[_Entry] = []
    for entry in [*_of_repos(repos), *_of_lists([find for find in finds if isinstance(find, Listed)], known)]:
        taken = {each.name for each in entries}
        name = next(name for name in _names(entry) if name not in taken)
        fault = _fault(replace(entry, name=name), path)
        if fault:
            remarks.append(Remark(entry.comments[0].removeprefix("seen in "), f"{plain(entry.name)}: {fault}"))
        else:
            entries.append(replace(entry, name=name))
    named: dict[str, list[str]] = {}
    own = {entry.name for entry in entries}
    for find in finds:
        if isinstance(find, Named) and find.name not in own:
            named.setdefault(find.name, []).append(find.where)
    wanted = {name: wheres for name, wheres in named.items() if known.find(name) is not None}
    for name, wheres in named.items():
        if name not in wanted:
            places = _seen(wheres).removeprefix("seen in ")
            remarks.append(Remark(places, f"{plain(name)!r} is in no catalog{known.nearest(name)}"))
    remarks = list(dict.fromkeys(remarks))
    text = _text(entries, wanted, remarks, scanned)
    parse_manifest(text, path)  # whatever a project says, a draft is a manifest
    counts = [sum(entry.kind == kind for entry in entries) for kind in ("model", "dataset")]
    return Draft(text, counts[0], counts[1], len(wanted), tuple(remarks), tuple(dict.fromkeys(slips)))


def _judged(repos: Sequence[Repo], known: Catalogued, slips: list[str]) -> list[tuple[Repo, str]]:
    """Each repo with the kind that it truly has, and what is wrong with what the project says of it."""
    used = {find.repo: find for find in repos if find.is_use and find.kind == "model"}
    judged = []
    for find in repos:
        asset = known.of_repo(find.repo) if find.kind == "dataset" and not find.is_use else None
        model = used.get(find.repo)
        if find.kind == "dataset" and not find.is_use and (model or (asset is not None and asset.kind == "model")):
            because = (
                f"{model.where} loads it as a model"
                if model
                else f"the catalog has it as the model {asset and asset.name}"
            )
            what = f"{find.where} fetches {find.repo} with repo_type='dataset', but {because}: declared as a model"
            slips.append(what)
            judged.append((replace(find, kind="model"), what))
        else:
            judged.append((find, ""))
    return judged


def _of_repos(repos: Sequence[tuple[Repo, str]]) -> list[_Entry]:
    """One entry for each repo, kind and revision: what it selects is what all of its finds select together."""
    groups: dict[tuple[Kind, str, str], list[tuple[Repo, str]]] = {}
    for find, slip in repos:
        groups.setdefault((find.kind, find.repo, find.revision or "main"), []).append((find, slip))
    entries = []
    for (kind, repo, revision), group in groups.items():
        finds = [find for find, _ in group]
        declaration: dict[str, Any] = {"hub": repo}
        if any(find.revision for find in finds):
            declaration["revision"] = revision
        comments = [_seen([find.where for find in finds]), *(slip for _, slip in group if slip)]
        if all(find.allow is not None and find.ignore is None for find in finds):
            declaration["allow_patterns"] = list(dict.fromkeys(one for find in finds for one in find.allow or ()))
        elif len(finds) == 1 or all(find == replace(finds[0], where=find.where) for find in finds):
            for key, patterns in (("allow_patterns", finds[0].allow), ("ignore_patterns", finds[0].ignore)):
                if patterns is not None:
                    declaration[key] = list(patterns)
        elif all(find.allow is None and find.ignore is not None for find in finds):
            common = [one for one in finds[0].ignore or () if all(one in (find.ignore or ()) for find in finds)]
            if common:
                declaration["ignore_patterns"] = common
        elif any(find.allow or find.ignore for find in finds):
            comments.append("whole, because one of these takes what another leaves out")
        folders = list(dict.fromkeys(find.local_dir for find in finds if find.local_dir))
        if len(folders) == 1 and _is_portable(folders[0]):
            declaration["local_dir"] = folders[0]
        else:
            comments += [f"shown in {folder!r} there: local_dir" for folder in folders]
        entries.append(_Entry(kind, safe_name(repo), declaration, tuple(comments)))
    return entries


def _is_portable(folder: str) -> bool:
    return not folder.startswith(("/", "~", "\\")) and ".." not in folder and not set(folder) & set(":\\$")


def _of_lists(lists: Sequence[Listed], known: Catalogued) -> list[_Entry]:
    groups: dict[tuple[Kind, str, str], list[Listed]] = {}
    for find in lists:
        groups.setdefault((find.kind, find.name, repr(find.declaration)), []).append(find)
    entries = []
    for (kind, name, _), finds in groups.items():
        declaration = dict(finds[0].declaration)
        comments = [_seen([find.where for find in finds])]
        asset = known.find(name)
        if asset is not None and asset.kind == kind:
            comments.append(f"in place of the catalog's {name}")
            if asset.requires:
                declaration["requires"] = list(asset.requires)
            if kind == "dataset":
                declaration |= {key: asset.use[key] for key in ("samples", "media") if key in asset.use}
        entries.append(_Entry(kind, name, declaration, tuple(comments)))
    return entries


def _names(entry: _Entry) -> list[str]:
    """What an entry may be called, the best first; the last is free for sure."""
    revision = entry.declaration.get("revision")
    names = [entry.name]
    if revision:
        names.append(safe_name(f"{entry.name}+{str(revision)[:40].replace('/', '-')}"))
    names.append(f"{entry.name}+{entry.kind}")
    return [*names, *(f"{entry.name}+{number}" for number in range(2, 10_000))]


def _fault(entry: _Entry, path: Path) -> str | None:
    """Why a manifest may not hold an entry, or None."""
    text = f"version: 1\n{entry.kind}s:\n" + "\n".join(field_lines(entry.name, entry.declaration, "  ")) + "\n"
    try:
        parse_manifest(text, path)
    except ManifestError as error:
        return plain(error.problems[0].message)
    return None


def _seen(wheres: Sequence[str]) -> str:
    places = list(dict.fromkeys(wheres))
    more = f" and {len(places) - _SEEN} more" if len(places) > _SEEN else ""
    return f"seen in {', '.join(places[:_SEEN])}{more}"


def _text(entries: Sequence[_Entry], required: Mapping[str, list[str]], remarks: Sequence[Remark], scanned: str) -> str:
    lines = [f"# Drafted from what {plain(scanned)} says of models and datasets. Look through it, then: assetmgr lock"]
    lines.append("version: 1")
    for kind in ("model", "dataset"):
        of_kind = [entry for entry in entries if entry.kind == kind]
        if of_kind:
            lines += ["", f"{kind}s:"]
        for number, entry in enumerate(of_kind):
            lines += [""] if number else []
            lines += [f"  # {plain(comment)}" for comment in entry.comments]
            lines += field_lines(entry.name, entry.declaration, "  ")
    if required:
        lines += ["", "requires:"]
        for name, wheres in required.items():
            lines += [f"  # {plain(_seen(wheres))}", f"  - {scalar(name)}"]
    if remarks:
        lines += ["", "# Left open:"]
        lines += [f"#   {plain(remark.where)}: {plain(remark.text)}" for remark in remarks]
    return "\n".join(lines) + "\n"
