"""A store in which a form stands as the shipped catalog says it does after a pull; and what LAVIS itself gives there.

    python -m tests.lavis.shelf

in LAVIS's environment writes ``samples.json``: what its own classes give, by which the tests without it go.
"""

from __future__ import annotations

import functools
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assetmgr.catalog import Catalog, shipped_manifests
from assetmgr.datasets.variants import variant_of
from assetmgr.manifest import FilesSource
from assetmgr.verify import Installed
from tests.datasets.stored import store_asset
from tests.lavis.every_form import FORMS
from tests.lavis.forms import Form
from tests.support import Project

GOLDEN = Path(__file__).with_name("samples.json")


@functools.cache
def catalog() -> Catalog:
    return Catalog([], shipped_manifests())


def shelved(root: Path, name: str, form: Form) -> tuple[Installed, list[Installed]]:
    """Lay out a form's files, and describe its dataset and what that requires to a loader."""
    base, _, variant = name.partition("/")
    asset = catalog().get(name if name in catalog().names() else base)
    use: dict[str, Any] = dict(asset.use)
    formed = variant if asset.name != name else ""
    annotations = {place: data for place, data in form.files().items() if place not in form.media}
    if not asset.requires:
        return _formed(_stored(root, asset.name, form.files(), use), formed), []
    required = [
        store_asset(root, other, form.required[other], {}, kind="model", origin="files")
        if other in form.required
        else _stored(root, other, form.media, catalog().get(other).use)
        for other in asset.requires
    ]
    return _formed(_stored(root, asset.name, annotations, use), formed), required


def _formed(found: Installed, variant: str) -> Installed:
    return variant_of(found, variant) if variant else found


def _stored(root: Path, name: str, files: Mapping[str, bytes], use: Mapping[str, Any]) -> Installed:
    """An asset of files, each at the place that the catalog gives it; LAVIS's own folder where that has shards."""
    source = catalog().get(name).source
    places: set[str] = set()
    if isinstance(source, FilesSource):
        places = {file.extract.place if file.extract else file.place for file in source.files}
    placed = {}
    for name_in_store, data in files.items():
        place = next((place for place in places if name_in_store.startswith(f"{place}/")), None)
        place = place or "/".join(name_in_store.split("/")[:3])
        placed[name_in_store.removeprefix(f"{place}/")] = (place, data)
    return store_asset(
        root,
        name,
        {path: data for path, (_, data) in placed.items()},
        use,
        origin="files",
        places={path: place for path, (place, _) in placed.items()},
    )


def by_lavis(folder: Path, forms: Mapping[str, Form]) -> dict[str, Any]:
    """What LAVIS's own classes give for these forms, or why they give nothing; it runs in a process of its own."""
    project = Project(folder, endpoint="http://127.0.0.1:9")
    folder.mkdir(parents=True, exist_ok=True)
    standing: dict[str, bytes] = {}
    for name, form in forms.items():
        for place, data in form.files().items():
            assert standing.setdefault(place, data) == data, f"two forms want other bytes at {place}"
        shelved(project.root, name, form)
    # As one process of several: torch's threads would only stand in each other's way.
    env = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "OMP_NUM_THREADS": "1"}
    done = project.run("run", "--", sys.executable, "-m", "tests.lavis.by_lavis", *forms, env=env, timeout=280)
    outcome: dict[str, Any] = json.loads(done.out)
    return outcome


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        text = json.dumps(by_lavis(Path(scratch), FORMS), indent=1, ensure_ascii=False)
    GOLDEN.write_text(f"{text}\n", encoding="utf-8")
