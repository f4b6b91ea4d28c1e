"""The topics of `assetmgr help`. What the code knows is said by the code: keys, options, exit codes, variables."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from assetmgr.manifest_schema import MANIFEST, Choice, Either, ListOf, MapOf, Record, Spec

if TYPE_CHECKING:
    from assetmgr.cli.parser import CommandLine

_WIDTH = 100


class Topic(NamedTuple):
    """What it is about, in a line, and its text."""

    about: str
    text: Callable[[CommandLine], str]


def overview(parser: CommandLine) -> str:
    """Which topics there are."""
    lines = ["topics:", *(f"  {name:<14}{topic.about}" for name, topic in TOPICS.items()), ""]
    lines += ["commands, each with its options and examples:", _filled(", ".join(parser.commands)), ""]
    return "\n".join([*lines, "assetmgr help TOPIC explains one of them, without a network."])


def _filled(text: str, indent: str = "  ", first: str | None = None) -> str:
    return textwrap.fill(
        " ".join(text.split()),
        _WIDTH,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


# --- what the code knows --------------------------------------------------------------------------------------------


def _manifest(_: CommandLine) -> str:
    text = """
    A manifest is YAML: which models and datasets a machine needs. It is found by --manifest, by ASSETMGR_MANIFEST, or
    as the nearest assets.yaml from the working folder upward. Every mistake in it is told at once, with file, line and
    column.
    """
    example = """
      version: 1
      models:
        minilm:
          hub: sentence-transformers/all-MiniLM-L6-v2
          allow_patterns: ["*.json", "*.txt", "model.safetensors"]
    """
    keys = "\n".join(_keys(MANIFEST, "", set()))
    return f"{_filled(text, '')}\n\n{textwrap.indent(textwrap.dedent(example).strip(), '  ')}\n\n{keys}"


def _keys(record: Record, indent: str, told: set[int]) -> Iterator[str]:
    """Every key of a record, and below it those of what it holds; what a dataset has as a model has it, once."""
    again = [name for name, field in record.fields.items() if id(field) in told]
    for name, field in record.fields.items():
        if name in again:
            continue
        told.add(id(field))
        options = field.spec.options if isinstance(field.spec, Either) else (field.spec,)
        choices = ", ".join(value for option in options if isinstance(option, Choice) for value in option.values)
        words = [field.doc, f"One of {choices}." if choices else "", "Needed." if field.required else ""]
        if name in record.one_of:
            words.append(f"Either {' or '.join(record.one_of)} is needed.")
        yield _filled(" ".join(words), indent + " " * 20, f"{f'{indent}{name}:':<{len(indent) + 19}} ")
        inner = _record_in(field.spec)
        if inner is not None:
            yield from _keys(inner, indent + "  ", told)
    if again:
        yield _filled(f"and as above: {', '.join(again)}", indent + "  ", indent)


def _record_in(spec: Spec) -> Record | None:
    match spec:
        case Record():
            return spec
        case ListOf():
            return _record_in(spec.item)
        case MapOf():
            return _record_in(spec.value)
        case Either():
            return next(filter(None, map(_record_in, spec.options)), None)
        case _:
            return None


def exit_codes() -> Mapping[int, list[tuple[str, str]]]:
    """Each exit code with the errors that end in it, from the tree that `assetmgr.errors` draws."""
    from assetmgr import errors

    found: dict[int, list[tuple[str, str]]] = {}
    for name, code, words in re.findall(r"(\w+) +(\d)(?: +(\S.*))?\n", errors.__doc__ or ""):
        found.setdefault(int(code), []).append((name, words))
    return dict(sorted(found.items()))


def _exit_codes(_: CommandLine) -> str:
    lines = ["  0  done"]
    for code, errors in exit_codes().items():
        for number, (name, words) in enumerate(errors):
            lines.append(f"{'' if number else code:>3}  {name:<24}{words}".rstrip())
    lines += ["130  interrupted: what has arrived is kept", "141  who read the output has gone", ""]
    from assetmgr.errors import GRAVITY

    order = ", ".join(map(str, GRAVITY))
    text = f"""When several assets fail, every one is reported, the rest is done, and the code is the first of {order}
    among theirs. In Python each is an exception of that name in assetmgr.errors; error.mend is what to type or
    to change."""
    return "\n".join(lines) + "\n" + _filled(text, "")


def _environment(_: CommandLine) -> str:
    from assetmgr.cli.variables import table

    return table()


def _commands(parser: CommandLine) -> str:
    usages = [_filled(one.format_usage().removeprefix("usage: "), " " * 8, "") for one in parser.commands.values()]
    return f"{parser.format_help().rstrip()}\n\n" + "\n".join(usages)


# --- what is written down -------------------------------------------------------------------------------------------


def _written(text: str) -> Callable[[CommandLine], str]:
    return lambda _: textwrap.dedent(text).strip()


_LOCK = """
    assets.lock.json stands beside assets.yaml and is committed with it. For every file of every asset, and of all that
    the assets require, it names a path, a size and a sha256: whatever happens upstream, the same bytes come.

      assetmgr lock                  pin what is not pinned yet; a pin that the manifest still allows is kept
      assetmgr lock --upgrade NAME   move one asset to the newest commit of its revision
      assetmgr lock --check          in CI: fail when the manifest was edited and the lock was not

    pull never writes a lock. A lock is stale for an asset when a key of it that decides which bytes it is has changed;
    `load:`, comments and groups do not. A file for which the origin publishes no sha256 is fetched once and hashed when
    it is locked, and kept for the pull that follows. Names given without any manifest have their lock in the store.
