"""The store, the disk, shared folders, variables and tokens."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from assetmgr.doctor import Wanted, examine
from tests.doctor.broken import Broken, changed, in_words


def test_a_store_that_is_a_file_is_found(broken: Broken) -> None:
    (broken.folder / "store").rmdir()
    (broken.folder / "store").touch()
    assert "is no folder" in broken.only("store").message


def test_a_store_that_can_never_be_is_found(broken: Broken) -> None:
    (broken.folder / "file").touch()
    for name in ("a" * 300, "file/store"):
        found = examine(changed(broken.machine(), store=str(broken.folder / name)))
        assert [finding.check for finding in found if finding.level == "error"] == ["store"]


def test_a_store_that_is_not_there_yet_is_no_fault(broken: Broken) -> None:
    machine = changed(broken.machine(), store=str(broken.folder / "not" / "yet"))
    assert not [finding for finding in examine(machine) if finding.is_wrong]
    assert not (broken.folder / "not").exists()


def test_what_does_not_fit_on_the_disk_is_found(broken: Broken) -> None:
    (finding,) = broken.wrong(Wanted(missing_bytes=10**18, fetches=True))
    assert finding.check == "disk"
    assert "1000000.0 TB are still to be pulled" in finding.message


@pytest.mark.skipif(os.name == "nt", reason="modes")
@pytest.mark.parametrize(
    ("mode", "said", "mend"),
    [
        (0o775, "lacks the setgid bit", "chmod g+s"),
        (0o2755, "its group may not write it", "chmod g+w"),
        (0o2777, "may be written by everybody", "chmod o-w"),
    ],
)
def test_a_shared_folder_that_is_closed_is_found(broken: Broken, mode: int, said: str, mend: str) -> None:
    (broken.folder / "store").chmod(mode)
    finding = broken.only("sharing")
    assert said in finding.message
    assert mend in finding.mend


@pytest.mark.skipif(os.name == "nt", reason="modes")
def test_a_part_of_a_shared_store_that_is_closed_is_named(broken: Broken) -> None:
    store = broken.folder / "store"
    (store / "hub" / "models--org--name").mkdir(parents=True)
    store.chmod(0o2775)
    (store / "hub").chmod(0o2775)
    (store / "hub" / "models--org--name").chmod(0o755)
    assert "hub/models--org--name" in broken.only("sharing").message


@pytest.mark.parametrize("name", ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TORCH_HOME", "TRANSFORMERS_CACHE"])
def test_a_variable_that_contradicts_the_store_is_found(broken: Broken, name: str) -> None:
    finding = broken.only("variables", **{name: "/elsewhere"})
    assert f"{name}=/elsewhere" in finding.message
    assert f"unset {name}" in finding.mend
    place = "torch" if name == "TORCH_HOME" else "hub"
    assert not broken.wrong(None, **{name: str(broken.folder / "store" / place)})


def test_other_variables_that_get_in_the_way_are_found(broken: Broken) -> None:
    assert "is no http(s) address" in broken.only("variables", HF_ENDPOINT="hub.lab:8080").message
    assert not broken.wrong(HF_HUB_OFFLINE="1")
    (finding,) = broken.wrong(Wanted(fetches=True), HF_HUB_OFFLINE="1")
    assert "still to be pulled" in finding.message
    broken.package("huggingface_hub", "0.36.2", None)
    finding = broken.only("variables", HF_HUB_ENABLE_HF_TRANSFER="1")
    assert "hf_transfer is not installed" in finding.message
    words = in_words(broken.findings(HF_HOME="/elsewhere", ASSETMGR_LOCAL_CACHES="/no/cache"))
    assert "note variables: HF_HOME=/elsewhere: programs look there" in words
    assert "note variables: ASSETMGR_LOCAL_CACHES names /no/cache" in words


def test_a_token_for_another_host_is_found_and_never_shown(broken: Broken) -> None:
    token = "hf_canaryCANARYcanary"
    finding = broken.only("token", HF_TOKEN=token, HF_ENDPOINT="https://hub.lab")
    assert "looks like one of huggingface.co, and is sent to hub.lab" in finding.message
    wanted = Wanted(endpoints={"https://other.lab:8443": ("m", "n")})
    found = broken.findings(wanted, HF_TOKEN=token)
    assert "it is for huggingface.co, and not sent to other.lab:8443, which is asked for m, n" in in_words(found)
    assert "does not begin with hf_" in broken.only("token", HF_TOKEN="secret-of-lab").message
    assert "that in HF_TOKEN is for hub.lab" in in_words(broken.findings(HF_TOKEN="x", HF_ENDPOINT="https://hub.lab/"))
    assert "characters that no token has" in broken.only("token", HF_TOKEN="hf_“x”").message
    assert "canary" not in in_words(found) + finding.message


@pytest.mark.skipif(os.name == "nt", reason="modes")
def test_a_token_file_that_others_may_read_is_found(broken: Broken, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hf_abc\n")
    file.chmod(0o644)
    finding = broken.only("token", HF_TOKEN_PATH=str(file))
    assert finding.mend == f"chmod 600 {file}"
    file.chmod(0o600)
    assert "is for huggingface.co" in in_words(broken.findings(HF_TOKEN_PATH=str(file)))
    assert "sent to nobody" in in_words(broken.findings(HF_TOKEN_PATH=str(file), HF_HUB_DISABLE_IMPLICIT_TOKEN="1"))


def test_extras_that_a_pull_needs_are_errors_and_others_notes(broken: Broken) -> None:
    wanted = Wanted(extras={"url-list": ("laion",), "quantize": ("blip2",)})
    words = in_words(broken.findings(wanted))
    assert "error extras: img2dataset is not installed, needed for `url_list:`: laion" in words
    assert "note extras: bitsandbytes is not installed" in words
