"""Verification within a time budget, over real stores."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from assetmgr.errors import UsageError
from assetmgr.receipt import Stamp
from assetmgr.store import Layout
from assetmgr.workspace import Workspace
from tests.support import Project, flip_byte, truncate, without_root_powers

DAY = 86_400


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Four files of 1 MB in two assets, installed."""
    lines = ["version: 1", "models:"]
    for asset in ("a", "b"):
        lines += [f"  {asset}:", "    files:"]
        for number in (1, 2):
            (tmp_path / f"{asset}{number}.bin").write_bytes(f"{asset}{number}".encode() * 500_000)
            lines.append(f"      - {{url: ./{asset}{number}.bin}}")
    (tmp_path / "assets.yaml").write_text("\n".join(lines) + "\n")
    workspace = opened(tmp_path)
    workspace.lock()
    workspace.pull()
    return Project(tmp_path)


def opened(folder: Path) -> Workspace:
    return Workspace(folder / "assets.yaml", folder / "store")


def age(workspace: Workspace, ages: dict[str, int]) -> None:
    """Make proofs so many days old, by file."""
    import msgspec

    for receipt in workspace.store.receipts():
        stamps: list[Stamp | None] = []
        for file, stamp in zip(receipt.entry.files, receipt.stamps, strict=True):
            assert stamp is not None
            when = int(time.time()) - ages.get(file.path, 0) * DAY
            stamps.append(msgspec.structs.replace(stamp, proved_at=when))
        workspace.store.save_receipt(msgspec.structs.replace(receipt, stamps=tuple(stamps)))


def days(workspace: Workspace) -> dict[str, int]:
    """How old each proof is, in days; -1 for none."""
    found = {}
    for receipt in workspace.store.receipts():
        for file, stamp in zip(receipt.entry.files, receipt.stamps, strict=True):
            found[file.path] = -1 if stamp is None else round((time.time() - stamp.proved_at) / DAY)
    return found


def stored(workspace: Workspace, name: str) -> Path:
    (receipt,) = workspace.store.receipts_of(name[0])
    layout = Layout(receipt.entry)
    return Path(next(workspace.store.at(layout.name(file)) for file in receipt.entry.files if file.path == name))


def test_with_hardly_any_time_each_run_proves_the_file_whose_proof_is_the_oldest(project: Project) -> None:
    workspace = opened(project.folder)
    age(workspace, {"a1.bin": 2, "a2.bin": 9, "b1.bin": 30, "b2.bin": 4})
    for expected in ("b1.bin", "a2.bin", "b2.bin", "a1.bin"):
        before = days(workspace)
        result = workspace.verify(full=True, budget=1e-9)
        assert (result.findings, result.errors, result.hashed_bytes) == ((), (), 1_000_000)
        after = days(workspace)
        assert {name for name in after if after[name] != before[name]} == {expected}
        assert result.coverage is not None
        assert (result.coverage.files, result.coverage.left_files, result.coverage.unproved_files) == (1, 3, 0)
        assert (result.coverage.bytes, result.coverage.left_bytes) == (1_000_000, 3_000_000)
        oldest = result.coverage.oldest_proof
        assert oldest is not None
        assert round((time.time() - oldest) / DAY) == max(after.values())


def test_with_time_enough_everything_is_proved_in_one_run(project: Project) -> None:
    workspace = opened(project.folder)
    age(workspace, dict.fromkeys(("a1.bin", "a2.bin", "b1.bin", "b2.bin"), 5))
    result = workspace.verify(full=True, budget=600)
    assert result.coverage is not None
    assert (result.coverage.files, result.coverage.left_files, result.coverage.left_bytes) == (4, 0, 0)
    assert set(days(workspace).values()) == {0}


def test_what_is_damaged_is_found_in_its_turn_told_every_time_and_keeps_no_other_from_its_turn(
    project: Project,
) -> None:
    workspace = opened(project.folder)
    age(workspace, {"a1.bin": 3, "a2.bin": 2, "b1.bin": 1, "b2.bin": 40})
    flip_byte(stored(workspace, "b2.bin"), keep_time=True)
    found = []
    for _ in range(4):
        result = workspace.verify(full=True, budget=1e-9)
        found.append([(finding.path, finding.kind) for finding in result.findings])
    assert found == [[("b2.bin", "altered")]] * 4
    assert days(workspace) == {"a1.bin": 0, "a2.bin": 0, "b1.bin": 0, "b2.bin": -1}


def test_what_is_missing_or_cut_short_is_told_by_every_run_without_any_time(project: Project) -> None:
    workspace = opened(project.folder)
    stored(workspace, "a1.bin").unlink()
    truncate(stored(workspace, "b1.bin"), 10)
    for _ in range(2):
        result = workspace.verify(full=True, budget=1e-9)
        assert {(one.path, one.kind) for one in result.findings} == {("a1.bin", "missing"), ("b1.bin", "truncated")}


