"""Who made a bundle: SSH signatures, made and checked by OpenSSH's own ``ssh-keygen -Y``.

Why SSH signatures and not a library such as OpenSSF's model-signing: whoever keeps a lab's machines has an SSH key
already, often in an agent or on a token, and the lab knows whose it is; ``ssh-keygen`` (8.2 and newer) is on each of
those machines, air-gapped ones too, with no package to bring there and no service to ask; and its ``allowed_signers``
file says who may sign, for what and until when, as git has it. What model-signing does besides, a list of files with
their digests, the bundle is already: one signature over it covers every byte.

The format is that of OpenSSH's PROTOCOL.sshsig. A signature counts only in its namespace: one that was made over a git
commit, or for a login, is none over a bundle.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assetmgr.errors import IntegrityError, MissingExtraError, UsageError

NAMESPACE = "assetmgr-bundle"
# Bytes: an RSA key of 16,384 bits signs in less than a tenth of it.
LARGEST = 64 * 1024
# Seconds. Who signs may have a passphrase to type, or a token to touch.
_PATIENCE = 300.0
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_KEY_LINE = re.compile(r"(?:ssh-|ecdsa-|sk-ssh-|sk-ecdsa-)\S+[ \t]+[A-Za-z0-9+/=]+(?:[ \t]|$)")
_FINGERPRINT = re.compile(r"\bkey (SHA256:[A-Za-z0-9+/=]+)")


@dataclass(frozen=True, slots=True)
class Signer:
    """Whose signature it is.

    Attributes
    ----------
    name
        As the allowed signers' file has it; of a lone public key, its file's name.
    fingerprint
        Of the key, as ``ssh-keygen -l`` prints it.
    """

    name: str
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.name} ({self.fingerprint})"


def sign(data: bytes, key: str, namespace: str = NAMESPACE) -> str:
    """Sign with a private key, or with the one in the agent that a public key names.

    Raises
    ------
    UsageError
        When nothing can be signed with it.
    MissingExtraError
        When there is no ssh-keygen.
    """
    path = os.path.expanduser(key)
    if not os.path.isfile(path):
        raise UsageError(
            f"{key}: no such key", mend="name a private SSH key, such as ~/.ssh/id_ed25519; ssh-keygen makes one"
        )
    done = _run("sign", "-f", path, "-n", namespace, data=data)
    text = done.stdout.decode("ascii", "replace")
    if done.returncode or _BEGIN not in text:
        raise UsageError(
            f"{key}: cannot sign: {_words(done.stderr)}",
            mend=f"name a private SSH key that `ssh-keygen -y -f {key}` can read, or a public one whose agent runs",
        )
    return text


def verify(data: bytes, signature: str | None, keys: str, namespace: str = NAMESPACE, *, what: str = "it") -> Signer:
    """Say who signed.

    Parameters
    ----------
    signature
        As `sign` gave it; None or empty where there is none.
    keys
        An ``allowed_signers`` file, a file of public keys, or a folder of such (``*.pub``).
    what
        Names the data in messages.

    Raises
    ------
    IntegrityError
        When it is not signed, by nobody of those, or was changed since.
    UsageError
        When there are no keys there.
    MissingExtraError
        When there is no ssh-keygen.
    """
    allowed = _allowed(keys, namespace)
    if not signature or not signature.strip():
        raise IntegrityError(
            f"{what} is not signed", mend="get one that was made with --sign, or leave out --verify-with to trust it"
        )
    if len(signature) > LARGEST or not (signature.startswith(_BEGIN) and signature.rstrip().endswith(_END)):
        raise IntegrityError(f"{what}: its signature is no SSH signature", mend=_ANEW)
    with tempfile.TemporaryDirectory(prefix="assetmgr-") as folder:
        at, signers = Path(folder, "signature"), Path(folder, "signers")
        at.write_text(signature, encoding="utf-8", newline="\n")
        signers.write_text(allowed, encoding="utf-8", newline="\n")
        seen = _run("check-novalidate", "-n", namespace, "-s", str(at), data=data)
        if seen.returncode:
            raise IntegrityError(
                f"{what} was changed after it was signed, or its signature is of something else: {_words(seen.stderr)}",
                mend=_ANEW,
            )
        found = _FINGERPRINT.search(seen.stdout.decode("utf-8", "replace"))
        fingerprint = found[1] if found else "a key without a fingerprint"
        listed = _run("find-principals", "-f", str(signers), "-s", str(at))
        names = listed.stdout.decode("utf-8", "replace").replace(",", "\n").split("\n") if not listed.returncode else []
        why = ""
        for name in filter(None, map(str.strip, names)):
            done = _run("verify", "-f", str(signers), "-I", name, "-n", namespace, "-s", str(at), data=data)
            if not done.returncode:
                return Signer(name, fingerprint)
            why = _words(done.stderr) or _words(done.stdout)
    raise IntegrityError(
        f"{what} is signed by {fingerprint}, which is not among the allowed signers of {keys}"
        + (f" for this: {why}" if why else ""),
        mend=f"have it signed by one of those; or, if you know whose key that is, add the public key to {keys}",
    )


_ANEW = "get it anew from who made it, and trust nothing in this one"


def _run(action: str, *arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise MissingExtraError(
            "signatures are made and checked by ssh-keygen, which is not installed",
            mend="install OpenSSH's client: apt-get install openssh-client, or your system's package of it",
        )
    try:
        return subprocess.run(
            [program, "-Y", action, *arguments],
            input=data,
            capture_output=True,
            check=False,
            timeout=_PATIENCE,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"ssh-keygen -Y {action} did not end in {_PATIENCE:.0f} s",
            mend="unlock the key with ssh-add before, and repeat the command",
        ) from None


def _words(said: bytes) -> str:
    """What ssh-keygen said, in one line."""
    lines = [line.strip().rstrip(".\r") for line in said.decode("utf-8", "replace").splitlines()]
    kept = [line for line in lines if line and "@@@" not in line]
    text = "; ".join(kept)[:300]
    return "".join(char if char.isprintable() else " " for char in text) or "ssh-keygen does not say why"


def _allowed(keys: str, namespace: str) -> str:
    """The text of an allowed signers' file."""
    path = Path(os.path.expanduser(keys))
    mend = "name an allowed_signers file, a public key (id_ed25519.pub), or a folder of such"
    try:
        if not path.is_dir():
            lines = list(_lines(path))
            if lines and not any(map(_KEY_LINE.match, lines)):
                return "\n".join(lines) + "\n"  # as it is: ssh-keygen reads it
            found = [(path, lines)]
        else:
            found = [(each, list(_lines(each))) for each in sorted(path.glob("*.pub")) if each.is_file()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{keys}: {getattr(error, 'strerror', None) or error}", mend=mend) from None
    signers = [
        f'{_principal(each)} namespaces="{namespace}" {line}'
        for each, lines in found
        for line in lines
        if _KEY_LINE.match(line)
    ]
    if not signers:
        raise UsageError(f"{keys}: no public key is there", mend=mend)
    return "\n".join(signers) + "\n"


def _lines(path: Path) -> Iterator[str]:
    if path.stat().st_size > (1 << 24):
        raise OSError(27, "too large for a list of public keys")
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        if (text := line.strip()) and not text.startswith("#"):
            yield text


def _principal(path: Path) -> str:
    """A public key's file as a name that means nothing else in an allowed signers' file."""
    return re.sub(r"[^\w.@+-]", "_", path.stem) or "key"
