"""A reference: what a command line names an asset by where no manifest declares it.

``hub:ORG/NAME[@REVISION]``, ``hub-dataset:ORG/NAME[@REVISION]``, a URL or a local path. It becomes what a manifest
would declare, and the lines that declare it. What a manifest accepts is accepted here, by the manifest's own rules;
no reference can be taken for an asset's name, and no name for a reference.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from assetmgr.errors import ManifestError, UsageError
from assetmgr.manifest import Asset, Kind, LinkStyle, parse_manifest
from assetmgr.manifest_schema import DIGEST_LENGTHS
from assetmgr.manifest_urls import file_name, moved_url, resolve_folder, resolve_url, url_fault
from assetmgr.manifest_yaml import shown
from assetmgr.names import asset_name_fault, is_digest, is_repo, path_fault

_PREFIXES: Mapping[str, Kind] = {"hub": "model", "hub-dataset": "dataset"}
_FORMS = "hub:ORG/NAME[@REVISION], hub-dataset:ORG/NAME[@REVISION], or a URL"
# How else people write a hub repo, by their other tools' habits.
_OTHERS = re.compile(r"(?:hf|huggingface|hub|hub-model|hub_model|hub-dataset|hub-datasets|hub_dataset):/*", re.I)
_PUBLIC_HUBS = ("huggingface.co", "www.huggingface.co", "hf.co")
_WEIGHTS = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".onnx", ".gguf", ".h5", ".msgpack", ".tflite")
# A text that YAML reads as the text it is without quotes, inside brackets too.
_PLAIN = re.compile(r"(?:https?://|[.]{0,2}/)?[A-Za-z][A-Za-z0-9_./+%=~-]*\Z")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_ESCAPED = re.compile(r'["\\]|[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]')


class Details(NamedTuple):
    """What else a command line may say of a reference. Patterns and the revision are for a hub, the rest for a URL.

    ``path`` is the file's name, where it is not the URL's; ``kind`` what a URL is, where its name does not show it.
    """

    revision: str | None = None
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    local_dir: str | None = None
    local_dir_links: LinkStyle | None = None
    sha256: str | None = None
    md5: str | None = None
    size: int | None = None
    path: str | None = None
    kind: Kind | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """What was named, as a manifest would have it.

    Attributes
    ----------
    text
        As it was written.
    name
        What the asset may be called: a suggestion, made of the repo's or the file's name.
    declaration
        What stands under the name in a manifest, in its order: texts, numbers, lists and mappings.
    """

    text: str
    kind: Kind
    name: str
    declaration: Mapping[str, object]

    @property
    def is_whole(self) -> bool:
        """Whether it is a hub repo as it is by default: no revision of choice, no patterns."""
        return "hub" in self.declaration and not self.declaration.keys() & {
            "revision",
            "allow_patterns",
            "ignore_patterns",
        }


_NOTHING = Details()


def is_reference(text: str) -> bool:
    """Whether a word of a command line is meant as a reference: it holds what no asset's name can."""
    return text.startswith((".", "/", "~")) or any(char in text for char in ":@\\")


def parse_reference(text: str, details: Details = _NOTHING) -> Reference:
    """Turn a reference into what a manifest would declare. Asks nobody and looks at no disk.

    Raises
    ------
    UsageError
        When it is none, or the details do not fit it: says the nearest right form.
    """
    for word in (text, *details.include, *details.exclude, details.local_dir or "", details.path or ""):
        if any("\ud800" <= char <= "\udfff" for char in word):
            raise UsageError(f"{shown(text)}: {shown(word)} is not UTF-8", mend="give it another name")
    scheme, _, rest = text.partition(":")
    if scheme in _PREFIXES and not rest.startswith("/"):
        reference = _hub(text, _PREFIXES[scheme], rest, details)
    elif nearest := _nearest(text):
        raise UsageError(f"{shown(text)} is no reference", mend=f"write {nearest}")
    else:
        reference = _url(text, details)
    placed = _without_none({"local_dir": details.local_dir, "local_dir_links": details.local_dir_links})
    if details.local_dir_links and not details.local_dir:
        raise UsageError(f"{shown(text)}: links of a local_dir, and no local_dir", mend="say where: --local-dir FOLDER")
    reference = replace(reference, declaration={**reference.declaration, **placed})
    asset_of(reference, os.sep)
    return reference


def parse_references(texts: Sequence[str], details: Details = _NOTHING) -> list[Reference]:
    """Several references of one command line. Some details can be meant for one alone.

    Raises
    ------
    UsageError
        See `parse_reference`.
    """
    for option in ("local_dir", "sha256", "md5", "size", "path", "revision") if len(texts) > 1 else ():
        if getattr(details, option) is not None:
            named = f"--{option.replace('_', '-')}"
            raise UsageError(f"{named} is of one reference, and here are {len(texts)}", mend="pull them one by one")
    return [parse_reference(text, details) for text in dict.fromkeys(texts)]


