"""The catalog: all declarations in force, and look-up by name. Being in the catalog asks for nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from assetmgr.errors import AssetError, ManifestError, Problem, UnknownAssetError, raise_all
from assetmgr.lock import lock_path
from assetmgr.manifest import Asset, Manifest, load_manifest

MANIFEST_NAME = "assets.yaml"


class Catalog:
    """Assets by name: the shipped manifests, then the user's; later declarations win.

    Parameters
    ----------
    manifests
        The user's manifests, in order.
    shipped
        What comes with the package, in order. A path is read only when a name is not found without it.
    """

    def __init__(self, manifests: Sequence[Manifest], shipped: Sequence[Manifest | Path] = ()) -> None:
        self._user = {asset.name: asset for manifest in manifests for asset in manifest.assets}
        self._shipped: dict[str, Asset] = {}
        self._unread = list(shipped)
        self._looked_in = ", ".join(f"in {manifest.path}" for manifest in manifests)
        if shipped:
            self._looked_in += f"{', or ' if manifests else ''}among the assets that come with assetmgr"
        self._required = {name: place for manifest in manifests for name, place in manifest.required_at.items()}
        self.user_names: tuple[str, ...] = tuple({**self._user, **self._required})
        """What the user's manifests declare, and what they require by name."""

    def get(self, name: str, *, also: Iterable[str] = ()) -> Asset:
        """Look one asset up. ``also`` are names that may be meant, declared or not.

        Raises
        ------
        UnknownAssetError
            When no manifest declares it; names the nearest names and the manifests looked in.
        ManifestError
            When that is a name that a user's manifest requires: with the place.
        """
        asset = self.find(name)
        if asset is None and name in self._required:
            place = self._required[name]
            message = f"the manifest {_undeclared(name, self)}"
            raise ManifestError([Problem(place.file, place.line, place.column, message)])
        if asset is None:
            where = self._looked_in or "in any manifest: there is none"
            raise UnknownAssetError(
                f"no asset {name!r} {where}" + nearest_names(name, {*self.names(), *also}),
                mend=f"check the name, or declare it in {MANIFEST_NAME}",
            )
        return asset

    def names(self) -> tuple[str, ...]:
        """All names, in alphabetical order."""
        return tuple(sorted(self._all()))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.find(name) is not None

    def __iter__(self) -> Iterator[Asset]:
        everything = self._all()
        return (everything[name] for name in sorted(everything))

    def group(self, group: str) -> tuple[str, ...]:
        """The names of the assets in a group, in alphabetical order.

        Raises
        ------
        UnknownAssetError
            When no asset is in it.
        """
        members = tuple(asset.name for asset in self if group in asset.groups)
        if not members:
            known = {known for asset in self for known in asset.groups}
            raise UnknownAssetError(
                f"no asset is in the group {group!r}" + nearest_names(group, known),
                mend="name a group that an asset has under 'groups:'",
            )
        return members

    def closure(self, names: Iterable[str]) -> tuple[Asset, ...]:
        """The named assets and all that they require, each once, what is required before what requires it.

        Raises
        ------
        UnknownAssetError
            When a name that was asked for is not declared.
        ManifestError
            When a required name is not declared, or assets require each other in a circle: every such place.
        """
        wanted: list[Asset] = []
        unknown: list[AssetError] = []
        walk = _Walk(self)
        for name in dict.fromkeys(names):
            try:
                wanted.append(self.get(name))
            except UnknownAssetError as error:
                unknown.append(error)
            except ManifestError as error:
                walk.problems += error.problems
        raise_all(unknown)
        for asset in wanted:
            walk.visit(asset)
        if walk.problems:
            raise ManifestError(sorted(walk.problems))
        return tuple(walk.done.values())

    def find(self, name: str) -> Asset | None:
        """Look one asset up; None when no manifest declares it."""
        asset = self._user.get(name) or self._shipped.get(name)
        # Reading a manifest takes far longer than looking whether the name stands in it at all.
        if asset is None and any(_may_declare(entry, name) for entry in self._unread):
            while asset is None and self._unread:
                self._read_one()
                asset = self._shipped.get(name)
        return asset

    def ships(self, asset: Asset) -> bool:
        """Whether a declaration is one that comes with assetmgr."""
        return self._shipped.get(asset.name) is asset

    def _all(self) -> dict[str, Asset]:
        while self._unread:
            self._read_one()
        return {**self._shipped, **self._user}

    def _read_one(self) -> None:
        """Read the last shipped manifest that is unread, so that what is found first is what wins."""
        entry = self._unread[-1]
        manifest = entry if isinstance(entry, Manifest) else load_manifest(entry)
        self._unread.pop()
        for name, asset in {asset.name: asset for asset in manifest.assets}.items():
            self._shipped.setdefault(name, asset)


