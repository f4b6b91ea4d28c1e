"""What may stand where the cursor is: for shells, by argcomplete. It is asked while a person waits."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from assetmgr.errors import AssetError

if TYPE_CHECKING:
    from assetmgr.cli.parser import CommandLine
    from assetmgr.workspace import Workspace

SHELLS = ("bash", "zsh", "fish")


def is_asked() -> bool:
    """Whether it is a shell that runs this process, to complete a line."""
    return "_ARGCOMPLETE" in os.environ


def complete(parser: CommandLine) -> None:
    """Answer the shell, and end the process."""
    import argcomplete

    for one in (parser, *parser.commands.values()):
        for action in one._actions:
            # `list PATTERN` is of names; the patterns of options are of files in a repo, which nobody knows yet.
            called = "NAME" if action.metavar == "PATTERN" and not action.option_strings else str(action.metavar)
            completer = _COMPLETERS.get(called)
            if completer is not None:
                action.completer = completer  # type: ignore[attr-defined] # argcomplete's own way
            elif action.nargs != 0 and not action.choices:
                action.completer = _nothing  # type: ignore[attr-defined] # argcomplete's own would hide the option too
    argcomplete.autocomplete(
        parser, always_complete_options=False, validator=lambda word, start: word.startswith(start)
    )


def script(shell: str) -> str:
    """What a shell has to read once to complete our lines."""
    import argcomplete

    text: str = argcomplete.shellcode(["assetmgr"], use_defaults=False, shell=shell)
    return text


def _workspace(parsed: argparse.Namespace) -> Workspace | None:
    """The workspace of the line so far; None where its manifest is not fit to be read."""
    from assetmgr.workspace import Workspace

    said = vars(parsed)
    manifests = [*(said.get("manifest") or ()), *(said.get("manifest_after") or ())]
    try:
        return Workspace(manifests or None, said.get("root"))
    except (AssetError, OSError):
        return None


def _names(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> Iterable[str]:
    """Assets: of the manifests, of the shipped ones, and what is installed."""
    workspace = _workspace(parsed_args)
    if workspace is None:
        return []
    taken = {name for value in vars(parsed_args).values() if isinstance(value, list) for name in value}
    try:
        names = dict.fromkeys([*workspace.catalog.user_names, *workspace.store.installed_names()])
        if not any(name.startswith(prefix) and name not in taken for name in names) or not workspace.manifests:
            names |= dict.fromkeys(workspace.catalog.names())
    except (AssetError, OSError):
        return []
    return [name for name in names if name not in taken]


def _elsewhere(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> Iterable[str]:
    """Assets that the manifests do not have, and that `add` takes by their name."""
    workspace = _workspace(parsed_args)
    try:
        return sorted({*workspace.catalog.names()} - {*workspace.catalog.user_names}) if workspace else []
    except (AssetError, OSError):
        return []


def _groups(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> Iterable[str]:
    workspace = _workspace(parsed_args)
    try:
        return sorted({group for asset in workspace.catalog for group in asset.groups}) if workspace else []
    except (AssetError, OSError):
        return []


def _nothing(**_: Any) -> Iterable[str]:
    """What follows is nothing that can be known."""
    return []


def _paths(keep: Callable[[os.DirEntry[str]], bool]) -> Callable[..., Iterable[str]]:
    def completer(prefix: str, **_: Any) -> Iterable[str]:
        folder, slash, start = prefix.rpartition("/")
        try:
            found = list(os.scandir(os.path.expanduser(folder + slash) or "."))
        except OSError:
            return []
        return [
            f"{folder}{slash}{entry.name}{'/' * entry.is_dir()}"
            for entry in sorted(found, key=lambda entry: entry.name)
            if entry.name.startswith(start) and (start or not entry.name.startswith(".")) and keep(entry)
        ]

    return completer


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir()


_FOLDERS, _FILES = _paths(_is_folder), _paths(lambda entry: True)


def _manifests(prefix: str, **more: Any) -> Iterator[str]:
    for path in _FILES(prefix, **more):
        if path.endswith(("/", ".yaml", ".yml")):
            yield path


def _words(prefix: str, parsed_args: argparse.Namespace, **more: Any) -> Iterable[str]:
    """Assets and bundles."""
    named = () if getattr(parsed_args, "action", "create") != "create" else _names(prefix, parsed_args, **more)
    return [*named, *([] if named else _FILES(prefix))]


def _topics(**_: Any) -> Iterable[str]:
    from assetmgr.cli.topics import TOPICS

    return list(TOPICS)


# By what an argument is called in the usage. What is not here is nothing that can be known.
_COMPLETERS: dict[str, Callable[..., Iterable[str]]] = {
    "NAME": _names,
    "REFERENCE": _elsewhere,
    "GROUP": _groups,
    "DIR": _FOLDERS,
    "FOLDER": _FOLDERS,
    "OLD": _FILES,
    "NEW": _FILES,
    "PATH": _FILES,
    "-- COMMAND": _FILES,
    "FILE": _manifests,
    "MIRROR": _FOLDERS,
    "PICTURE": _FILES,
    "TARGET": _FOLDERS,
    "TOPIC": _topics,
    "WORD": _words,
    "KEY": _FILES,
    "KEYS": _FILES,
}