def _hub(text: str, kind: Kind, rest: str, details: Details) -> Reference:
    repo, at, written = rest.partition("@")
    revision = written or details.revision
    prefix = text.partition(":")[0]
    if not is_repo(repo):
        near = _nearest(text) or f"{prefix}:ORG/NAME, of letters, digits, '-', '_' and '.'"
        raise UsageError(f"{shown(text)}: {shown(repo)} is no hub repo", mend=f"write {near}")
    if at and not written:
        raise UsageError(
            f"{shown(text)}: no revision after the '@'", mend=f"write {prefix}:{repo}@REVISION, or leave it out"
        )
    if written and details.revision not in (None, written):
        raise UsageError(
            f"{shown(text)}: two revisions, {shown(written)} and {shown(details.revision or '')}",
            mend="say one of them",
        )
    if revision is not None and (fault := path_fault(revision)):
        raise UsageError(
            f"{shown(text)}: {shown(revision)} cannot be a revision: {fault}", mend="name a branch, tag or commit"
        )
    for option in ("sha256", "md5", "size", "path"):
        if getattr(details, option) is not None:
            mend = f"pin a hub's bytes by a commit: {prefix}:{repo}@COMMIT"
            raise UsageError(f"{shown(text)}: {option} is for a URL", mend=mend)
    declaration = {
        "hub": repo,
        "revision": revision,
        "allow_patterns": list(details.include) or None,
        "ignore_patterns": list(details.exclude) or None,
    }
    return Reference(text, kind, safe_name(repo), _without_none(declaration))


def _url(text: str, details: Details) -> Reference:
    if fault := url_fault(text):
        raise UsageError(f"{shown(text)} is no reference: {fault}", mend=f"write {_FORMS}")
    for option in ("include", "exclude", "revision"):
        if getattr(details, option):
            raise UsageError(f"{shown(text)}: {option} is for a hub's repo, and this is one file", mend="leave it out")
    for algorithm in ("sha256", "md5"):
        digest = getattr(details, algorithm)
        if digest is not None and not is_digest(digest.lower(), algorithm):
            wanted = DIGEST_LENGTHS[algorithm]
            raise UsageError(
                f"{shown(text)}: {digest[:80]!r} is no {algorithm}", mend=f"give its {wanted} hexadecimal digits"
            )
    name = details.path or file_name(resolve_url(text, os.sep)) or text.removeprefix("gdrive:")
    if fault := path_fault(name):
        raise UsageError(f"{shown(text)}: it ends in no usable file name ({fault})", mend="give it one: --path NAME")
    file = {
        "url": text,
        "path": name if details.path or text.startswith("gdrive:") else None,
        "size": details.size,
        "sha256": details.sha256 and details.sha256.lower(),
        "md5": details.md5 and details.md5.lower(),
    }
    return Reference(
        text, details.kind or _kind_of(name), safe_name(name.rpartition("/")[2]), {"files": [_without_none(file)]}
    )


def _kind_of(file_name: str) -> Kind:
    return "model" if file_name.lower().endswith(_WEIGHTS) else "dataset"


def _nearest(text: str) -> str | None:
    """The form of a reference to a hub's repo that was written in another way, or None where none was meant."""
    if text.startswith(("https://", "http://")):
        parts = urlsplit(text)
        if (parts.hostname or "") not in _PUBLIC_HUBS:
            return None
        path = parts.path.strip("/")
        if "/resolve/" in path:
            return None
    elif match := _OTHERS.match(text):
        kind = "datasets/" if "dataset" in match[0].lower() else ""
        path = text[match.end() :].strip("/")
        path = path if path.startswith("datasets/") else kind + path
    elif ":" not in text and "@" in text:
        path = text
    else:
        return None
    prefix = "hub"
    for section, other in (("datasets/", "hub-dataset"), ("models/", "hub")):
        if path.startswith(section):
            path, prefix = path[len(section) :], other
    repo, _, revision = path.partition("@")
    parts_of = repo.split("/")
    if len(parts_of) > 3 and parts_of[2] in ("tree", "blob"):
        revision = revision or parts_of[3]
    repo = "/".join(parts_of[:2])
    if not is_repo(repo):
        return f"{prefix}:ORG/NAME or {prefix}:ORG/NAME@REVISION"
    return f"{prefix}:{repo}" + (f"@{revision}" if revision and not path_fault(revision) else "")