def test_what_changed_without_a_proof_comes_before_the_oldest_proof(project: Project) -> None:
    workspace = opened(project.folder)
    age(workspace, {"a1.bin": 300})
    os.utime(stored(workspace, "b2.bin"), ns=(1, 1))  # as after a copy: the stamp does not fit
    result = workspace.verify(full=True, budget=1e-9)
    # The first of either sort.
    assert result.hashed_bytes == 2_000_000
    assert workspace.verify().hashed_bytes == 0
    assert days(workspace)["a1.bin"] == 0


def test_names_of_one_file_on_the_disk_are_hashed_once_and_proved_all(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"w" * 1_000_000)
    (tmp_path / "assets.yaml").write_text(
        "version: 1\nmodels:\n  a:\n    files: [{url: ./w.bin}]\n  b:\n    files: [{url: ./w.bin}]\n"
    )
    workspace = opened(tmp_path)
    workspace.lock()
    workspace.pull()
    age(workspace, {"w.bin": 7})
    result = workspace.verify(full=True, budget=600)
    assert (result.files, result.hashed_bytes) == (2, 1_000_000)
    assert all(stamp and time.time() - stamp.proved_at < DAY for r in workspace.store.receipts() for stamp in r.stamps)


def test_a_repair_within_a_budget_mends_what_was_found(project: Project) -> None:
    workspace = opened(project.folder)
    age(workspace, {"a1.bin": 9})
    flip_byte(stored(workspace, "a1.bin"), keep_time=True)
    stored(workspace, "b2.bin").unlink()
    result = workspace.verify(full=True, budget=1e-9, repair=True)
    assert (result.findings, result.errors) == ((), ())
    assert {finding.path for finding in result.repaired} == {"a1.bin", "b2.bin"}
    assert workspace.verify(full=True).findings == ()


def test_what_another_process_proved_or_pulled_meanwhile_is_not_written_over(project: Project) -> None:
    workspace = opened(project.folder)
    (before,) = workspace.store.receipts_of("a")
    assert before.stamps[0] is not None
    late = Stamp(before.stamps[0].size, before.stamps[0].mtime_ns, before.stamps[0].inode, 1)
    age(workspace, {"a1.bin": 1})  # another's writing
    workspace._prover.keep(before, {0: (before.stamps[0], late)})
    (after,) = workspace.store.receipts_of("a")
    assert after.stamps[0] is not None
    assert after.stamps[0].proved_at != 1


def test_a_budget_without_full_or_without_seconds_is_a_usage_error(project: Project) -> None:
    workspace = opened(project.folder)
    for options in ({"budget": 5.0}, {"budget": 0.0, "full": True}, {"budget": -1.0, "full": True}):
        with pytest.raises(UsageError):
            workspace.verify(**options)  # type: ignore[arg-type]


def test_the_command_says_one_line_for_cron_and_nothing_under_q(project: Project) -> None:
    today = time.strftime("%Y-%m-%d", time.localtime())
    done = project.run("verify", "--full", "--budget", "10m")
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("assetmgr: verified 4.0 MB of 4.0 MB in 0.")
    assert line.endswith(f"s; oldest proof now {today}; 0 findings")
    quiet = project.run("verify", "--full", "--budget", "1h30m", "-q")
    assert (quiet.out, quiet.err) == ("", "")
    document = project.run("verify", "--full", "--budget", "90", "--json").json
    assert document["code"] == 0
    assert document["coverage"].keys() == {
        "seconds", "files", "bytes", "left_files", "left_bytes", "unproved_files", "oldest_proof"
    }  # fmt: skip
    flip_byte(stored(opened(project.folder), "a2.bin"), keep_time=True)
    wrong = project.run("verify", "--full", "--budget", "10m", "-q", code=3)
    assert "a2.bin: altered" in wrong.out
    assert "--budget is the time" in project.run("verify", "--budget", "10m", code=2).err


@pytest.mark.parametrize("text", ["", "0", "0s", "-1", "10x", "m", "1m1h", "nan", "inf", "1e9", "٣m", "9999999h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    import argparse

    from assetmgr.cli.options import duration

    with pytest.raises(argparse.ArgumentTypeError):
        duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("2h", 7200), ("1h30m", 5400), ("1h30m5s", 5405), ("90", 90), ("1.5H", 5400)],
)
def test_times_are_read_as_people_write_them(text: str, seconds: float) -> None:
    from assetmgr.cli.options import duration

    assert duration(text) == seconds


def test_a_store_that_may_not_be_written_is_verified_and_said_once(project: Project) -> None:
    if os.name == "nt":
        pytest.skip("permissions of another kind")
    receipts = project.root / ".assetmgr"
    workspace = opened(project.folder)
    age(workspace, dict.fromkeys(("a1.bin", "b1.bin"), 5))
    for folder, _, _ in list(os.walk(receipts)):
        os.chmod(folder, 0o555)
    for file in (receipts / "mutex").iterdir():
        file.chmod(0o444)
    try:
        project.prefix = without_root_powers()
        done = project.run("verify", "--full", "--budget", "1m")
        assert done.err.count("not writable") == 1
        assert "0 findings" in done.err
    finally:
        for folder, _, _ in list(os.walk(receipts)):
            os.chmod(folder, 0o755)
