"""The `url_list` origin: a list of images' URLs, fetched into webdataset shards by img2dataset."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from assetmgr.digests import Hasher, in_parallel
from assetmgr.errors import DiskSpaceError, IntegrityError, LockError, OfflineError, OriginError
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.manifest import Asset, UrlListSource
from assetmgr.origins.img2dataset_run import Plan, forget, plan_of, run, stats_of
from assetmgr.origins.made import Ingredients, Job, MadeFile, Outcome
from assetmgr.origins.shards import INDEX, Shard, index_lines, read_shard
from assetmgr.placing import make_folder
from assetmgr.receipt import Stamp

# How many different reasons of failure are told of a shard.
_REASONS = 10
# Bytes: with less, a disk is full.
_ROOM = 1 << 20


class Recipe(msgspec.Struct, forbid_unknown_fields=True):
    """What decides about the outcome, as the lock has it."""

    format: Literal["json", "jsonl", "csv", "tsv", "txt", "parquet"]
    url_col: str = "url"
    caption_col: str | None = None
    image_col: str | None = None
    rows: str | None = None
    columns: list[str] | None = None
    resize_mode: Literal["no", "border", "keep_ratio", "keep_ratio_largest", "center_crop"] = "no"
    image_size: int = 256
    shard_size: int | None = None
    min_success: float = 0.7


class UrlListMaker:
    """Makes shards and their index of a list."""

    def ingredients(self, asset: Asset) -> Ingredients:
        source = asset.source
        assert isinstance(source, UrlListSource)
        recipe = msgspec.convert(dict(source.recipe), Recipe)
        return Ingredients((source.file,), source.place, msgspec.to_builtins(recipe))

    def make(self, job: Job) -> Outcome:
        entry, recipe = job.entry, recipe_of(job.entry)
        listed = next(file for file in entry.files if file.extract is not None)
        known: dict[str, dict[str, int]] = job.facts.get("shards", {})
        have = {path[:-4]: file for path, file in job.have.items() if path.endswith(".tar") and path in known}
        if not known or len(have) < len(known):
            self._fetch(job, recipe, listed, {name: sum(known[f"{name}.tar"].values()) for name in have})
        plan = plan_of(job.folder) or Plan(**job.facts["plan"])
        counts = {
            f"{name}.tar": known[f"{name}.tar"] if name in have else _counted(job, plan, name) for name in plan.names()
        }
        _check_share(job, plan, recipe.min_success, counts)
        shards = _read(job, plan, have, {name: count["success"] for name, count in counts.items()})
        index = _write_index(job.folder, shards)
        made = (MadeFile(os.path.basename(each.path), each.size, each.sha256, each.path, each.stamp) for each in shards)
        return Outcome((index, *made), facts_of(plan, counts, job.tuning))

    def _fetch(self, job: Job, recipe: Recipe, listed: LockedFile, have: Mapping[str, int]) -> None:
        name = job.entry.name
        if job.context.offline:
            raise OfflineError(
                f"{name}: its images are not all in the store, and --offline (or HF_HUB_OFFLINE) forbids to fetch them",
                mend=f"assetmgr pull {name}",
            )
        run(
            job.folder,
            asset=name,
            listed=job.at(listed),
            name=listed.path,
            recipe=msgspec.to_builtins(recipe),
            tuning=job.tuning,
            have=have,
            reporter=job.context.reporter,
        )


def recipe_of(entry: LockedAsset) -> Recipe:
    """The recipe of an entry, checked."""
    try:
        return msgspec.convert(entry.recipe, Recipe)
    except msgspec.ValidationError as error:
        raise LockError(f"{entry.name}: its recipe: {error}", mend=f"assetmgr lock --upgrade {entry.name}") from None


def _counted(job: Job, plan: Plan, name: str) -> dict[str, int]:
    """What became of a shard's rows: ``success``, and each reason why not."""
    stats, rows = stats_of(job.folder, name), plan.rows_of(name)
    if stats is not None and stats.count == rows and os.path.isfile(os.path.join(job.folder, "shards", f"{name}.tar")):
        return reasons(stats.status_dict, stats.successes, rows)
    log, again = os.path.join(job.folder, "log.txt"), f"assetmgr pull {job.entry.name}"
    with contextlib.suppress(OSError), open(log, errors="replace") as file:
        full = any("No space left on device" in line or "Errno 122" in line for line in file)
        if full or shutil.disk_usage(job.folder).free < _ROOM:
            raise DiskSpaceError(
                f"{job.entry.name}: {job.folder}: the disk is full", mend=f"free some space, and go on: {again}"
            )
    raise OriginError(
        f"{job.entry.name}: img2dataset ended without shard {name} of {sum(1 for _ in plan.names())}",
        mend=f"what is done stays, and is gone on with: {again}; what img2dataset printed is in {log}",
    )


