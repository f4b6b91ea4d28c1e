"""A file where it is published is read in parts: only what is asked for comes, and never of another file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from assetmgr.archives import open_archive
from assetmgr.errors import AccessError, OriginError
from assetmgr.transfer.engine import Engine
from assetmgr.transfer.remote import RemoteFile
from assetmgr.transfer.source import Source
from tests.archives.building import zip_of
from tests.hub import Fault, Hub
from tests.transfer.support import QUICK, body

MEMBERS = {f"{number}.bin": body(200_000, number) for number in range(10)}
DATA = zip_of(MEMBERS)


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.publish("/f.zip", DATA)
    return hub


@pytest.fixture
def remote(hub: Hub) -> Iterator[RemoteFile]:
    with hub.serve() as endpoint, Engine(QUICK) as engine:
        yield engine.in_parts(Source(f"{endpoint}/f.zip"), len(DATA))


def test_it_seeks_and_reads_as_a_file_does(remote: RemoteFile) -> None:
    assert remote.seek(0, 2) == len(DATA)
    assert remote.read(10) == b""
    assert remote.seek(-5, 2) == len(DATA) - 5
    assert remote.read(100) == DATA[-5:]
    assert remote.seek(1000) == 1000
    assert remote.read(7) == DATA[1000:1007]
    assert remote.seek(3, 1) == 1010
    assert remote.read(5) == DATA[1010:1015]
    remote.seek(len(DATA) - 3)
    assert remote.read() == DATA[-3:]


def test_one_member_of_a_zip_costs_little_more_than_its_bytes(hub: Hub, remote: RemoteFile) -> None:
    with open_archive(remote) as archive:
        (member,) = (member for member in archive.members if member.path == "7.bin")
        reader = member.open()
        assert b"".join(iter(lambda: reader.read(1 << 16), b"")) == MEMBERS["7.bin"]
    assert sum(record.sent for record in hub.requests) < len(MEMBERS["7.bin"]) + 70_000


@pytest.mark.parametrize(
    "fault",
    [
        Fault("/f.zip", times=2, status=503),
        Fault("/f.zip", times=2, drop=True),
        Fault("/f.zip", times=2, truncate_after=50),
        Fault("/f.zip", times=2, reset_after=50),
    ],
    ids=["busy", "dropped", "cut off", "reset"],
)
def test_what_may_pass_is_tried_again(hub: Hub, remote: RemoteFile, fault: Fault) -> None:
    hub.faults.add(fault)
    remote.seek(500)
    assert remote.read(1000) == DATA[500:1500]


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        (Fault("/f.zip", times=None, status=404), OriginError, "404"),
        (Fault("/f.zip", times=None, status=403), AccessError, "403"),
        (Fault("/f.zip", times=None, status=503), OriginError, "503"),
        (Fault("/f.zip", times=None, headers={"Content-Range": "bytes 0-9/10"}), OriginError, "in parts"),
        (Fault("/f.zip", times=None, headers={"Content-Range": None}), OriginError, "in parts"),
    ],
    ids=["gone", "forbidden", "busy for good", "another range", "no range said"],
)
def test_what_will_not_pass_is_told(
    hub: Hub, remote: RemoteFile, fault: Fault, error: type[Exception], says: str
) -> None:
    hub.faults.add(fault)
    with pytest.raises(error, match=says):
        remote.read(10)


def test_a_server_without_ranges_is_named_before_the_whole_comes(hub: Hub, remote: RemoteFile) -> None:
    hub.publish("/f.zip", DATA, ranges=False)
    remote.seek(100)
    with pytest.raises(OriginError, match="cannot be read in parts: HTTP 200"):
        remote.read(10)


@pytest.mark.parametrize("data", [DATA + b"x", DATA[:-1], bytes(len(DATA))], ids=["longer", "shorter", "another"])
def test_a_file_that_changes_meanwhile_is_not_mixed(hub: Hub, remote: RemoteFile, data: bytes) -> None:
    assert remote.read(10) == DATA[:10]
    hub.publish("/f.zip", data)
    remote.seek(100_000)
    with pytest.raises(OriginError, match="in parts"):
        remote.read(10)
