"""The manifest: YAML, written by people, that says which models and datasets a machine needs.

::

    version: 1
    models:
      minilm:
        hub: sentence-transformers/all-MiniLM-L6-v2
        allow_patterns: ["*.json", "*.txt", "model.safetensors"]
    datasets:
      captions:
        files:
          - {url: ./captions.json, sha256: 0a1b...}
        splits: {val: captions.json}
        samples: caption

The format is one table, in ``manifest_schema``. Whatever is wrong with a file is told at once, each mistake
with its file, line and column.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, cast

from assetmgr import names
from assetmgr.errors import ManifestError, Problem
from assetmgr.manifest_reader import Reader, Value
from assetmgr.manifest_schema import LIST_FORMATS, MANIFEST, SAMPLE_READERS, SECTIONS, VERSION, json_schema
from assetmgr.manifest_urls import file_name, resolve_folder, resolve_mirror, resolve_url
from assetmgr.manifest_yaml import ManifestLimits, Node, Problems, Scalar, compose, decode, integer, shown
from assetmgr.manifest_yaml import Mapping as MappingNode

__all__ = [
    "SAMPLE_READERS",
    "Asset",
    "Extraction",
    "FileSource",
    "FilesSource",
    "HubSource",
    "Manifest",
    "ManifestLimits",
    "Place",
    "Transport",
    "json_schema",
    "load_manifest",
    "parse_manifest",
]

Kind = Literal["model", "dataset"]
LinkStyle = Literal["symlink", "hardlink", "copy"]
Transport = Literal["auto", "snapshot", "direct"]
# Where a checkout of LAVIS has its download scripts.
LAVIS_SCRIPTS = "lavis/datasets/download_scripts"
_LIMITS = ManifestLimits()
_USE = ("load", "prepare", "splits", "samples", "media", "variants")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a manifest something stands. Lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class HubSource:
    """An asset that a hub publishes as a repo. Patterns have the hub's own meaning; None is all files.

    ``transport`` says how its bytes are moved: by `snapshot_download`, by the transfer engine (``direct``), or each
    file by what is best for it (``auto``).
    """

    repo: str
    endpoint: str | None = None
    revision: str = "main"
    allow_patterns: tuple[str, ...] | None = None
    ignore_patterns: tuple[str, ...] | None = None
    transport: Transport = "auto"


@dataclass(frozen=True, slots=True)
class Extraction:
    """What becomes of an archive: its files go to a place.

    ``strip`` leading folders are dropped of each path; with ``prefix`` only what lies below that folder of the archive
    is taken. By default nothing is dropped: an archive's own folders keep several archives in one place apart.

    Without ``keep_archive`` the archive is removed once its files are proved. It is kept by default: what was brought
    is not thrown away unasked, and with it a file is mended without the network.
    """

    place: str
    strip: int = 0
    prefix: str | None = None
    keep_archive: bool = True


@dataclass(frozen=True, slots=True)
class FileSource:
    """One file and the URLs that it may come from, tried in order.

    ``urls`` are http, https or absolute file URLs; ``written`` holds them as the manifest has them, so that
    what is recorded does not depend on where the manifest's folder lies. ``ask`` says what a user must do by hand to
    get the file; with it there may be no URL at all. ``sha256_prefix`` is what is known of a sha256 that nobody states
    whole.
    """

    urls: tuple[str, ...]
    path: str
    place: str = "files"
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    crc32c: str | None = None
    sha256_prefix: str | None = None
    written: tuple[str, ...] = field(default=(), compare=False)
    ask: str | None = None
    extract: Extraction | None = None


@dataclass(frozen=True, slots=True)
class FilesSource:
    """An asset that is a list of files."""

    files: tuple[FileSource, ...]


@dataclass(frozen=True, slots=True)
class UrlListSource:
    """An asset that is fetched from a list of URLs into shards.

    ``recipe`` is what decides about the outcome, `url_list.UrlListRecipe`'s fields; ``tuning`` is how this manifest
    has it fetched (``distributor``, ``processes``, ``threads``, ``timeout``, ``retries``), and decides about nothing.
    """

    file: FileSource
    place: str
    recipe: Mapping[str, object] = field(hash=False)
    tuning: Mapping[str, object] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class ScriptSource:
    """An asset that a script of LAVIS's checkout fetches; ``script`` is its path there, ``checkout`` as written."""

    script: str
    checkout: str
    folder: str = field(compare=False)


