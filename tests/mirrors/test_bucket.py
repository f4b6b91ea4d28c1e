"""Buckets: a real S3 server on loopback by s3fs, and fsspec's memory at the boundary."""

from __future__ import annotations

import dataclasses
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assetmgr.errors import AssetError, OriginError, UnknownAssetError, UsageError
from assetmgr.mirrors import open_mirror
from assetmgr.mirrors.bucket import PIECE, BucketMirror
from assetmgr.mirrors.bucket_target import PART, BucketTarget
from assetmgr.mirrors.pushing import HeldFile
from assetmgr.reporting import Silent
from assetmgr.transfer.wire import StoppedError
from tests.hub import Fault, Hub
from tests.mirrors.support import QUICK, blob, bring, locked, sha256
from tests.mirrors.told import empty, machine
from tests.support import Project, clean_environment, eventually
from tests.transfer.support import body

SERVER = """
import sys
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%s" % server.get_host_and_port(), flush=True)
sys.stdin.read()
"""
CONTENTS = {f"{number:02}": body(500, number) for number in range(12)} | {
    "large": body(3 * PIECE + 17, 90),
    "piece": body(PIECE, 91),
    "empty": b"",
}


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    endpoint = server.stdout.readline().strip()
    assert endpoint, "the S3 server did not start"
    yield endpoint
    server.kill()
    server.communicate()


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """s3fs with an empty bucket named ``assets``; the environment is what a user of such a server has."""
    for name, value in aws(s3_endpoint).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    filesystem = s3fs.S3FileSystem()
    if filesystem.exists("assets"):
        filesystem.rm("assets", recursive=True)
    filesystem.mkdir("assets")
    yield filesystem
    s3fs.S3FileSystem.clear_instance_cache()