def safe_name(text: str) -> str:
    """The nearest text that may name an asset."""
    parts = []
    for part in text.split("/"):
        part = re.sub(r"[^A-Za-z0-9._+-]+", "-", part)
        part = re.sub(r"\A[^A-Za-z0-9]+|[^A-Za-z0-9_+]+\Z", "", part)[:80]
        part = re.sub(r"[^A-Za-z0-9_+]+\Z", "", part)
        if part:
            parts.append(part)
    name = "/".join(parts)
    return name if name and not asset_name_fault(name) else f"asset-{name}" if name else "asset"


def _without_none(mapping: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in mapping.items() if value is not None}


# --- what a manifest says of it --------------------------------------------------------------------------------------


def asset_of(reference: Reference, folder: str) -> Asset:
    """The asset that a manifest in a folder would declare by the lines of `render`.

    Raises
    ------
    UsageError
        When a manifest may not declare it.
    """
    text = f"version: 1\n{render(reference)}"
    try:
        return parse_manifest(text, Path(folder, "assets.yaml")).assets[0]
    except ManifestError as error:
        told = "; ".join(problem.message for problem in error.problems)
        raise UsageError(f"{shown(reference.text)}: {told}", mend=f"correct that; a reference is {_FORMS}") from None


def render(reference: Reference) -> str:
    """The lines that declare it in a manifest: the section, the name, and what stands under it."""
    lines = [f"{reference.kind}s:", f"  {scalar(reference.name)}:"]
    for key, value in reference.declaration.items():
        lines += field_lines(key, value, "    ")
    return "\n".join(lines) + "\n"


def field_lines(key: str, value: object, indent: str, step: str = "  ") -> list[str]:
    """The lines of a key and its value in block style, each beginning with ``indent``."""
    if isinstance(value, Mapping):
        inner = [line for name, each in value.items() for line in field_lines(str(name), each, indent + step, step)]
        return [f"{indent}{scalar(key)}:", *inner] if inner else [f"{indent}{scalar(key)}: {{}}"]
    if not isinstance(value, (list, tuple)):
        return [f"{indent}{scalar(key)}: {scalar(value)}"]
    if not any(isinstance(item, Mapping) for item in value):
        return [f"{indent}{scalar(key)}: [{', '.join(map(scalar, value))}]"]
    lines = [f"{indent}{scalar(key)}:"]
    for item in value:
        inner = [line for name, each in item.items() for line in field_lines(str(name), each, indent + "    ", step)]
        lines += [f"{indent}  - {inner[0].lstrip()}", *inner[1:]]
    return lines


def scalar(value: object) -> str:
    """A text, number or flag as YAML has it: plain where nothing else can be read in it, else in double quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if _PLAIN.match(text) and text.lower() not in _WORDS:
        return text
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    if char in '"\\':
        return "\\" + char
    return f"\\u{ord(char):04x}"


def typed(reference: Reference) -> str:
    """What to type after a command that takes references, to mean this one."""
    said = reference.declaration
    files = cast("Sequence[Mapping[str, object]]", said.get("files", [{}]))
    revision = said.get("revision")
    options: list[tuple[str, object]] = []
    if revision is not None and not reference.text.endswith(f"@{revision}"):
        options.append(("--revision", revision))
    for option, key in (("--include", "allow_patterns"), ("--exclude", "ignore_patterns")):
        options += [(option, pattern) for pattern in cast("Sequence[str]", said.get(key, ()))]
    named = (("--sha256", files[0].get("sha256")), ("--path", files[0].get("path")))
    placed = (("--local-dir", said.get("local_dir")), ("--local-dir-links", said.get("local_dir_links")))
    options += [(option, value) for option, value in (*named, *placed) if value is not None]
    if "files" in said and reference.kind != _kind_of(str(files[0].get("path") or file_name(reference.text))):
        options.append(("--kind", reference.kind))
    return shlex.join([reference.text, *(str(word) for option in options for word in option)])


def rebased(reference: Reference, start: str, folder: str | None) -> Reference:
    """The same files and the same local_dir, said from elsewhere.

    Parameters
    ----------
    start
        Where its relative local paths begin: for what was typed, the working folder.
    folder
        Where they are to begin: a manifest's folder. None makes them absolute.
    """
    changed = dict(reference.declaration)
    if "files" in changed:
        files = cast("Sequence[Mapping[str, object]]", changed["files"])
        changed["files"] = [{**file, "url": moved_url(str(file["url"]), start, folder)} for file in files]
    local_dir = changed.get("local_dir")
    if isinstance(local_dir, str) and not local_dir.startswith(("~", "$")) and not os.path.isabs(local_dir):
        whole = resolve_folder(local_dir, start)
        changed["local_dir"] = whole
        with contextlib.suppress(ValueError):  # on another drive
            changed["local_dir"] = whole if folder is None else Path(os.path.relpath(whole, folder)).as_posix()
    return replace(reference, declaration=changed)
