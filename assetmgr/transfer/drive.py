"""Files that are shared on Google Drive, as ``gdrive:FILE_ID``. The only module that imports gdown.

Drive gives a small file at once. Before one that it will not scan for viruses comes a page with a form, which gdown
reads; and pages come too where too many have fetched a file today, or where it is not shared with everybody.
"""

from __future__ import annotations

import html
import re
from urllib.parse import urlsplit

from assetmgr.errors import AccessError, MissingExtraError, OriginError
from assetmgr.transfer.connection import Answer
from assetmgr.transfer.elsewhere import Ask
from assetmgr.transfer.evidence import says_html
from assetmgr.transfer.urls import clean, redirect_target

_START = "https://drive.google.com/uc?export=download&id="
_PAGE_BYTES = 1 << 20
_PAGES = 3
_QUOTA = re.compile(r"quota|too many users|too many (?:accesses|downloads)|viewed or downloaded this file", re.I)
_TAG = re.compile(r"<[^>]*>")


class DriveFile:
    """See `elsewhere.Elsewhere`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._id = url.partition(":")[2]
        self._found = ""

    def open(self, ask: Ask) -> Answer:
        found = self._found
        url = found or _START + self._id
        answer = ask(url)
        if found and answer.status not in (200, 206, 416):
            answer.close()
            url = _START + self._id
            answer = ask(url)
        for _ in range(_PAGES):
            if not _is_page(answer):
                self._found = url
                return answer
            url = redirect_target(answer.url, self._after(answer))
            answer = ask(url)
        answer.close()
        raise OriginError(
            f"{self._url}: Google Drive gives one page after another, and no file",
            mend=f"open {self._view} in a browser, or add another url",
        )

    @property
    def _view(self) -> str:
        return f"https://drive.google.com/file/d/{self._id}/view"

    def _after(self, answer: Answer) -> str:
        """Where a page's form or link leads."""
        host, text = urlsplit(answer.url).hostname or "", _read(answer)
        answer.close()
        if host == "accounts.google.com":
            raise self._not_shared("Google asks to sign in")
        try:
            from gdown.download import get_url_from_gdrive_confirmation
            from gdown.exceptions import FileURLRetrievalError
        except ImportError:
            raise MissingExtraError(
                f"{self._url}: Google Drive asks before it gives this file, and to answer needs the gdown library",
                mend="pip install 'assetmgr[gdrive]'",
            ) from None
        try:
            # In one line: it looks for a form and its fields in the same one.
            return str(get_url_from_gdrive_confirmation(" ".join(text.split())))
        except FileURLRetrievalError as error:
            said = " ".join(clean(html.unescape(_TAG.sub(" ", str(error).partition("</p>")[0]))).split())[:300]
            if _QUOTA.search(text):
                raise OriginError(
                    f"{self._url}: Google Drive gives it to nobody for now, its quota is used up: {said}",
                    mend=f"repeat the command tomorrow, copy the file to a Drive of your own ({self._view}), "
                    "or add another url",
                ) from None
            raise self._not_shared(said) from None
        except (AssertionError, KeyError, ValueError) as error:  # a form that it does not know
            raise OriginError(
                f"{self._url}: Google Drive gives a page that gdown cannot read ({type(error).__name__})",
                mend=f"pip install --upgrade gdown, or open {self._view} in a browser",
            ) from None

    def _not_shared(self, said: str) -> AccessError:
        return AccessError(
            f"{self._url}: Google Drive does not give it to everybody: {said}",
            mend=f"have it shared with anyone who has the link ({self._view}), "
            "or fetch it by hand and say so with `ask:` in the manifest",
        )


def _is_page(answer: Answer) -> bool:
    """Whether an answer is a page of Drive's own. A file that is a page comes as an attachment."""
    return answer.status == 200 and says_html(answer.headers) and not answer.headers.get("Content-Disposition", "")


def _read(answer: Answer) -> str:
    view, data = memoryview(bytearray(64 * 1024)), b""
    while len(data) < _PAGE_BYTES and (count := answer.receive(view)):
        data += view[:count]
    return data.decode("utf-8", errors="replace")
