"""Plain URLs and local files, from a manifest through lock and pull to the places where libraries look."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import Fault, Hub
from tests.support import Project, files_below, served

BODY = b"the right bytes" * 1000
MD5, SHA256 = hashlib.md5(BODY), hashlib.sha256(BODY)
CANARY = "canary-91c2"


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.publish("/f/w.bin", BODY)
    return hub


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        yield project


def manifest(*files: str, name: str = "m", more: str = "") -> str:
    """A manifest of one asset; each file is the inside of a flow mapping."""
    lines = "".join(f"      - {{{file}}}\n" for file in files)
    return f"version: 1\ndatasets:\n  {name}:\n    files:\n{lines}{more}"


def locked(project: Project, name: str = "m") -> list[dict[str, object]]:
    files: list[dict[str, object]] = json.loads(project.lock_file.read_bytes())["assets"][name]["files"]
    return files


def forget_partials(project: Project) -> None:
    shutil.rmtree(project.root / ".assetmgr" / "partial", ignore_errors=True)


# --- places -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "at"),
    [
        ("", "files/m/w.bin"),
        ("path: sub/other.bin", "files/m/sub/other.bin"),
        ("place: torch", "torch/hub/checkpoints/w.bin"),
        ("place: clip", "clip/w.bin"),
        ("place: lavis/coco/annotations", "lavis/coco/annotations/w.bin"),
        ("place: lavis/coco/annotations, path: a/b.json", "lavis/coco/annotations/a/b.json"),
    ],
)
def test_a_url_is_locked_pulled_and_placed(hub: Hub, project: Project, file: str, at: str) -> None:
    project.write(manifest(f"url: '{{endpoint}}/f/w.bin'{', ' if file else ''}{file}"))
    project.run("lock")
    project.run("pull")
    assert (project.root / at).read_bytes() == BODY
    assert hub.count("GET") == 1, "what lock streamed is what pull places"
    outside = {name for name in files_below(project.root) if not name.startswith(".assetmgr/")}
    assert outside == {at}
    assert (project.root / at).stat().st_mode & 0o222 == 0
    project.run("verify", "--full", "--offline")
    found = project.path("m")
    assert found == project.root / ("files/m" if at.startswith("files/") else at)


def test_one_asset_in_several_places_with_equal_files_is_fetched_once(hub: Hub, project: Project) -> None:
    places = ["files", "torch", "clip", "lavis/a", "lavis/b"]
    project.write(manifest(*(f"url: '{{endpoint}}/f/w.bin', place: {place}" for place in places)))
    project.run("lock")
    forget_partials(project)
    hub.reset_log()
    project.run("pull")
    assert hub.count("GET") == 1
    project.run("verify", "--full", "--offline")
    hub.reset_log()
    project.run("pull")
    assert hub.requests == []


def test_what_is_right_is_pulled_without_a_request_and_what_is_damaged_alone_again(hub: Hub, project: Project) -> None:
    hub.publish("/f/b.bin", b"b")
    project.write(manifest("url: '{endpoint}/f/w.bin'", "url: '{endpoint}/f/b.bin'"))
    project.run("lock")
    project.run("pull")
    hub.reset_log()
    project.run("pull")
    project.run("lock")
    project.run("lock", "--check")
    assert hub.requests == []
    damaged = project.root / "files/m/b.bin"
    damaged.unlink()
    damaged.write_bytes(b"c")
    assert "m: b.bin: altered" in project.run("verify", code=3).out
    project.run("pull")
    assert [record.path for record in hub.requests] == ["/f/b.bin"]
    assert damaged.read_bytes() == b"b"


def test_a_hostile_lock_with_two_contents_at_one_place_is_refused(project: Project) -> None:
    (project.folder / "one").write_text("one")
    (project.folder / "two").write_text("two")
    project.write(manifest("url: ./one, place: lavis/a, path: b/c", "url: ./two, place: lavis/a, path: z"))
    project.run("lock")
    text = project.lock_file.read_text()
    project.lock_file.write_text(text.replace('"path": "z", "place": "lavis/a"', '"path": "c", "place": "lavis/a/b"'))
    assert text != project.lock_file.read_text()
    project.run("pull", code=2)
    assert not (project.root / "lavis/a/b/c").exists()


# --- local files --------------------------------------------------------------------------------------------------


def test_local_paths_are_locked_as_they_are_written(project: Project) -> None:
    (project.folder / "data").mkdir()
    (project.folder / "data" / "a \u00e9.json").write_text("[]")
    (project.folder.parent / "beside.json").write_text("[1]")
    project.write(manifest("url: './data/a \u00e9.json'", "url: ../beside.json"))
    project.run("lock")
    text = project.lock_file.read_text()
    assert '"./data/a \u00e9.json"' in text
    assert '"../beside.json"' in text
    assert str(project.folder) not in text
    assert "file:" not in text
    project.run("pull")
    assert (project.root / "files/m/a \u00e9.json").read_text() == "[]"


@pytest.mark.parametrize("keep_store", [True, False])
def test_a_project_that_was_moved_is_fresh_and_pulls(project: Project, tmp_path: Path, keep_store: bool) -> None:
    (project.folder / "a.json").write_text("[]")
    project.write(manifest("url: ./a.json"))
    project.run("lock")
    project.run("pull")
    before = project.lock_file.read_bytes()
    if not keep_store:
        shutil.rmtree(project.root)
    moved = Project(tmp_path / "elsewhere" / "deeper")
    moved.folder.parent.mkdir()
    shutil.move(project.folder, moved.folder)
    moved.run("lock", "--check")
    moved.run("lock")
    assert moved.lock_file.read_bytes() == before
    moved.run("pull", "--locked", "--offline")
    moved.run("verify", "--full")
    assert (moved.path("m") / "a.json").read_text() == "[]"


def test_the_working_folder_does_not_matter(project: Project) -> None:
    (project.folder / "a.json").write_text("[]")
    project.write(manifest("url: ./a.json"))
    (project.folder / "sub").mkdir()
    inside = Project(project.folder / "sub", env={"ASSETMGR_ROOT": str(project.root)})
    inside.run("lock")
    inside.run("pull")
    assert (project.root / "files/m/a.json").read_text() == "[]"


def test_a_local_file_that_changed_since_it_was_locked_is_refused_with_expected_and_found(project: Project) -> None:
    (project.folder / "a.json").write_text("[1]")
    project.write(manifest("url: ./a.json"))
    project.run("lock")
    forget_partials(project)
    (project.folder / "a.json").write_text("[2]")
    done = project.run("pull", code=3)
    for word in ("m: a.json", hashlib.sha256(b"[1]").hexdigest(), hashlib.sha256(b"[2]").hexdigest(), "--upgrade m"):
        assert word in done.err
    assert not (project.root / "files/m/a.json").exists()
    project.run("lock", "--upgrade", "m")
    project.run("pull")
    assert (project.root / "files/m/a.json").read_text() == "[2]"


def test_a_local_file_that_is_not_there_is_named(project: Project) -> None:
    project.write(manifest("url: ./gone.json"))
    done = project.run("lock", code=5)
    assert str(project.folder / "gone.json") in done.err
    assert "m: gone.json" in done.err, "the asset and the file are named"
    assert not project.lock_file.exists()


def test_a_local_file_of_another_machine_does_not_keep_the_second_url_from_serving(hub: Hub, project: Project) -> None:
    (project.folder / "w.bin").write_bytes(BODY)
    project.write(manifest("url: [./w.bin, '{endpoint}/f/w.bin']"))
    project.run("lock")
    assert hub.requests == []
    (project.folder / "w.bin").unlink()
    forget_partials(project)
    project.run("pull")
    assert hub.count("GET", "/f/w.bin") == 1


# --- pins ---------------------------------------------------------------------------------------------------------

WRONG = {"md5": "0" * 32, "sha256": "0" * 64, "crc32c": "00000000"}
CRC32C = "crc32c"


@pytest.mark.parametrize("algorithm", ["md5", "sha256", "crc32c"])
def test_a_wrong_pin_is_refused_by_lock_with_expected_and_found(hub: Hub, project: Project, algorithm: str) -> None:
    if algorithm == "crc32c":
        google_crc32c = pytest.importorskip("google_crc32c")
        found = google_crc32c.Checksum(BODY).digest().hex()
    else:
        found = hashlib.new(algorithm, BODY).hexdigest()
    project.write(manifest(f"url: '{{endpoint}}/f/w.bin', {algorithm}: '{WRONG[algorithm]}'"))
    done = project.run("lock", code=3)
    for word in ("m: w.bin", algorithm, WRONG[algorithm], found, "assets.yaml:", "mend:"):
        assert word in done.err
    assert not project.lock_file.exists()
    assert not list(project.root.glob("files/m/*"))
    project.write(manifest(f"url: '{{endpoint}}/f/w.bin', {algorithm}: '{found}'"))
    project.run("lock")
    assert locked(project)[0][algorithm] == found
    project.run("pull")


def test_the_beginning_of_a_sha256_is_a_pin_too(hub: Hub, project: Project) -> None:
    begin = SHA256.hexdigest()[:8]
    project.write(manifest("url: '{endpoint}/f/w.bin', sha256_prefix: '00000000'"))
    done = project.run("lock", code=3)
    for word in ("m: w.bin", "expected sha256 00000000..., found", SHA256.hexdigest(), "assets.yaml:", "mend:"):
        assert word in done.err
    project.write(
        manifest(f"url: ['{{endpoint}}/f/absent.bin', '{{endpoint}}/f/w.bin'], path: w, sha256_prefix: '{begin}'")
    )
    project.run("lock")
    assert locked(project)[0]["sha256"] == SHA256.hexdigest()
    count = len(hub.requests)
    project.run("pull")
    project.run("lock")
    assert len(hub.requests) == count, "what was streamed is pulled, and its pin kept"
    project.write(
        manifest(f"url: ['{{endpoint}}/f/absent.bin', '{{endpoint}}/f/w.bin'], path: w, sha256_prefix: '{'0' * 8}'")
    )
    assert "expected sha256 00000000..." in project.run("lock", code=3).err, (
        "a pin that the manifest denies is not kept"
    )


def test_a_full_pin_is_locked_without_a_request_and_proved_by_pull(hub: Hub, project: Project) -> None:
    project.write(manifest(f"url: '{{endpoint}}/f/w.bin', sha256: '{SHA256.hexdigest()}', size: {len(BODY)}"))
    project.run("lock")
    assert hub.requests == []
    project.run("pull")
    assert (project.root / "files/m/w.bin").read_bytes() == BODY


def test_a_wrong_full_pin_is_refused_by_pull_with_expected_and_found(hub: Hub, project: Project) -> None:
    project.write(manifest(f"url: '{{endpoint}}/f/w.bin', sha256: '{'0' * 64}', size: {len(BODY)}"))
    project.run("lock")
    done = project.run("pull", code=3)
    for word in ("m: w.bin", "0" * 64, SHA256.hexdigest(), "mend:"):
        assert word in done.err
    assert hub.count("GET") == 2, "fetched once more, and then reported"
    assert not [name for name in files_below(project.root) if name.endswith("w.bin")]


@pytest.mark.parametrize("size", [1, len(BODY) - 1, len(BODY) + 1])
def test_a_wrong_size_is_refused(project: Project, size: int) -> None:
    project.write(manifest(f"url: '{{endpoint}}/f/w.bin', size: {size}"))
    done = project.run("lock", code=3)
    assert f"{size} bytes" in done.err
    assert "m: w.bin" in done.err, "the asset and the file are named"


@pytest.mark.parametrize("pin", ["", f"sha256: '{SHA256.hexdigest()}'", f"md5: '{MD5.hexdigest()}'"])
def test_a_lock_without_fetching_is_completed_by_the_next_one(hub: Hub, project: Project, pin: str) -> None:
    project.write(manifest(f"url: '{{endpoint}}/f/w.bin'{', ' if pin else ''}{pin}"))
    project.run("lock", "--no-fetch")
    assert hub.requests == []
    done = project.run("pull", code=2)
    assert "assetmgr lock m" in done.err, "what mends it is said"
    project.run("lock")
    assert (locked(project)[0]["sha256"], locked(project)[0]["size"]) == (SHA256.hexdigest(), len(BODY))
    project.run("pull")


def test_a_new_pin_in_the_manifest_is_checked_against_what_was_locked(hub: Hub, project: Project) -> None:
    project.write(manifest("url: '{endpoint}/f/w.bin'"))
    project.run("lock")
    hub.reset_log()
    project.write(manifest(f"url: '{{endpoint}}/f/w.bin', sha256: '{SHA256.hexdigest()}'"))
    project.run("lock")
    assert hub.requests == [], "the pin agrees with what is known"
    project.write(manifest(f"url: '{{endpoint}}/f/w.bin', sha256: '{'0' * 64}'"))
    project.run("lock", "--check", code=4)
    project.run("lock", code=3)


# --- several URLs -------------------------------------------------------------------------------------------------


def test_the_second_url_is_used_when_the_first_is_dead(hub: Hub, project: Project) -> None:
    project.write(manifest("url: ['{endpoint}/gone/w.bin', '{endpoint}/f/w.bin']"))
    done = project.run("lock")
    assert "HTTP 404; trying" in done.err
    forget_partials(project)
    hub.reset_log()
    project.run("pull")
    assert [record.path for record in hub.requests] == ["/gone/w.bin", "/f/w.bin"]
    assert (project.root / "files/m/w.bin").read_bytes() == BODY


def test_the_second_url_is_used_when_the_first_serves_other_bytes(hub: Hub, project: Project) -> None:
    hub.publish("/g/w.bin", BODY)
    project.write(manifest("url: ['{endpoint}/f/w.bin', '{endpoint}/g/w.bin']"))
    project.run("lock")
    forget_partials(project)
    hub.publish("/f/w.bin", bytes(len(BODY)))
    project.run("pull")
    assert (project.root / "files/m/w.bin").read_bytes() == BODY


def test_when_every_url_is_dead_each_is_told_and_the_others_assets_are_done(hub: Hub, project: Project) -> None:
    hub.publish("/f/b.bin", b"b")
    text = manifest("url: ['{endpoint}/f/w.bin', '{endpoint}/g/w.bin']")
    project.write(text + "  n:\n    files: [{url: '{endpoint}/f/b.bin'}]\n")
    project.run("lock")
    forget_partials(project)
    hub.faults.add(Fault(match="w.bin", status=404, times=None))
    done = project.run("pull", code=5)
    assert "/f/w.bin: HTTP 404" in done.err
    assert "/g/w.bin: HTTP 404" in done.err
    assert (project.root / "files/n/b.bin").read_bytes() == b"b"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_file_is_a_matter_of_access(hub: Hub, project: Project, status: int) -> None:
    project.write(manifest("url: '{endpoint}/f/w.bin'"))
    hub.faults.add(Fault(match="w.bin", status=status, times=None))
    done = project.run("lock", code=7)
    assert ".netrc" in done.err
    assert hub.count("GET") == 1


# --- evidence -----------------------------------------------------------------------------------------------------


def in_base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


@pytest.mark.parametrize(("header", "prefix"), [("Content-MD5", ""), ("x-goog-hash", "md5="), ("Digest", "MD5=")])
def test_a_servers_md5_is_checked_and_recorded(hub: Hub, project: Project, header: str, prefix: str) -> None:
    project.write(manifest("url: '{endpoint}/f/w.bin'"))
    hub.publish("/f/w.bin", BODY, headers={header: prefix + in_base64(bytes(16))})
    done = project.run("lock", code=3)
    for word in ("m: w.bin", "its server", bytes(16).hex(), MD5.hexdigest()):
        assert word in done.err
    assert not project.lock_file.exists()
    hub.publish("/f/w.bin", BODY, headers={header: prefix + in_base64(MD5.digest())}, etag='"v1"')
    project.run("lock")
    assert (locked(project)[0]["md5"], locked(project)[0]["etag"]) == (MD5.hexdigest(), '"v1"')
    project.run("pull")


def test_a_buckets_etag_is_an_md5_that_is_checked_and_recorded(hub: Hub, project: Project) -> None:
    project.write(manifest("url: '{endpoint}/f/w.bin'"))
    bucket = {"x-amz-request-id": "4442587FB7D0A2F9"}
    hub.publish("/f/w.bin", BODY, headers=bucket, etag=f'"{MD5.hexdigest()}"')
    project.run("lock")
    assert locked(project)[0]["md5"] == MD5.hexdigest()
    project.run("pull")
    project.lock_file.unlink()
    hub.publish("/f/w.bin", BODY, headers=bucket, etag=f'"{bytes(16).hex()}"')
    assert bytes(16).hex() in project.run("lock", code=3).err
    hub.publish("/f/w.bin", BODY, etag=f'"{bytes(16).hex()}"')
    project.run("lock")
    assert "md5" not in locked(project)[0], "another server's etag may be anything"


@pytest.mark.parametrize(
    ("header", "value"),
    [("Repr-Digest", "sha-256=:%s:"), ("Digest", "SHA-256=%s"), ("x-amz-checksum-sha256", "%s")],
)
def test_a_servers_sha256_is_checked(hub: Hub, project: Project, header: str, value: str) -> None:
    project.write(manifest("url: '{endpoint}/f/w.bin'"))
    hub.publish("/f/w.bin", BODY, headers={header: value % in_base64(bytes(32))})
    done = project.run("lock", code=3)
    assert bytes(32).hex() in done.err
    assert SHA256.hexdigest() in done.err
    hub.publish("/f/w.bin", BODY, headers={header: value % in_base64(SHA256.digest())})
    project.run("lock")
    project.run("pull")


def test_the_manifests_sha256_goes_before_a_servers_word_and_the_wrong_word_is_not_kept(
    hub: Hub, project: Project
) -> None:
    hub.publish("/f/w.bin", BODY, headers={"Content-MD5": in_base64(bytes(16))})
    project.write(manifest(f"url: '{{endpoint}}/f/w.bin', sha256: '{SHA256.hexdigest()}'"))
    project.run("lock")
    assert "md5" not in locked(project)[0]


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_url_whose_bytes_are_not_the_manifests_is_passed_over_for_the_next(
    hub: Hub, project: Project, algorithm: str
) -> None:
    hub.publish("/f/other.bin", b"something else" * 1000)
    pin = hashlib.new(algorithm, BODY).hexdigest()
    project.write(
        manifest(f"url: ['{{endpoint}}/f/other.bin', '{{endpoint}}/f/w.bin'], {algorithm}: '{pin}', path: w.bin")
    )
    project.run("lock")
    assert locked(project)[0]["sha256"] == SHA256.hexdigest()


def test_a_servers_crc32c_is_checked_and_recorded(hub: Hub, project: Project) -> None:
    google_crc32c = pytest.importorskip("google_crc32c")
    right = google_crc32c.Checksum(BODY).digest()
    project.write(manifest("url: '{endpoint}/f/w.bin'"))
    hub.publish("/f/w.bin", BODY, headers={"x-goog-hash": f"crc32c={in_base64(right)}"})
    project.run("lock")
    assert locked(project)[0]["crc32c"] == right.hex()
    project.run("pull")
    project.lock_file.unlink()
    hub.publish("/f/w.bin", BODY, headers={"x-goog-hash": f"crc32c={in_base64(bytes(4))}"})
    assert "crc32c" in project.run("lock", code=3).err


@pytest.mark.parametrize("evidence", ["crc32c=AAAA", "md5=AAAA", "crc32c=AAAA,md5=AAAA", "md5=,crc32c=", "nonsense"])
def test_evidence_that_is_none_is_passed_over(hub: Hub, project: Project, evidence: str) -> None:
    hub.publish("/f/w.bin", BODY, headers={"x-goog-hash": evidence, "ETag": "x" * 5000})
    project.write(manifest("url: '{endpoint}/f/w.bin'"))
    project.run("lock")
    assert set(locked(project)[0]) == {"path", "place", "sha256", "size", "urls"}
    project.run("pull")


# --- secrets ------------------------------------------------------------------------------------------------------


def test_the_query_of_a_url_is_in_no_message(hub: Hub, project: Project) -> None:
    url = f"'{{endpoint}}/f/w.bin?token={CANARY}'"
    said = []
    project.write(manifest(f"url: {url}, path: w.bin, md5: '{WRONG['md5']}'"))
    said.append(project.run("lock", code=3))
    project.write(manifest(f"url: {url}, path: w.bin, sha256: '{'0' * 64}', size: {len(BODY)}"))
    said += [project.run("lock"), project.run("pull", code=3), project.run("--json", "pull", code=3)]
    hub.faults.add(Fault(match="w.bin", status=404, times=None))
    said.append(project.run("pull", code=5))
    assert hub.count("GET", CANARY), "the server is asked with it"
    for done in said:
        assert CANARY not in done.out + done.err


def test_a_login_of_netrc_is_in_no_document_and_no_message(hub: Hub, project: Project) -> None:
    home = Path(project.environment()["HOME"])
    (home / ".netrc").write_text(f"machine 127.0.0.1 login me password {CANARY}\n")
    (home / ".netrc").chmod(0o600)
    project.write(manifest("url: '{endpoint}/f/w.bin'"))
    done = [project.run("lock"), project.run("pull"), project.run("status"), project.run("--json", "plan")]
    secret = in_base64(f"me:{CANARY}".encode())
    assert hub.requests[0].headers["authorization"] == f"Basic {secret}"
    for one in done:
        assert not {CANARY, secret} & set((one.out + one.err).split())
        assert CANARY not in one.out + one.err
    for name in files_below(project.folder) - {"home/.netrc"}:
        content = (project.folder / name).read_bytes()
        assert CANARY.encode() not in content, name
        assert secret.encode() not in content, name


# --- what is staged -----------------------------------------------------------------------------------------------


def test_what_is_staged_for_one_file_does_not_count_for_another(project: Project) -> None:
    (project.folder / "big").write_bytes(bytes(1000))
    (project.folder / "small").write_bytes(b"s" * 10)
    project.write(
        manifest("url: ./big", name="a") + "  b:\n    files: [{url: ./big}, {url: ./small}]\n",
    )
    project.run("lock")
    (project.root / ".assetmgr" / "partial" / hashlib.sha256(b"s" * 10).hexdigest()).unlink()
    plan = project.run("--json", "plan").json
    assert [asset["fetch_bytes"] for asset in plan["assets"]] == [0, 10]
    assert plan["fetch_bytes"] == 10
    project.run("pull")


def test_a_staged_file_with_wrong_bytes_is_fetched_anew(hub: Hub, project: Project) -> None:
    project.write(manifest("url: '{endpoint}/f/w.bin'"))
    project.run("lock")
    (partial,) = project.root.glob(".assetmgr/partial/*")
    for wrong in (bytes(len(BODY)), BODY[:100], BODY * 2):
        partial.write_bytes(wrong)
        shutil.rmtree(project.root / "files", ignore_errors=True)
        project.run("pull")
        assert (project.root / "files/m/w.bin").read_bytes() == BODY
        assert not partial.exists(), "nothing is left staged"


def test_a_failure_leaves_no_litter_beside_the_partials(hub: Hub, project: Project) -> None:
    project.write(manifest("url: '{endpoint}/gone'"))
    project.run("lock", code=5)
    assert os.listdir(project.root / ".assetmgr" / "partial") == []


# --- offline ------------------------------------------------------------------------------------------------------


def test_offline_locks_from_a_local_path_beside_a_url(hub: Hub, project: Project) -> None:
    (project.folder / "w.bin").write_bytes(BODY)
    project.write(manifest("url: ['{endpoint}/f/w.bin', ./w.bin]"))
    project.run("lock", "--offline")
    assert hub.requests == []
    assert locked(project)[0]["sha256"] == SHA256.hexdigest()


def test_offline_says_what_is_lacking_and_uses_what_is_staged(hub: Hub, project: Project) -> None:
    project.write(manifest("url: '{endpoint}/f/w.bin'"))
    done = project.run("lock", "--offline", code=5)
    assert "m: w.bin" in done.err
    assert hub.requests == []
    project.run("lock")
    project.run("pull", "--offline")
    shutil.rmtree(project.root / "files")
    done = project.run("pull", "--offline", code=5)
    assert "m: w.bin" in done.err
    assert "assetmgr pull m" in done.err
    assert hub.count("GET") == 1


# --- a lock that was not written ------------------------------------------------------------------------------------


def test_what_a_lock_that_failed_has_streamed_is_not_fetched_again(hub: Hub, project: Project) -> None:
    urls = "".join(
        f"  {name}:\n    files:\n      - {{url: '{{endpoint}}/f/{name}.bin'}}\n" for name in ("one", "two", "gone")
    )
    project.write(f"version: 1\ndatasets:\n{urls}")
    for name in ("one", "two"):
        hub.publish(f"/f/{name}.bin", name.encode() * 1_000_000)
    project.run("lock", code=5)
    hub.publish("/f/gone.bin", b"back")
    hub.publish("/f/two.bin", b"changed" * 1_000_000)
    hub.reset_log()
    project.run("lock")
    assert [hub.count("GET", f"/{name}.bin") for name in ("one", "two", "gone")] == [0, 1, 1]
    assert locked(project, "two")[0]["sha256"] == hashlib.sha256(b"changed" * 1_000_000).hexdigest()
    assert not list(project.root.glob(".assetmgr/partial/lock-*")), "a lock says it now"
    project.run("pull")
    assert hub.count("GET", "/one.bin") == 0
    project.run("verify", "--full", "--offline")
