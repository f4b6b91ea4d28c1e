"""Signatures of bundles: who signed, and every way in which that is not proved."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from assetmgr.bundle.signing import NAMESPACE, Signer, sign, verify
from assetmgr.errors import AssetError, IntegrityError, MissingExtraError, UsageError

pytestmark = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed: apt-get install openssh-client"
)

DATA = b'{"assets":[]}\n'


def keygen(path: Path, *options: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-N", "", "-C", "somebody", "-f", str(path), *(options or ("-t", "ed25519"))], check=True
    )
    return path


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the private keys of three people."""
    folder = tmp_path_factory.mktemp("keys")
    keygen(folder / "alice")
    keygen(folder / "bob", "-t", "ecdsa")
    keygen(folder / "mallory")
    return folder


def public(keys: Path, name: str) -> str:
    return (keys / f"{name}.pub").read_text()


def allowed(keys: Path, folder: Path, *lines: str) -> str:
    path = folder / "allowed_signers"
    path.write_text("# who may sign\n\n" + "".join(lines), encoding="utf-8")
    return str(path)


def test_who_signed_is_told_from_a_file_of_signers_a_public_key_and_a_folder_of_such(
    keys: Path, tmp_path: Path
) -> None:
    text = sign(DATA, str(keys / "alice"))
    names = allowed(keys, tmp_path, f"alice@lab.example {public(keys, 'alice')}", f"bob {public(keys, 'bob')}")
    found = verify(DATA, text, names)
    assert found.name == "alice@lab.example"
    assert found.fingerprint.startswith("SHA256:")
    folder = tmp_path / "signers"
    folder.mkdir()
    shutil.copy(keys / "bob.pub", folder / "bob.pub")
    shutil.copy(keys / "alice.pub", folder / "alice of the lab.pub")
    (folder / "notes.txt").write_text("nothing")
    assert verify(DATA, text, str(folder)) == Signer("alice_of_the_lab", found.fingerprint)
    assert verify(DATA, text, str(keys / "alice.pub")).name == "alice"
    assert verify(DATA, sign(DATA, str(keys / "bob")), str(folder)).name == "bob"
    assert verify(b"", sign(b"", str(keys / "alice")), names).name == "alice@lab.example"


def test_every_flipped_byte_of_data_or_signature_is_refused(keys: Path) -> None:
    text = sign(DATA, str(keys / "alice"))
    signers = str(keys / "alice.pub")
    for at in range(len(DATA)):
        changed = DATA[:at] + bytes([DATA[at] ^ 1]) + DATA[at + 1 :]
        with pytest.raises(IntegrityError, match="was changed"):
            verify(changed, text, signers)
    for at in range(40, len(text) - 60, 40):
        other = "A" if text[at] != "A" else "B"
        if text[at] != "\n":
            with pytest.raises(IntegrityError):
                verify(DATA, text[:at] + other + text[at + 1 :], signers)


def test_a_stranger_another_purpose_an_expired_key_and_no_signature_are_each_told_apart(
    keys: Path, tmp_path: Path
) -> None:
    signers = allowed(keys, tmp_path, f"alice {public(keys, 'alice')}")
    with pytest.raises(IntegrityError, match=r"signed by SHA256:\S+, which is not among the allowed signers"):
        verify(DATA, sign(DATA, str(keys / "mallory")), signers)
    with pytest.raises(IntegrityError, match="of something else"):
        verify(DATA, sign(DATA, str(keys / "alice"), "git"), signers)
    for nothing in (None, "", " \n"):
        with pytest.raises(IntegrityError, match="the bundle is not signed"):
            verify(DATA, nothing, signers, what="the bundle")
    for wrong in ("nonsense", "-----BEGIN PGP SIGNATURE-----\n", sign(DATA, str(keys / "alice")) + "x" * 100_000):
        with pytest.raises(IntegrityError, match="no SSH signature"):
            verify(DATA, wrong, signers)
    text = sign(DATA, str(keys / "alice"))
    for line in ('valid-before="20200101" ', 'namespaces="git" '):
        limited = allowed(keys, tmp_path, f"alice {line}{public(keys, 'alice')}")
        with pytest.raises(IntegrityError, match="not among the allowed signers"):
            verify(DATA, text, limited)
    good = allowed(keys, tmp_path, f'alice,bob namespaces="{NAMESPACE}" {public(keys, "alice")}')
    assert verify(DATA, text, good).name == "alice"


def test_what_is_wrong_with_the_keys_is_told_with_its_mend(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(fails: type[AssetError], what: str) -> None:
        key = str(tmp_path / "key")
        with pytest.raises(fails) as caught:
            sign(DATA, key) if what == "sign" else verify(DATA, "x", key)
        assert caught.value.mend

    told(UsageError, "sign")
    told(UsageError, "verify")
    (tmp_path / "key").write_text("no key at all\n")
    told(UsageError, "sign")
    (tmp_path / "key").write_bytes(b"\xff\xfe\x00")
    told(UsageError, "verify")
    (tmp_path / "key").unlink()
    (tmp_path / "key").mkdir()
    told(UsageError, "sign")
    told(UsageError, "verify")
    monkeypatch.setenv("PATH", str(tmp_path))
    shutil.copy(keys / "alice", tmp_path / "mine")
    with pytest.raises(MissingExtraError, match="ssh-keygen"):
        sign(DATA, str(tmp_path / "mine"))


def test_a_key_that_others_may_read_is_refused_in_ssh_keygens_words(keys: Path, tmp_path: Path) -> None:
    shutil.copy(keys / "alice", tmp_path / "open")
    (tmp_path / "open").chmod(0o644)
    with pytest.raises(UsageError, match="cannot sign"):
        sign(DATA, str(tmp_path / "open"))