"""

_STORE = """
    The store is one folder: --root, else ASSETMGR_ROOT, else the manifest's cache_root, else `assetmgr` in the user's
    cache folder. In it stand, in the layouts that their own libraries read:

      hub/           a Hugging Face cache; HF_HUB_CACHE finds it
      torch/         TORCH_HOME
      lavis/         a LAVIS cache root
      clip/          OpenAI CLIP's folder
      files/NAME/    files from plain URLs
      prepared/      what is derived from the others, and can always be made again
      .assetmgr/     receipts, listings, what was put there and what is pinned, and what is under way

    A file appears at its name only whole and proved, and is read-only. Equal files are stored once where they can be
    linked; so is what the caches of huggingface_hub, torch, CLIP and LAVIS hold already (--no-local-caches does not
    look there). A receipt says, for each asset, what was placed and when it was proved; a store that is copied with its
    receipts works where it is copied to, and proves itself once there. A store that several users share is a folder of
    their group with the setgid bit: install -d -g GROUP -m 2775 DIR.

      assetmgr rm NAME               take an asset out of it
      assetmgr gc                    remove what no receipt names any more
      assetmgr gc --max-size 200G    and what was used longest ago; assetmgr pin NAME keeps one
      assetmgr root move DIR         move all of it
"""

_MIRRORS = """
    A mirror gives bytes by their sha256: whoever it is, it can waste time and not corrupt. Mirrors are asked first, in
    the order of --mirror, ASSETMGR_MIRRORS and the manifest's `mirrors:`; then the origin. None is sent a login.

      /mnt/lab/mirror, ./mirror      a folder; a bundle, also as a tar
      http://lab-server:8470         a server with such a folder, or an assetmgr server
      s3://bucket/prefix             a bucket: pip install 'assetmgr[bucket]'

      assetmgr mirror push DIR       fill a folder with what is installed
      assetmgr pull --mirror DIR     take from it
      assetmgr bundle create -o DIR  the same for machines without network: with what is to be known of the assets
      assetmgr bundle load DIR       take all of it there; see assetmgr bundle --help
      assetmgr list --mirror DIR     what it has; a NAME of it can be pulled without manifest and lock, by its pins

    In each a file lies at blobs/sha256/<its sha256>. A mirror that lies, stalls or fails is left out of the run, with a
    word; one that lacks much is asked after the origin.
"""

_REFERENCES = """
    Without a manifest, an asset is named by where it is:

      hub:ORG/NAME                   a model of the hub; hub:ORG/NAME@REVISION a branch, tag or commit of it
      hub-dataset:ORG/NAME           a dataset of the hub
      https://host/path/file.bin     one file, with --sha256 where it is known

      assetmgr pull hub:ORG/NAME --include '*.json' --local-dir ./here

    It is locked in the store and proved as any other; what is said at the end is the line to add to assets.yaml.
"""

TOPICS: Mapping[str, Topic] = {
    "manifest": Topic("assets.yaml: every key", _manifest),
    "lock": Topic("assets.lock.json: which bytes, and when they change", _written(_LOCK)),
    "store": Topic("where the bytes are, and what keeps them right", _written(_STORE)),
    "mirrors": Topic("folders, servers and buckets that are asked before the origin", _written(_MIRRORS)),
    "references": Topic("naming an asset without a manifest: hub:ORG/NAME", _written(_REFERENCES)),
    "exit-codes": Topic("what a script learns from the exit code", _exit_codes),
    "environment": Topic("the environment variables that count", _environment),
    "commands": Topic("every command with its options", _commands),
}
