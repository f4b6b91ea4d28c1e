"""Every failure that assetmgr can name, as one tree.

::

    AssetError                       1   anything unexpected; the root of the tree
    ├── ManifestError                2   a manifest is wrong: every mistake in it, each with file:line:column
    ├── UsageError                   2   a command or call asked for something that cannot be
    │   ├── UnknownAssetError        2   a name that no manifest declares
    │   └── UnknownSplitError        2   a split that the dataset has not; a KeyError too
    ├── LockError                    2   a lock document is invalid, or its entries contradict each other
    │   ├── LockConflictError        2   a merge left both sides in a lock: to choose one is its owner's
    │   └── LockVersionError         2   a lock or receipt written by a newer assetmgr
    ├── PatternError                 2   patterns that select no file
    ├── IntegrityError               3   bytes, names or links are not what the lock says
    │   ├── UnsafeNameError          3   a name from outside that must never become a path
    │   └── ChangedOutcomeError      3   a list or a script gives now what is not the outcome that was pinned
    ├── NotInstalledError            4   not in the store, or not proved
    ├── NotLockedError               4   not in the lock
    │   └── StaleLockError           4   in the lock, but as the manifest once was
    ├── OriginError                  5   the origin or the network failed
    │   ├── RepoNotFoundError        5   the hub has no such repo, or shows it to nobody without a token
    │   │   └── WrongKindError       5   it exists, but as the other kind of repo
    │   ├── RevisionNotFoundError    5   the repo has no such branch, tag or commit
    │   └── OfflineError             5   the network is needed and --offline forbids it
    ├── DiskSpaceError               6   it does not fit
    ├── MemorySpaceError             6   a model's weights do not fit into the memory of their device
    ├── AccessError                  7   a token, a licence, a membership or the right to write is missing
    │   └── FetchByHandError         7   a file that no program may fetch, and nobody has handed in yet
    ├── BusyError                    8   another process holds it past the wait
    ├── MissingExtraError            1   an optional library is not installed
    └── SeveralErrors                -   several assets failed; the code of the gravest

A leaf carries the exit code of the command line (``exit_code``) and, in ``mend``, the command or the edit that
puts it right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple


class AssetError(Exception):
    """The root of every error that assetmgr raises on purpose.

    Parameters
    ----------
    message
        What happened, to which asset and file, what was expected and what was found.
    mend
        What to type or to change, in one sentence.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, mend: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend

    @property
    def parts(self) -> tuple[AssetError, ...]:
        """The failures that it tells of: itself, or each of several."""
        return (self,)

    def __str__(self) -> str:
        return f"{self.message}\n  mend: {self.mend}" if self.mend else self.message

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)

    @property
    def code(self) -> int:
        """The exit code for this very error."""
        return self.exit_code


def _rebuild(kind: type[AssetError], args: tuple[object, ...], state: dict[str, object]) -> AssetError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class Problem(NamedTuple):
    """One mistake in a manifest: where it stands and what is wrong with it. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class ManifestError(AssetError):
    """A manifest is wrong. Carries every mistake found, not only the first."""

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UsageError(AssetError):
    exit_code = 2


class UnknownAssetError(UsageError):
    pass


class UnknownSplitError(UsageError, KeyError):
    pass


class LockError(AssetError):
    exit_code = 2


class LockConflictError(LockError):
    pass


class LockVersionError(LockError):
    pass


class PatternError(AssetError):
    exit_code = 2


class IntegrityError(AssetError):
    exit_code = 3


class UnsafeNameError(IntegrityError):
    pass


class ChangedOutcomeError(IntegrityError):
    pass


class NotInstalledError(AssetError):
    exit_code = 4


class NotLockedError(AssetError):
    exit_code = 4


class StaleLockError(NotLockedError):
    pass


class OriginError(AssetError):
    """The origin or the network failed. ``is_absent``: who was asked is well, and has no such file."""

    exit_code = 5
    is_absent = False


class RepoNotFoundError(OriginError):
    pass


class WrongKindError(RepoNotFoundError):
    pass


class RevisionNotFoundError(OriginError):
    pass


class OfflineError(OriginError):
    pass


class DiskSpaceError(AssetError):
    exit_code = 6


class MemorySpaceError(AssetError):
    exit_code = 6


class AccessError(AssetError):
    exit_code = 7


class FetchByHandError(AccessError):
    pass


class BusyError(AssetError):
    exit_code = 8


class MissingExtraError(AssetError):
    pass


# The gravest first: wrong bytes, then what a person must grant, then what may pass by itself.
GRAVITY = (3, 7, 6, 5, 8, 4)


class SeveralErrors(AssetError):
    """Several assets failed, each in its own way. Every error is in ``errors``; the rest of the work was done."""

    def __init__(self, errors: Sequence[AssetError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(str(error) for error in self.errors))

    @property
    def parts(self) -> tuple[AssetError, ...]:
        return self.errors

    @property
    def code(self) -> int:
        codes = {error.code for error in self.errors}
        return next((code for code in GRAVITY if code in codes), min(codes, default=1))


def named(error: AssetError, asset: str, file: str) -> AssetError:
    """The same error, that also says which asset and file it befell."""
    label = f"{asset}: "
    message = error.message if error.message.startswith(label) else f"{label}{file}: {error.message}"
    return type(error)(message, mend=error.mend or f"correct {file} of {asset} in the manifest")


def about(error: AssetError, asset: str) -> AssetError:
    """The same error, that also says which asset it befell."""
    if error.message.startswith((f"{asset}:", f"{asset} ")):
        return error
    return type(error)(f"{asset}: {error.message}", mend=error.mend)


def raise_all(errors: Sequence[AssetError]) -> None:
    """Raise nothing, the one error, or all of them as one."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise SeveralErrors(errors)