def aws(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@pytest.fixture
def origin() -> Iterator[Hub]:
    hub = Hub()
    with hub.serve():
        yield hub


def held(folder: Path, contents: dict[str, bytes]) -> list[HeldFile]:
    folder.mkdir(exist_ok=True)
    files = []
    for name, data in contents.items():
        (folder / name).write_bytes(data)
        files.append(HeldFile("m", name, str(folder / name), sha256(data), len(data)))
    return files


def push(url: str, files: list[HeldFile], **options: Any) -> Any:
    return BucketTarget(url, QUICK, Silent()).put(files, **options)


# --- a real S3 server ---------------------------------------------------------------------------------------------


def test_what_is_pushed_to_a_bucket_comes_from_it_and_nobody_asks_the_origin(
    s3: Any, origin: Hub, tmp_path: Path
) -> None:
    pushed = push("s3://assets/lab/v1", held(tmp_path / "held", CONTENTS))
    assert (pushed.files, pushed.present_files, pushed.errors) == (len(CONTENTS), 0, ())
    assert sorted(s3.find("assets")) == sorted(f"assets/lab/v1/{blob(data)}" for data in CONTENTS.values())
    brought = bring(tmp_path / "root", locked(CONTENTS, origin.endpoint), ["s3://assets/lab/v1"])
    assert brought.contents == CONTENTS
    assert origin.requests == []
    (report,) = brought.traffic.mirrors
    assert (report.state, report.files, report.bytes) == ("used", len(CONTENTS), sum(map(len, CONTENTS.values())))


def test_a_bucket_tells_of_what_was_pushed_to_it(s3: Any, tmp_path: Path) -> None:
    first = machine(tmp_path / "first")
    first.push("s3://assets/told", ["rows"])
    first.push("s3://assets/told", ["org/model"])
    there, said = empty(tmp_path / "there", "s3://assets/told")
    assert [row.name for row in there.on_mirrors(["s3://assets/told"])] == ["org/model", "rows", "words"]
    assert {done.name for done in there.pull(["org/model"])} == {"words", "org/model"}
    assert any("mirror s3://assets/told tells" in line for line in said)
    with pytest.raises(UnknownAssetError, match="did you mean 'rows'"):
        there.pull(["row"])


def test_a_second_push_sends_what_is_new_alone(s3: Any, tmp_path: Path) -> None:
    push("s3://assets", held(tmp_path / "held", CONTENTS))
    s3.pipe_file(f"assets/{blob(CONTENTS['03'])}", b"cut short")
    again = push("s3://assets", held(tmp_path / "held", CONTENTS | {"new": b"new"}))
    assert (again.files, again.present_files) == (2, len(CONTENTS) - 1)
    assert s3.cat_file(f"assets/{blob(CONTENTS['03'])}") == CONTENTS["03"]


def test_a_full_push_replaces_what_has_other_bytes(s3: Any, tmp_path: Path) -> None:
    files = held(tmp_path / "held", CONTENTS)
    push("s3://assets", files)
    for name in ("03", "large"):
        s3.pipe_file(f"assets/{blob(CONTENTS[name])}", bytes(len(CONTENTS[name])))
    assert push("s3://assets", files).files == 0, "by its size it is there"
    assert push("s3://assets", files, full=True).files == 2
    assert s3.cat_file(f"assets/{blob(CONTENTS['large'])}") == CONTENTS["large"]


@pytest.mark.parametrize("name", ["03", "large"])
def test_what_is_damaged_in_the_store_never_appears_in_a_bucket(s3: Any, tmp_path: Path, name: str) -> None:
    files = held(tmp_path / "held", CONTENTS)
    path = tmp_path / "held" / name
    path.write_bytes(CONTENTS[name][:-1] + b"\0")
    pushed = push("s3://assets", files)
    assert pushed.files == len(CONTENTS) - 1
    (error,) = pushed.errors
    assert f"m: {name}: not pushed: {path}: expected" in str(error)
    assert not s3.exists(f"assets/{blob(CONTENTS[name])}")


@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_file_of_several_parts_is_there_whole_or_leaves_nothing(s3: Any, tmp_path: Path, is_damaged: bool) -> None:
    data = body(2 * PART + 5, 92)
    (file,) = held(tmp_path / "held", {"parts": data})
    if is_damaged:
        Path(file.path).write_bytes(data[:-1] + b"\0")
    pushed = push("s3://assets", [file])
    assert (pushed.files, len(pushed.errors)) == ((0, 1) if is_damaged else (1, 0))
    assert s3.exists(f"assets/{blob(data)}") is not is_damaged
    assert s3.call_s3("list_multipart_uploads", Bucket="assets").get("Uploads", []) == []
    if not is_damaged:
        assert s3.cat_file(f"assets/{blob(data)}") == data


def test_a_push_that_is_killed_leaves_no_part_of_a_file_and_is_gone_on_with(
    s3: Any, s3_endpoint: str, tmp_path: Path
) -> None:
    project = Project(tmp_path / "project", env=aws(s3_endpoint))
    project.folder.mkdir()
    contents = {"a": b"a", "b": body(3 * PART, 93)}
    for name, data in contents.items():
        (project.folder / name).write_bytes(data)
    project.write("version: 1\nmodels:\n  m:\n    files: [{url: ./a}, {url: ./b}]\n")
    project.run("lock")
    project.run("pull")
    for _ in range(3):
        process = project.start("mirror", "push", "s3://assets")
        eventually(lambda: bool(s3.call_s3("list_multipart_uploads", Bucket="assets").get("Uploads")), 10)
        process.kill()
        process.communicate()
        for path in s3.find("assets/blobs"):
            assert sha256(s3.cat_file(path)) == path.rpartition("/")[2]
    project.run("mirror", "push", "s3://assets")
    assert s3.find("assets/blobs") == sorted(f"assets/{blob(data)}" for data in contents.values())


def test_a_bucket_that_is_not_there_is_an_error_of_push_and_a_lack_of_pull(
    s3: Any, origin: Hub, tmp_path: Path
) -> None:
    with pytest.raises(OriginError, match="s3://nowhere"):
        push("s3://nowhere", held(tmp_path / "held", CONTENTS))
    origin.publish("/f/x", b"x")
    brought = bring(tmp_path / "root", locked({"x": b"x"}, origin.endpoint), ["s3://nowhere"])
    assert brought.contents == {"x": b"x"}
    assert brought.traffic.mirrors[0].state == "lacking"


def test_a_push_to_a_bucket_that_says_nothing_is_given_up(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        s3.clear_instance_cache()
        limits = dataclasses.replace(QUICK, read_timeout=0.5)
        with pytest.raises(OriginError, match="nothing is heard of it"):
            BucketTarget("s3://assets", limits, Silent()).put(held(tmp_path / "held", CONTENTS))


@pytest.mark.parametrize("name", ["03", "large", "empty"])
def test_a_bucket_that_lies_is_left_out(s3: Any, origin: Hub, tmp_path: Path, name: str) -> None:
    origin.publish(f"/f/{name}", CONTENTS[name])
    s3.pipe_file(f"assets/{blob(CONTENTS[name])}", bytes(len(CONTENTS[name]) + 1))
    brought = bring(tmp_path, locked({name: CONTENTS[name]}, origin.endpoint), ["s3://assets"])
    assert brought.contents == {name: CONTENTS[name]}
    assert brought.traffic.mirrors[0].state == "left out"


def test_a_large_file_that_was_cut_off_is_gone_on_with_from_a_bucket(s3: Any, origin: Hub, tmp_path: Path) -> None:
    data = CONTENTS["large"]
    s3.pipe_file(f"assets/{blob(data)}", data)
    origin.publish("/f/large", data)
    origin.faults.add(Fault(truncate_after=4 * PIECE // 3, times=None))
    limits = dataclasses.replace(QUICK, attempts=1)
    assert bring(tmp_path, locked({"large": data}, origin.endpoint), [], limits=limits).errors
    again = bring(tmp_path, locked({"large": data}, origin.endpoint), ["s3://assets"])
    assert again.contents == {"large": data}
    assert any("going on after" in words for words in again.said)


def test_a_bucket_that_stalls_is_left_out_and_does_not_hold_up_an_interruption(
    s3: Any, s3_endpoint: str, origin: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A listener that nobody answers at: the library would wait for long.
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        silent = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", silent)
        s3.clear_instance_cache()
        origin.publish("/f/x", b"x")
        origin.publish("/f/large", CONTENTS["large"])
        limits = dataclasses.replace(QUICK, mirror_read_timeout=0.5, mirror_attempts=1)
        wanted = {"x": b"x", "large": CONTENTS["large"]}
        started = time.monotonic()
        brought = bring(tmp_path, locked(wanted, origin.endpoint), ["s3://assets"], limits=limits)
        assert brought.contents == wanted
        assert "stalled" in brought.traffic.mirrors[0].why
        (source,) = BucketMirror("s3://assets").sources(locked(wanted, "http://x").files[0])
        assert source.opener is not None
        stop = threading.Event()
        threading.Timer(0.2, stop.set).start()
        with pytest.raises(StoppedError):
            source.opener(0, None, stop, QUICK)
        assert time.monotonic() - started < 20


def test_two_machines_share_a_bucket_by_the_command_line(s3: Any, s3_endpoint: str, tmp_path: Path) -> None:
    hub = Hub()
    with hub.serve() as endpoint:
        first = Project(tmp_path / "first", endpoint, env=aws(s3_endpoint))
        hub.publish("/f/w.bin", CONTENTS["large"])
        first.write("version: 1\ndatasets:\n  m:\n    files: [{url: '{endpoint}/f/w.bin'}]\nmirrors: s3://assets/lab\n")
        first.run("lock")
        first.run("pull")
        assert "1 blob pushed" in first.run("mirror", "push", "s3://assets/lab").err
    second = Project(tmp_path / "second", endpoint, env=aws(s3_endpoint))
    second.folder.mkdir()
    for name in ("assets.yaml", "assets.lock.json"):
        (second.folder / name).write_bytes((first.folder / name).read_bytes())
    done = second.run("pull", "--json").json
    assert done["mirrors"] == [
        {
            "mirror": "s3://assets/lab",
            "state": "used",
            "files": 1,
            "bytes": len(CONTENTS["large"]),
            "lacked": 0,
            "why": "",
        }
    ]
    second.run("verify", "--full")
    text = "".join(path.read_text(errors="replace") for path in second.root.glob(".assetmgr/receipts/*"))
    assert "testing-secret" not in text


# --- the boundary -------------------------------------------------------------------------------------------------


@pytest.fixture
def memory() -> Iterator[Any]:
    fsspec = pytest.importorskip("fsspec")
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    yield filesystem
    filesystem.store.clear()


def test_any_file_system_of_fsspec_is_pushed_to_and_pulled_from(memory: Any, origin: Hub, tmp_path: Path) -> None:
    files = held(tmp_path / "held", CONTENTS)
    assert push("memory://lab/x", files).files == len(CONTENTS)
    assert push("memory://lab/x", files).present_files == len(CONTENTS)
    assert sorted(memory.find("/lab")) == sorted(f"/lab/x/{blob(data)}" for data in CONTENTS.values())
    brought = bring(tmp_path / "root", locked(CONTENTS, origin.endpoint), ["memory://lab/x"])
    assert brought.contents == CONTENTS


def test_where_a_name_is_not_given_at_once_what_is_damaged_leaves_nothing(memory: Any, tmp_path: Path) -> None:
    files = held(tmp_path / "held", {"large": CONTENTS["large"]})
    (tmp_path / "held" / "large").write_bytes(bytes(len(CONTENTS["large"])))
    assert len(push("memory://lab", files).errors) == 1
    assert memory.find("/lab") == []


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("nobody-knows://x/y", UsageError, "nobody knows the scheme 'nobody-knows'"),
        ("hf://org/name", UsageError, "not a mirror"),
        ("s3://", UsageError, "a bucket is written s3://name/prefix"),
        ("s3:bucket", UsageError, "a bucket is written s3://name/prefix"),
        ("s3://key:secret@bucket/x", UsageError, "it holds a password"),
        ("simplecache::s3://bucket", UsageError, "chain"),
        ("http://user:pass@host/x", UsageError, "it holds a login"),
        ("http://host/x?token=1", UsageError, "no '?'"),
        ("", UsageError, "it is empty"),
    ],
)
def test_a_text_that_names_no_mirror_is_told_without_its_secrets(text: str, kind: type[AssetError], words: str) -> None:
    with pytest.raises(kind) as caught:
        open_mirror(text)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "user:pass" not in str(caught.value)


def test_without_its_library_a_bucket_names_the_extra(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['s3fs'] = None\n"
        "from assetmgr.errors import MissingExtraError\n"
        "from assetmgr.mirrors import open_mirror\n"
        "try:\n"
        "    open_mirror('s3://bucket/x')\n"
        "except MissingExtraError as error:\n"
        "    print(error)\n"
    )
    assert "pip install 'assetmgr[bucket]'" in Project(tmp_path).python(code).out


def test_nothing_of_a_bucket_is_imported_until_it_is_asked(tmp_path: Path) -> None:
    pytest.importorskip("s3fs")
    code = (
        "import sys, json\n"
        "from assetmgr import Workspace\n"
        "Workspace(mirrors=['s3://bucket/x'])\n"
        "from assetmgr.mirrors import open_mirror\n"
        "open_mirror('s3://bucket/x')\n"
        "print(json.dumps([name for name in ('fsspec', 's3fs', 'botocore') if name in sys.modules]))\n"
    )
    assert json.loads(Project(tmp_path).python(code).out) == []


def test_a_bucket_is_not_asked_offline(memory: Any, origin: Hub, tmp_path: Path) -> None:
    memory.pipe_file(f"/lab/{blob(b'x')}", b"x")
    brought = bring(tmp_path, locked({"x": b"x"}, origin.endpoint), ["memory://lab"], offline=True)
    assert "forbids" in brought.errors["x"]
