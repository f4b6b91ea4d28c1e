"""Which mirrors a command asks: those of the command line, then the environment's, then the manifests'."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from assetmgr.manifest_urls import resolve_mirror
from assetmgr.mirrors import check_mirror

VARIABLE = "ASSETMGR_MIRRORS"
# A colon, which separates folders in PATH, is part of every URL: blanks separate, and quotes keep a folder's own.
_WORD = re.compile(r'"([^"]*)"|\'([^\']*)\'|(\S+)')


def chosen_mirrors(asked: Iterable[str], declared: Iterable[str]) -> list[str]:
    """The mirrors in the order in which they are asked, each once.

    Parameters
    ----------
    asked
        As the command line has them; relative folders begin at the working folder, as those of ``ASSETMGR_MIRRORS`` do.
    declared
        Those of the manifests, resolved.

    Raises
    ------
    UsageError
        For what names no mirror.
    """
    listed = ("".join(match.groups("")) for match in _WORD.finditer(os.environ.get(VARIABLE, "")))
    return list(dict.fromkeys([*named_mirrors(asked), *named_mirrors(listed), *declared]))


def named_mirrors(texts: Iterable[str]) -> list[str]:
    """The mirrors that texts name, each once; relative folders begin at the working folder.

    Raises
    ------
    UsageError
        For what names no mirror.
    """
    found = []
    for text in texts:
        check_mirror(text)
        found.append(resolve_mirror(text, os.getcwd()))
    return list(dict.fromkeys(found))
