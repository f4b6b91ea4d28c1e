"""The `direct` transport of a hub: each file by one GET of its ``resolve`` URL, over the transfer engine.

The lock has every size and digest: no HEAD is needed, nor is any etag believed. It goes on inside a file, keeps to the
run's rate, and ends on Ctrl-C. What it cannot do is Xet.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Generator, Sequence
from urllib.parse import quote

from assetmgr.digests import in_parallel
from assetmgr.errors import AccessError, AssetError, about
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.origins import Arrival, Context
from assetmgr.origins.fetching import Fetcher
from assetmgr.origins.hub_errors import as_error, default_endpoint, is_set, refused
from assetmgr.transfer.evidence import Headers
from assetmgr.transfer.looking import header_of
from assetmgr.transfer.source import Source

# Below this size, Xet's own requests cost more than it can save.
_XET_FROM = 8 << 20


class Direct:
    """The transport, for one hub and one run."""

    def __init__(self, context: Context, endpoint: str, fetcher: Fetcher) -> None:
        self._context = context
        self._endpoint = endpoint
        self._fetcher = fetcher

    def token(self, name: str) -> str | None:
        """The user's token for this hub, wanted for an asset."""
        try:
            return user_token(self._endpoint)
        except AccessError as error:
            raise about(error, name) from None

    def url(self, entry: LockedAsset, file: LockedFile) -> str:
        kind = "datasets/" if entry.kind == "dataset" else ""
        return f"{self._endpoint}/{kind}{entry.repo}/resolve/{entry.commit}/{quote(file.path)}"

    def bring(self, entry: LockedAsset, files: Sequence[LockedFile]) -> Generator[Arrival, None, None]:
        """See `Origin.bring`."""
        token = self.token(entry.name)

        def refusal(status: int, headers: Headers) -> AssetError:
            answer = refused(status, headers, is_api=False).answer
            error = as_error(self._endpoint, entry.name, entry.kind, entry.repo, {"commit": entry.commit}, answer)
            # The engine says which asset and file it befell.
            return type(error)(error.message.removeprefix(f"{entry.name}: "), mend=error.mend)

        def sources(file: LockedFile) -> Sequence[Source]:
            return (Source(self.url(entry, file), token, refusal=refusal),)

        return self._fetcher.bring(entry, files, sources)

    # --- Xet -----------------------------------------------------------------------------------------------------

    def over_xet(self, entry: LockedAsset, files: Sequence[LockedFile]) -> set[str]:
        """The paths of the large files that the hub offers over Xet: one HEAD each tells."""
        token = self.token(entry.name)
        looks = in_parallel(lambda file: self._is_xet(entry, file, token), self.large(files))
        return {file.path for file, is_offered in looks if is_offered}

    def large(self, files: Sequence[LockedFile]) -> list[LockedFile]:
        """The files that are worth asking whether the hub offers them over Xet."""
        return [file for file in files if file.git_sha1 is None and file.size >= _XET_FROM]

    def _is_xet(self, entry: LockedAsset, file: LockedFile, token: str | None) -> bool:
        # A renamed repo is redirected on the hub itself; only its storage, which knows nothing of Xet, is elsewhere.
        source = Source(self.url(entry, file), token)
        return header_of(source, "X-Xet-Hash", self._context.limits) is not None


def xet_is_there() -> bool:
    """Whether `snapshot_download` could use Xet here."""
    return not is_set("HF_HUB_DISABLE_XET") and importlib.util.find_spec("hf_xet") is not None


def user_token(endpoint: str) -> str | None:
    """The user's token for the hub that it is for, and for no other: where huggingface_hub's documents say it is.

    ``HF_TOKEN``, else the file that ``hf auth login`` writes: ``HF_TOKEN_PATH``, or ``token`` in ``HF_HOME``.
    ``HF_HUB_DISABLE_IMPLICIT_TOKEN`` keeps it from being sent at all.

    Raises
    ------
    AccessError
        When it has characters that no header can carry, as what was pasted from a page may have.
    """
    if endpoint != default_endpoint() or is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        return None
    environ = os.environ
    for place in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if token := environ.get(place):
            break
    else:
        cache = environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
        home = environ.get("HF_HOME") or os.path.join(cache, "huggingface")
        path = environ.get("HF_TOKEN_PATH") or os.path.join(home, "token")
        place = os.path.expanduser(os.path.expandvars(path))
        try:
            with open(place, encoding="utf-8", errors="replace") as file:
                token = file.read(10_000)
        except OSError:
            return None
    token = "".join(token.split())
    if not (token.isascii() and token.isprintable()):
        raise AccessError(
            f"the token in {place} has characters that no token has",
            mend=f"put it into {place} anew, copied whole and with nothing else, or take it out",
        )
    return token or None
