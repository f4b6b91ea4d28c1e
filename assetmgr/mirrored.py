"""Assets that no manifest and no lock here knows, as mirrors tell of them.

What a mirror tells is believed no further than a lock of somebody else's: it is checked as one, every byte is proved by
it, a lock here goes before it, and who asked is told whose pins these are. What a manifest could say of the use of an
asset is held to a manifest's own rules; code to run is not taken from a mirror.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from assetmgr.carried import Carriage, Carried, Told
from assetmgr.catalog import nearest_names
from assetmgr.errors import AssetError, ManifestError, NotLockedError, OfflineError, OriginError, UnknownAssetError
from assetmgr.install import Wish
from assetmgr.inventory import Inventory, matches
from assetmgr.inventory_rows import ListedAsset
from assetmgr.manifest import parse_manifest
from assetmgr.manifest_urls import endpoint_fault
from assetmgr.mirrors.run import Mirrors
from assetmgr.names import asset_name_fault
from assetmgr.origins import Origins
from assetmgr.sheets import Sheets
from assetmgr.store import Store
from assetmgr.transfer.engine import Engine

_WishesOf: TypeAlias = Callable[[str], Sequence[Wish]]


def is_open(name: str, sheets: Sheets) -> bool:
    """Whether a mirror may say what a name stands for: no lock pins it, and no manifest of the user's has it."""
    sheet = sheets.of(name)
    return not asset_name_fault(name) and sheet.manifest is None and name not in sheets.locked(sheet).assets


def is_unknown(name: str, sheets: Sheets) -> bool:
    """Whether only a mirror can say it: no manifest that comes with assetmgr declares it either."""
    return is_open(name, sheets) and sheets.asset(name) is None


@dataclass(frozen=True, slots=True)
class Telling:
    """What the mirrors of a run told of one name.

    Attributes
    ----------
    name
        The asset's.
    mirror, carriage
        The first that tells of it, and what; None where no mirror does.
    differing
        The mirrors after it that tell of other bytes under this name.
    faults
        Why a mirror gave no answer, or none that is of use.
    """

    name: str
    mirror: str = ""
    carriage: Carriage | None = None
    differing: tuple[str, ...] = ()
    faults: tuple[tuple[str, AssetError], ...] = ()


def ask(name: str, mirrors: Mirrors, engine: Engine) -> Telling:
    """Ask every mirror for an asset."""
    answers = mirrors.ask(lambda mirror, read: mirror.carriage(name, read), engine)
    return judge(name, answers)


def judge(name: str, answers: Sequence[tuple[str, Carriage | AssetError | None]]) -> Telling:
    """What is to be made of the mirrors' answers: the first that tells of the asset is taken."""
    faults = tuple((mirror, answer) for mirror, answer in answers if isinstance(answer, AssetError))
    told = [(mirror, answer) for mirror, answer in answers if isinstance(answer, Carriage)]
    if not told:
        return Telling(name, faults=faults)
    (mirror, first), *others = told
    pins = _pins(first)
    return Telling(name, mirror, first, tuple(other for other, each in others if _pins(each) != pins), faults)


def _pins(carriage: Carriage) -> dict[str, str]:
    return {each.name: each.entry.digest() for each in carriage.assets}