def reasons(status: Mapping[str, int], successes: int, rows: int) -> dict[str, int]:
    """The same, of few reasons: the rare ones together. What img2dataset lost without a word is told too."""
    failed = Counter({reason[:120]: count for reason, count in status.items() if reason != "success"})
    told = dict(failed.most_common(_REASONS))
    if rest := rows - successes - sum(told.values()):
        told["other"] = told.get("other", 0) + rest
    return {"success": successes, **told}


def facts_of(plan: Plan, counts: Mapping[str, Mapping[str, int]], tuning: Mapping[str, Any]) -> dict[str, Any]:
    """How an outcome came about, for the receipt."""
    total = _total(counts.values())
    return {
        "engine": plan.engine,
        "distributor": tuning.get("distributor", "multiprocessing"),
        "plan": msgspec.to_builtins(plan),
        "rows": plan.rows,
        "successes": total["success"],
        "failures": {reason: count for reason, count in total.most_common() if reason != "success"},
        "shards": {name: dict(count) for name, count in counts.items()},
    }


def _total(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return total


def _check_share(job: Job, plan: Plan, least: float, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Refuse an outcome of which too little came; have the shards made anew then that lack so much."""
    total = _total(counts.values())
    if total["success"] >= least * plan.rows:
        return
    name, came = job.entry.name, total.pop("success")
    for shard, count in counts.items():
        if count["success"] < least * sum(count.values()):
            forget(job.folder, shard[:-4])
    why = ", ".join(f"{count:,} x {reason}" for reason, count in total.most_common(5))
    raise OriginError(
        f"{name}: {came:,} of {plan.rows:,} images came ({came / plan.rows:.1%}), and {least:.0%} must: {why}",
        mend=f"ask again for what lacks: assetmgr pull {name}; or take less: a lower `min_success:` of {name} in the "
        f"manifest, then: assetmgr lock {name} && assetmgr pull {name}",
    )


def _read(job: Job, plan: Plan, have: Mapping[str, MadeFile], successes: Mapping[str, int]) -> list[Shard]:
    """Read every shard and prove it. One that is damaged, or lacks an image, is made anew by the next run."""
    originals = recipe_of(job.entry).resize_mode == "no"
    folder = os.path.join(job.folder, "shards")
    paths = [have[name].at if name in have else os.path.join(folder, f"{name}.tar") for name in plan.names()]
    with job.context.reporter.progress(f"proving {job.entry.name}", sum(map(os.path.getsize, paths))) as bar:

        def read(path: str) -> Shard | IntegrityError:
            try:
                shard = read_shard(path, originals=originals, progress=bar.add)
            except IntegrityError as error:
                return error
            count = successes[os.path.basename(path)]
            if len(shard.pictures) == count:
                return shard
            return IntegrityError(f"{path}: it has {len(shard.pictures)} images, and {count} are said to have come")

        found = dict(in_parallel(read, paths))
    for path, shard in found.items():
        if isinstance(shard, IntegrityError):
            if os.path.dirname(path) == folder:
                forget(job.folder, os.path.basename(path)[:-4])
            again = f"it is made anew by: assetmgr pull {job.entry.name}"
            raise IntegrityError(f"{job.entry.name}: {shard.message}", mend=again)
    return [shard for path in paths if isinstance(shard := found[path], Shard)]


def _write_index(folder: str, shards: Sequence[Shard]) -> MadeFile:
    make_folder(folder)
    path = os.path.join(folder, INDEX)
    hasher = Hasher()
    with open(path, "wb") as file:
        for line in index_lines((os.path.basename(shard.path), shard.pictures) for shard in shards):
            hasher.update(line)
            file.write(line)
        file.flush()
        status = os.fstat(file.fileno())
    return MadeFile(INDEX, hasher.count, hasher.digests()["sha256"], path, Stamp.of(status))
