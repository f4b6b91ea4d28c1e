"""An http or https address as a mirror: any server of plain files, and assetmgr's own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from urllib.parse import quote

from assetmgr.carried import Carriage, Told
from assetmgr.errors import AccessError, OriginError, UsageError
from assetmgr.lock import LockedFile
from assetmgr.mirrors import Read, blob_path, telling
from assetmgr.transfer.source import Source
from assetmgr.transfer.urls import Address, address

TOKENS = "ASSETMGR_MIRROR_TOKENS"


class HttpMirror:
    is_local = False

    def __init__(self, base: str) -> None:
        self.name = base
        self._token = mirror_tokens(os.environ.get(TOKENS, "")).get(address(base))

    def sources(self, file: LockedFile) -> Sequence[Source]:
        return [self._source(blob_path(file.sha256 or ""))]

    def carriage(self, name: str, read: Read) -> Carriage | None:
        return telling.carriage(self._source, name, read)

    def listed(self, read: Read) -> Sequence[Told] | None:
        return telling.listed(self._source, read)

    def _source(self, path: str) -> Source:
        url = f"{self.name}/{quote(path, safe='/+')}"
        return Source(url, self._token, logins=False, refusal=lambda status, _: self._refused(url, status))

    def _refused(self, url: str, status: int) -> Exception:
        if status == 401:
            what = "does not take the token that is given for it" if self._token else "asks for a token"
            return AccessError(
                f"{url}: HTTP 401: it {what}",
                mend=f"export {TOKENS}='{self.name} TOKEN', with what its keeper tells you",
            )
        if status in (403, 407):
            return AccessError(f"{url}: HTTP {status}", mend="see who may read there")
        error = OriginError(f"{url}: HTTP {status}", mend="see what is served there")
        error.is_absent = status in (404, 410)
        return error


def mirror_tokens(text: str) -> dict[Address, str]:
    """The tokens of a text, each for the one address before it: ``http://lab-server:8470 TOKEN https://other TOKEN``.

    Raises
    ------
    UsageError
        When it is no such text. No token is shown.
    """
    words = text.split()
    mend = f"{TOKENS}='http://lab-server:8470 TOKEN', an address and its token, and so on"
    if len(words) % 2 or not all(token.isascii() and token.isprintable() for token in words[1::2]):
        raise UsageError(f"{TOKENS} does not have a token for each address", mend=mend)
    try:
        return {address(url): token for url, token in zip(words[::2], words[1::2], strict=True)}
    except OriginError:
        raise UsageError(f"{TOKENS} names something that is no http or https address", mend=mend) from None