class Asking:
    """What the mirrors of one run are asked for, and told.

    Parameters
    ----------
    installed
        Gives what was pulled before of a name and of all that it requires, itself last; nothing where it is not whole.
    locked
        Gives what locks here say of a name that is in one, and of all that it requires.

    Attributes
    ----------
    wishes
        What is to be pulled by that, required ones first.
    """

    def __init__(self, sheets: Sheets, origins: Origins, installed: _WishesOf, locked: _WishesOf) -> None:
        self._sheets, self._installed, self._locked = sheets, installed, locked
        self._store, self._mirrors = origins.context.store, origins.context.mirrors
        self._engine, self._say = origins.engine, origins.context.reporter.say
        self._asked: set[str] = set()
        self.wishes: dict[str, Wish] = {}

    def __contains__(self, name: str) -> bool:
        """Whether a name was asked for, in vain or not."""
        return name in self._asked

    def want_all(self, names: Iterable[str], errors: list[AssetError], *, locked: bool) -> None:
        """Ask for names; why one is not to be had is added to ``errors``. ``locked`` takes none from a mirror."""
        for name in names:
            self._asked.add(name)
            try:
                if locked:
                    raise NotLockedError(
                        f"{name}: in no manifest or lock here, and --locked takes no pins from a mirror",
                        mend=f"assetmgr pull {name}",
                    )
                self.want(name)
            except AssetError as error:
                errors += error.parts

    def want(self, name: str) -> None:
        """Add a name, and all that it requires, to the wishes.

        Raises
        ------
        UnknownAssetError
            When no mirror tells of it, and it is not installed.
        OriginError
            When no mirror answers, and it is not installed.
        LockError
            When what is told of it is not to be used.
        """
        told = ask(name, self._mirrors, self._engine())
        for mirror, error in told.faults:
            if not isinstance(error, OriginError):  # those are told at the end, with the mirrors that were left out
                self._say(f"mirror {mirror} tells nothing of use about {name}: {error.message}")
        if told.carriage is None:
            wishes = self._installed(name)
            if not wishes:
                raise self._nobody_tells(told)
            entry = wishes[-1].entry
            why = "no mirror tells of it" if self._mirrors else "in no manifest or lock here"
            self._say(f"{name}: {why}; taking it as it was pulled before{_version(entry.commit)}")
            for wish in wishes:
                self.wishes.setdefault(wish.entry.name, wish)
            return
        for other in told.differing:
            self._say(f"{name}: mirror {other} tells of other bytes than mirror {told.mirror}, which is asked first")
        for each in told.carriage.assets:
            self._add(each, told.mirror)

    def _add(self, each: Carried, mirror: str) -> None:
        if each.name in self.wishes:
            return
        if not is_open(each.name, self._sheets):
            for wish in self._locked(each.name):
                self.wishes.setdefault(wish.entry.name, wish)
            if self.wishes[each.name].entry.digest() != each.entry.digest():
                self._say(f"{each.name}: mirror {mirror} tells of other bytes than the lock here, which counts")
            return
        entry = each.entry
        what = f"{entry.repo} {entry.revision} at {entry.commit[:12]}, " if entry.repo else ""
        self._say(f"{each.name}: in no manifest or lock here; mirror {mirror} tells: {what}entry {entry.digest()[:12]}")
        pins = {name: self.wishes[name].entry.digest() for name in entry.requires}
        self.wishes[each.name] = told_wish(each, self._store, f"mirror {mirror}", self._say, pins=pins)

    def _nobody_tells(self, told: Telling) -> AssetError:
        """Why there is nothing to pull, by a look at what the mirrors have."""
        name, faults = told.name, dict(told.faults)
        known: list[str] = []
        tells: list[str] = []
        silent: list[str] = []
        for mirror, answer in self._mirrors.ask(lambda mirror, read: mirror.listed(read), self._engine()):
            if mirror in faults:
                continue
            if isinstance(answer, AssetError) or answer is None:
                silent.append(mirror)
            else:
                known += [each.name for each in answer]
                tells.append(mirror)
        what = f"{name}: in no manifest or lock here"
        if not self._mirrors:
            forbidden = ", ".join(self._mirrors.forbidden)
            return OfflineError(
                f"{what}, and --offline (or HF_HUB_OFFLINE) forbids to ask {forbidden}",
                mend=f"repeat without --offline: assetmgr pull {name} --mirror {self._mirrors.forbidden[0]}",
            )
        if tells:
            near = nearest_names(name, known)
            some = (
                ""
                if near or not known
                else f"; they have {', '.join(sorted(set(known))[:5])}" + (" and more" if len(set(known)) > 5 else "")
            )
            return UnknownAssetError(
                f"{what}, and no mirror tells of it{near or some}",
                mend=f"see what there is: assetmgr list --mirror {tells[0]}",
            )
        if silent:
            return UnknownAssetError(
                f"{what}, and mirror {silent[0]} gives bytes and tells of no asset",
                mend=f"where {name} is installed, `assetmgr mirror push` it there; or bring manifest and lock here",
            )
        mirror, error = told.faults[0]
        if isinstance(error, OriginError):
            return OriginError(
                f"{what}, and no mirror answers: {mirror}: {error.message}",
                mend=error.mend if error.is_absent else "repeat the command when the mirror is well again",
            )
        return type(error)(f"{what}, and mirror {mirror} is of no use: {error.message}", mend=error.mend)


