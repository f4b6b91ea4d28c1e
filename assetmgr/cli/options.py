"""What several commands take on their line, and the workspace that it means."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from assetmgr.cli.output import Output
    from assetmgr.manifest import Manifest
    from assetmgr.workspace import Workspace


def open_workspace(
    options: argparse.Namespace, output: Output, manifests: Sequence[Path | Manifest] | None = None
) -> Workspace:
    """The workspace of the chosen manifests, or of those given, and of the chosen root."""
    from assetmgr.workspace import Workspace

    return Workspace(
        options.manifest if manifests is None else manifests,
        options.root,
        offline=getattr(options, "offline", False),
        jobs=getattr(options, "jobs", None),
        rate=getattr(options, "limit_rate", None),
        wait=getattr(options, "wait", 3600.0),
        reporter=output,
        mirrors=getattr(options, "mirror", ()),
        local_caches=getattr(options, "local_caches", True),
        frozen=getattr(options, "frozen", False),
    )


def named(options: argparse.Namespace, workspace: Workspace) -> list[str]:
    """The names on the line, and those of the groups."""
    return [*options.names, *(name for group in options.group for name in workspace.group(group))]


def add_common(parser: argparse.ArgumentParser, *, defaults: bool) -> None:
    """The options that every command takes, before or after its name."""

    def default(value: object) -> object:
        return value if defaults else argparse.SUPPRESS

    group = parser.add_argument_group("everywhere")
    group.add_argument(
        "--root",
        metavar="DIR",
        default=default(None),
        help="the store (else ASSETMGR_ROOT, the manifest's cache_root, the user's cache folder)",
    )
    group.add_argument(
        "--manifest",
        metavar="FILE",
        action="append",
        dest="manifest" if defaults else "manifest_after",
        default=default(None),
        help="a manifest; may be repeated (else ASSETMGR_MANIFEST, the nearest assets.yaml upward)",
    )
    group.add_argument("--json", action="store_true", default=default(False), help="print one JSON document")
    group.add_argument("-q", "--quiet", action="store_true", default=default(False), help="say only what fails")
    group.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        default=default(False),
        help="show each request, and the details of unexpected errors",
    )


def add_names(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        default=[],
        help="assets; none: all that the manifest declares, and what they require",
    )
    parser.add_argument("--group", metavar="GROUP", action="append", default=[], help="the assets of a group")


def add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--offline", action="store_true", help="never ask the network")
    add_jobs(parser)
    add_wait(parser)


def add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", metavar="N", type=_count, default=None, help="files that move at once (8)")


def add_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit-rate",
        metavar="RATE",
        type=rate,
        default=None,
        help="bytes a second for the whole run, such as 500K or 20M (else ASSETMGR_LIMIT_RATE, else no limit)",
    )
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=seconds,
        default=3600.0,
        help="how long to wait for what another process holds (3600)",
    )


def add_mirrors(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mirror",
        metavar="MIRROR",
        action="append",
        default=[],
        help="ask this folder, http(s) address or bucket before the origin; may be repeated "
        "(then those of ASSETMGR_MIRRORS, then the manifest's)",
    )
    add_local_caches(parser)


def add_local_caches(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-local-caches",
        dest="local_caches",
        action="store_false",
        help="do not look for files in other tools' caches on this machine (nor in ASSETMGR_LOCAL_CACHES)",
    )


def _count(text: str) -> int:
    if re.fullmatch("[0-9]{1,3}", text) and 1 <= int(text) <= 256:
        return int(text)
    raise argparse.ArgumentTypeError("a number from 1 to 256")


def amount(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,4}", text) and int(text):
        return int(text)
    raise argparse.ArgumentTypeError("a number from 1 to 9999")


def seconds(text: str) -> float:
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{0,9})?", text):
        return float(text)
    raise argparse.ArgumentTypeError("a number of seconds")


_DURATION = re.compile(r"(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m)?(?:(?P<s>\d+(?:\.\d+)?)s?)?", re.ASCII)


def duration(text: str) -> float:
    """Seconds of ``90s``, ``10m``, ``1h30m`` or ``90``."""
    match = _DURATION.fullmatch(text.strip().lower())
    seconds = sum(float(match[unit] or 0) * in_it for unit, in_it in (("h", 3600), ("m", 60), ("s", 1))) if match else 0
    if 0 < seconds <= 366 * 86400:
        return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90s, 10m or 1h30m")


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def byte_count(text: str) -> int:
    """Bytes of ``700M``, ``25G`` or ``25GiB``."""
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([kmgt]?i?)b?", text.strip().lower())
    if match and match[2] in _UNITS and (found := int(float(match[1]) * _UNITS[match[2]])):
        return found
    raise argparse.ArgumentTypeError(f"{text!r} is no size such as 700M, 25G or 25GiB")


def rate(text: str) -> float:
    from assetmgr.transfer.limits import parse_rate

    try:
        return parse_rate(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