Source = HubSource | FilesSource | UrlListSource | ScriptSource


@dataclass(frozen=True, slots=True)
class Asset:
    """A named model or dataset, as declared.

    ``local_dir`` is absolute. ``twins`` name assets with the same model in another library's form. ``use`` holds what
    the loaders read (``load``, ``splits``, ``samples``, ``media``, ``variants``; only those given), as JSON can hold
    it: every split is a list of paths.
    """

    name: str
    kind: Kind
    source: Source
    requires: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    local_dir: str | None = None
    local_dir_links: LinkStyle = "symlink"
    twins: tuple[str, ...] = ()
    license: str | None = None
    description: str | None = None
    use: Mapping[str, object] = field(default_factory=dict, hash=False)
    declared_at: Place = field(kw_only=True, compare=False)

    def digest(self) -> str:
        """The sha256, in hex, of what decides which files the asset resolves to.

        Name, ``local_dir``, groups, loading and what is told about it do not count, nor does the order of patterns,
        files or requirements.
        """
        requires = sorted(set(self.requires))
        document = {"kind": self.kind, "source": _canonical(self.source), "requires": requires}
        canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def _canonical(source: Source) -> dict[str, object]:
    if isinstance(source, UrlListSource):
        listed = _canonical(FilesSource((source.file,)))
        return {"url_list": {**listed, "place": source.place, "recipe": dict(source.recipe)}}
    if isinstance(source, ScriptSource):
        return {"script": source.script, "checkout": source.checkout}
    if isinstance(source, HubSource):
        return {
            "hub": source.repo,
            "endpoint": source.endpoint,
            "revision": source.revision,
            "allow_patterns": source.allow_patterns and sorted(set(source.allow_patterns)),
            "ignore_patterns": source.ignore_patterns and sorted(set(source.ignore_patterns)),
        }
    return {
        "files": [
            {
                "urls": file.written or file.urls,
                "path": file.path,
                "place": file.place,
                "size": file.size,
                "sha256": file.sha256,
                "md5": file.md5,
                "crc32c": file.crc32c,
                **({"sha256_prefix": file.sha256_prefix} if file.sha256_prefix else {}),
                **({"ask": file.ask} if file.ask else {}),
                **({"extract": asdict(file.extract)} if file.extract else {}),
            }
            for file in sorted(source.files, key=lambda file: (file.place, file.path))
        ]
    }


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one file declares, in its order. ``cache_root`` is absolute, and so are folders among ``mirrors``.

    ``requires`` are the names that it wants without declaring them; ``required_at`` says where each stands.
    """

    path: Path
    assets: tuple[Asset, ...]
    cache_root: str | None = None
    mirrors: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    required_at: Mapping[str, Place] = field(default_factory=dict, compare=False, hash=False)

    @property
    def wanted(self) -> tuple[str, ...]:
        """The names of what it declares and of what it requires, each once."""
        return tuple(dict.fromkeys([*(asset.name for asset in self.assets), *self.requires]))


def _without_waiting(path: str, flags: int) -> int:
    """Open a named pipe too, as ``<(...)`` is one: where nobody writes into it, it is empty."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if os.name != "nt":
        os.set_blocking(descriptor, True)
    return descriptor