def told_wish(
    each: Carried, store: Store, where: str, say: Callable[[str], object], *, pins: Mapping[str, str]
) -> Wish:
    """What is to be pulled by what somebody else told of an asset; ``where`` names them.

    Parameters
    ----------
    pins
        The digests of the entries of what it requires, as they are to be pulled.
    """
    receipt = store.read_receipt(each.entry)
    kept = receipt is not None and receipt.wanted_by
    return Wish(
        each.entry,
        # What a manifest said of the same bytes under this name stays said.
        use=receipt.use if receipt is not None and kept else _use(each, where, say),
        endpoint=None if each.endpoint is None or endpoint_fault(each.endpoint) else each.endpoint,
        receipt=receipt,
        pins=pins,
        made=each.made,
    )


def _use(each: Carried, where: str, say: Callable[[str], object]) -> dict[str, Any]:
    use = dict(each.use)
    load = use.get("load")
    if isinstance(load, dict) and ":" in str(load.get("class", "")):
        kind = where.partition(" ")[0]
        say(
            f"{each.name}: {where} names code that loads it ({str(load['class'])[:80]!a}), which is not "
            f"taken from a {kind}: declare it in a manifest of your own"
        )
        use["load"] = {key: value for key, value in load.items() if key not in ("class", "args", "kwargs")}
    if not use:
        return use
    source = {"hub": each.entry.repo} if each.entry.repo else {"files": [{"url": "./x"}]}
    plain = {"version": 1, f"{each.entry.kind}s": {each.name: {**use, **source}}}
    try:
        (asset,) = parse_manifest(json.dumps(plain, ensure_ascii=False), Path(where)).assets
    except (ManifestError, TypeError, ValueError):
        say(f"{each.name}: what {where} tells of its use no manifest may say; it is left out")
        return {}
    return dict(asset.use)


def _version(commit: str) -> str:
    return f", at {commit[:12]}" if commit else ""


def on_mirrors(
    origins: Origins, inventory: Inventory, pattern: str | None, *, kind: str | None = None
) -> list[ListedAsset]:
    """What the mirrors of a run have, the first that has a name going before others; see `Workspace.on_mirrors`."""
    found: dict[str, tuple[str, Told]] = {}
    faults: list[tuple[str, str]] = []
    answers = origins.context.mirrors.ask(lambda mirror, read: mirror.listed(read), origins.engine())
    for mirror, answer in answers:
        if isinstance(answer, AssetError):
            faults.append((mirror, answer.message))
        elif answer is None:
            faults.append((mirror, "it gives bytes, and tells of no asset"))
        else:
            for each in answer:
                found.setdefault(each.name, (mirror, each))
    if faults and len(faults) == len(answers):
        mirror, why = faults[0]
        mend = "see whether it is there; where it gives bytes alone, fill it anew by `assetmgr mirror push`"
        raise OriginError(f"mirror {mirror}: {why}", mend=mend)
    for mirror, why in faults:
        origins.context.reporter.say(f"mirror {mirror}: {why}")
    chosen = {name: one for name, one in found.items() if matches(name, pattern) and kind in (None, one[1].kind)}
    states = inventory.states_of({name: each.digest for name, (_, each) in chosen.items()})
    return [
        ListedAsset(
            name,
            each.kind,
            states[name],
            f"{'hub-dataset' if each.kind == 'dataset' else 'hub'}:{each.repo}" if each.repo else each.origin,
            files=each.files,
            bytes=each.bytes,
            license=each.license,
            mirror=mirror,
        )
        for name, (mirror, each) in sorted(chosen.items())
    ]