def _may_declare(entry: Manifest | Path, name: str) -> bool:
    """Whether a name may be one of a shipped manifest's, which writes each as it is, without a YAML escape."""
    if isinstance(entry, Manifest):
        return True
    try:
        return name.encode(errors="surrogatepass") in entry.read_bytes()
    except OSError:  # reading it says why
        return True


class _Walk:
    """A depth-first walk along `requires` that does not recurse: a chain may be as long as the catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.done: dict[str, Asset] = {}
        self.problems: list[Problem] = []

    def visit(self, start: Asset) -> None:
        if start.name in self.done:
            return
        path = {start.name: start}
        pending = [iter(start.requires)]
        while pending:
            name = next(pending[-1], None)
            if name is None:
                pending.pop()
                finished, asset = path.popitem()
                self.done[finished] = asset
            elif name in path:
                self._cycle(list(path.values()), name)
            elif name not in self.done:
                required = self._required(name, next(reversed(path.values())))
                if required is not None:
                    path[name] = required
                    pending.append(iter(required.requires))

    def _required(self, name: str, by: Asset) -> Asset | None:
        if name in self._catalog:
            return self._catalog.get(name)
        self._complain(by, f"{by.name!r} {_undeclared(name, self._catalog)}")
        return None

    def _cycle(self, path: list[Asset], name: str) -> None:
        start = next(index for index, asset in enumerate(path) if asset.name == name)
        steps = [f"{asset.name} ({asset.declared_at})" for asset in path[start:]]
        self._complain(path[start], f"assets require each other in a circle: {' -> '.join([*steps, name])}")

    def _complain(self, asset: Asset, message: str) -> None:
        place = asset.declared_at
        self.problems.append(Problem(place.file, place.line, place.column, message))


def _undeclared(name: str, catalog: Catalog) -> str:
    return f"requires {name!r}, which no manifest declares{nearest_names(name, catalog.names())}"


def nearest_names(name: str, known: Iterable[str]) -> str:
    """The end of a complaint about an unknown name: the nearest known ones, whatever their case; else nothing."""
    import difflib

    lowered = {candidate.lower(): candidate for candidate in sorted(known)}
    close = [lowered[found] for found in difflib.get_close_matches(name[:200].lower(), lowered, n=3)]
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def user_manifests(given: Sequence[str | os.PathLike[str]] | None = None, *, or_lock: bool = False) -> list[Path]:
    """The user's manifests: those given, else those of ``ASSETMGR_MANIFEST`` (separated as in PATH), else the nearest.

    There may be none. ``or_lock`` takes one whose lock alone is there for the nearest.
    """
    if given is not None:
        return [Path(path) for path in given]
    if listed := os.environ.get("ASSETMGR_MANIFEST"):
        return [Path(path) for path in listed.split(os.pathsep) if path]
    nearest = find_manifest(Path.cwd(), or_lock=or_lock)
    return [nearest] if nearest else []


def find_manifest(start: Path, *, or_lock: bool = False) -> Path | None:
    """The nearest ``assets.yaml`` in a folder or any folder above it; or its lock, where the manifest is gone."""
    start = start.absolute()
    candidates = (folder / MANIFEST_NAME for folder in (start, *start.parents))
    return next(
        (
            candidate
            for candidate in candidates
            if os.path.isfile(candidate) or (or_lock and os.path.isfile(lock_path(candidate)))
        ),
        None,
    )


def shipped_manifests() -> list[Path]:
    """The manifests that come with the package: installed inside it, or beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / "manifests"
    return sorted((inside if inside.is_dir() else package.parent / "manifests").glob("*.yaml"))