def load_manifest(path: Path, *, limits: ManifestLimits = _LIMITS) -> Manifest:
    """Read a manifest from a file.

    Raises
    ------
    ManifestError
        With every mistake in the file; also when there is no such file, or it cannot be read.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            data = file.read(limits.file_bytes + 1)
    except FileNotFoundError:
        raise ManifestError([Problem(str(path), 1, 1, "there is no such file")]) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ManifestError([Problem(str(path), 1, 1, f"it cannot be read: {error}")]) from error
    return parse_manifest(data, path, limits=limits)


def parse_manifest(text: bytes | str, path: Path, *, limits: ManifestLimits = _LIMITS) -> Manifest:
    """Read a manifest from its text; ``path`` names it in complaints, and relative paths begin at its folder.

    Raises
    ------
    ManifestError
        With every mistake in the text.
    """
    problems = Problems(str(path), limits.problems)
    root = compose(decode(text, problems, limits), problems, limits)
    if root is None:
        problems.fail(1, 1, "it is empty; a manifest begins with 'version: 1'")
    _check_version(root, problems)
    value = Reader(problems).read(MANIFEST, root, "the manifest")
    manifest = _Builder(path, problems).manifest(value) if value else None
    problems.raise_any()
    assert manifest is not None
    return manifest


def _check_version(root: Node, problems: Problems) -> None:
    """Refuse another version before anything else is judged: what looks like a mistake may be right there."""
    for key, value in root.pairs if isinstance(root, MappingNode) else ():
        named = isinstance(key, Scalar) and key.text == "version"
        if named and isinstance(value, Scalar) and value.kind == "int":
            version = integer(value)
            if version is not None and version != VERSION:
                what = f"unsupported version {value.text[:20]}: this assetmgr reads version {VERSION}"
                raise ManifestError([Problem(problems.file, value.line, value.column, what)])


class _Builder:
    """Makes assets of values, and checks what no single field can."""

    def __init__(self, path: Path, problems: Problems) -> None:
        self._path = path
        self._folder = os.path.dirname(os.path.abspath(path))
        self._problems = problems

    def manifest(self, value: Value) -> Manifest:
        assets = []
        first: dict[str, Value] = {}
        for section, part in value.entries():
            for name, entry in part.entries() if section in SECTIONS else ():
                asset = self._asset(name, cast(Kind, SECTIONS[section]), entry)
                if asset is not None:
                    assets.append(asset)
                if name in first:
                    line = first[name].at.line
                    what = f"{shown(name)} is a model and also a dataset; the other is on line {line}"
                    self._problems.add(entry.at, what)
                first.setdefault(name, entry)
        mirrors = tuple(resolve_mirror(text, self._folder) for text in _texts(value, "mirrors") or ())
        requires = value.get("requires")
        required_at: dict[str, Place] = {}
        for item in requires.items() if requires else ():
            required_at.setdefault(str(item.data), self._place(item.node))
        cache_root = self._resolved(value.text("cache_root"))
        return Manifest(self._path, tuple(assets), cache_root, mirrors, tuple(required_at), required_at)

    def _place(self, node: Node) -> Place:
        return Place(self._problems.file, node.line, node.column)

    def _resolved(self, folder: str | None) -> str | None:
        return None if folder is None else resolve_folder(folder, self._folder)

    def _asset(self, name: str, kind: Kind, entry: Value) -> Asset | None:
        requires = entry.get("requires")
        for item in requires.items() if requires else ():
            if item.data == name:
                self._problems.add(item.node, f"{shown(name)} requires itself")
        source = self._source(entry)
        if source is None:
            return None
        return Asset(
            name,
            kind,
            source,
            requires=tuple(dict.fromkeys(_texts(entry, "requires") or ())),
            groups=tuple(dict.fromkeys(_texts(entry, "groups") or ())),
            local_dir=self._resolved(entry.text("local_dir")),
            local_dir_links=cast(LinkStyle, entry.text("local_dir_links") or "symlink"),
            twins=tuple(dict.fromkeys(_texts(entry, "twins") or ())),
            license=entry.text("license"),
            description=entry.text("description"),
            use={key: value.plain() for key in _USE if (value := entry.get(key)) is not None},
            declared_at=self._place(entry.at),
        )

    def _source(self, entry: Value) -> Source | None:
        if entry.get("hub"):
            return self._hub(entry)
        if entry.get("url_list"):
            return self._url_list(entry)
        if entry.get("script"):
            return self._script(entry)
        return self._files(entry)

    def _url_list(self, entry: Value) -> UrlListSource | None:
        value = entry.get("url_list")
        listed = value.get("list") if value else None
        if value is None or listed is None:
            return None
        if isinstance(listed.data, str):
            # A path or URL alone is short for its record.
            listed = Value({"url": Value([listed], listed.node, listed.at)}, listed.node, listed.at)
        file = self._file(listed)
        if file is None:
            return None
        kind = value.text("format") or list_format(file.path)
        if kind is None:
            self._problems.add(listed.at, f"what {shown(file.path)} is, its name does not say; give its 'format'")
            return None
        texts = ("rows", "url_col", "caption_col", "image_col", "resize_mode")
        recipe: dict[str, object] = {key: text for key in texts if (text := value.text(key)) is not None}
        recipe |= {key: number for key in ("image_size", "shard_size") if (number := value.number(key)) is not None}
        if (columns := _texts(value, "columns")) is not None:
            recipe["columns"] = list(columns)
        if (share := value.share("min_success")) is not None:
            recipe["min_success"] = share
        tuned = ("distributor", "processes", "threads", "timeout", "retries")
        tuning = {key: item.data for key in tuned if (item := value.get(key)) is not None}
        return UrlListSource(file, value.text("place") or "files/shards", {"format": kind, **recipe}, tuning)

    def _script(self, entry: Value) -> ScriptSource | None:
        script, checkout = entry.text("script"), entry.text("checkout")
        if script is None or checkout is None:
            return None
        if "/" not in script:
            script = f"{LAVIS_SCRIPTS}/{script.removesuffix('.py')}.py"
        return ScriptSource(script, checkout, resolve_folder(checkout, self._folder))

    def _hub(self, entry: Value) -> HubSource | None:
        hub = entry.get("hub")
        assert hub is not None
        repo = hub.data if isinstance(hub.data, str) else hub.text("repo")
        if repo is None:
            return None
        endpoint = hub.text("endpoint")
        return HubSource(
            repo,
            endpoint.rstrip("/") if endpoint else None,
            entry.text("revision") or "main",
            _texts(entry, "allow_patterns"),
            _texts(entry, "ignore_patterns"),
            cast(Transport, entry.text("transport") or "auto"),
        )

    def _files(self, entry: Value) -> FilesSource | None:
        files = entry.get("files")
        if files is None:
            return None
        sources = []
        taken: dict[str, Value] = {}
        for item in files.items():
            file = self._file(item)
            if file is not None:
                sources.append(file)
                target = names.fold(f"{file.place}/{file.path}")
                if target in taken:
                    self._collide(item, f"the same file {shown(target)} as", taken[target])
                taken.setdefault(target, item)
        for target, item in taken.items():
            parents = target.split("/")
            for depth in range(1, len(parents)):
                folder = "/".join(parents[:depth])
                if folder in taken:
                    self._collide(item, f"inside {shown(folder)}, which is", taken[folder])
        return FilesSource(tuple(sources))

    def _collide(self, item: Value, how: str, other: Value) -> None:
        line = other.node.line
        self._problems.add(item.node, f"it would be {how} the entry on line {line}; give it another 'path'")

    def _file(self, item: Value) -> FileSource | None:
        url, ask = item.get("url"), item.text("ask")
        listed = url.items() if url else []
        if not listed and (item.has("url") or ask is None):
            return None
        written = tuple(str(value.data) for value in listed)
        urls = tuple(resolve_url(text, self._folder) for text in written)
        path = item.text("path")
        if path is None and url is None:
            if not item.has("path"):
                self._problems.add(item.at, "a file without a 'url' needs a 'path': what it is to be called")
            return None
        if path is None:
            assert url is not None
            path = file_name(urls[0])
            fault = names.path_fault(path)
            if fault and not item.has("path"):
                what = f"url {shown(written[0])} ends in no usable file name ({fault}); give it a 'path'"
                self._problems.add(url.node, what)
        prefix, sha256 = item.get("sha256_prefix"), item.text("sha256")
        if prefix is not None and sha256 is not None and not sha256.startswith(str(prefix.data)):
            self._problems.add(prefix.node, f"'sha256' does not begin with {shown(str(prefix.data))}")
        return FileSource(
            urls,
            path,
            item.text("place") or "files",
            item.number("size"),
            item.text("sha256"),
            item.text("md5"),
            item.text("crc32c"),
            item.text("sha256_prefix"),
            written,
            " ".join(ask.split()) if ask else None,
            self._extraction(item),
        )

    def _extraction(self, item: Value) -> Extraction | None:
        place = item.text("extract")
        if place is None:
            for key in ("strip", "prefix", "keep_archive"):
                value = item.get(key)
                if value is not None and item.flag("extract") is False:
                    self._problems.add(value.at, f"{key!r} says how to extract, and 'extract' is false")
            return None
        keep = item.flag("keep_archive")
        return Extraction(place, item.number("strip") or 0, item.text("prefix"), keep is not False)


def list_format(name: str) -> str | None:
    """What a list is by its name, or None."""
    ending = name.lower().removesuffix(".gz").rpartition(".")[2]
    return ending if ending in LIST_FORMATS else None


def _texts(entry: Value, key: str) -> tuple[str, ...] | None:
    value = entry.get(key)
    return None if value is None else tuple(str(item.data) for item in value.items())
