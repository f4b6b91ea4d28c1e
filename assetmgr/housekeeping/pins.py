"""Assets that stay: what is pinned is not removed, until it is unpinned. A document an asset."""

from __future__ import annotations

import os
from urllib.parse import quote, unquote

from assetmgr.owners import user_name
from assetmgr.placing import remove_file, write_document
from assetmgr.store import Store

_END = ".pin"


def _path(store: Store, name: str) -> str:
    return os.path.join(store.state, "pins", quote(name, safe="+") + _END)


def pinned(store: Store) -> frozenset[str]:
    """The names that are pinned, whether they are installed or not."""
    try:
        names = os.listdir(os.path.join(store.state, "pins"))
    except FileNotFoundError:
        return frozenset()
    return frozenset(unquote(name.removesuffix(_END)) for name in names if name.endswith(_END) and name[0] != ".")


def pin(store: Store, name: str) -> None:
    write_document(_path(store, name), f"{user_name()}\n".encode())


def unpin(store: Store, name: str) -> None:
    remove_file(_path(store, name))
