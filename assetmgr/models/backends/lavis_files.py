"""While LAVIS loads a model, it and the libraries under it find the model's proved files, and ask no network.

`assetmgr run` sees to that for a whole program, by variables and a hook. Here it is one call inside somebody's own
program, which may have imported any of these libraries before, with another cache or online: they are told otherwise
for as long as the call lasts, and are as they were afterwards.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
import threading
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn
from urllib.parse import urlsplit

import torch

from assetmgr.errors import AssetError, MissingExtraError, NotInstalledError
from assetmgr.hook.assetmgr_hook.on_import import Watcher
from assetmgr.hook.assetmgr_hook.without_cuda import declare_operators
from assetmgr.models.weights.checkpoints import PICKLED, check_pickled
from assetmgr.store import Layout
from assetmgr.verify import Installed

# The settings that are changed belong to the whole process.
_one_at_a_time = threading.RLock()


def import_lavis(name: str) -> Any:
    """LAVIS, imported as `assetmgr run` would have it.

    Raises
    ------
    MissingExtraError
        When it is not installed.
    AssetError
        When it is installed, among libraries with which it does not work.
    """
    watcher = Watcher()
    watcher.after("torchvision.extension", declare_operators)
    sys.meta_path.insert(0, watcher)
    mend = "an environment that works: assetmgr requirements lavis"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of its libraries about one another
            lavis = importlib.import_module("lavis")
            importlib.import_module("lavis.models")
    except ModuleNotFoundError as error:
        if error.name == "lavis":
            raise MissingExtraError(f"{name}: LAVIS, which loads it, is not installed", mend=mend) from None
        raise AssetError(f"{name}: LAVIS is installed, and what it imports is not: {error.name}", mend=mend) from error
    except Exception as error:
        what = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        what = f"{type(error).__name__}: {what}"
        raise AssetError(f"{name}: LAVIS is installed, but cannot be imported: {what}", mend=mend) from error
    finally:
        sys.meta_path.remove(watcher)
    return lavis


@contextlib.contextmanager
def only_proved(found: Installed, required: Sequence[Installed], checkpoint: str | None) -> Iterator[None]:
    """Let LAVIS find these assets' files alone, by the names that it asks for.

    Parameters
    ----------
    checkpoint
        The name by which LAVIS asks for the model's own checkpoint. A file of another name stands in for it where it is
        the only one of the asset: weights of one's own.
    """
    files = _by_name([found, *required])
    own = list(_by_name([found]).values())
    for asset in (found, *required):
        for file in asset.files:
            if file.path.endswith(PICKLED) and file.place != "clip":  # CLIP's are TorchScript, read by their own loader
                check_pickled(asset.name, file.path, asset.store.at(Layout(asset.entry).name(file)))
    if checkpoint is not None and len(own) == 1:
        files.setdefault(checkpoint, own[0])

    def refuse(url: object, *_: object, **__: object) -> NoReturn:
        asked = os.path.basename(urlsplit(str(getattr(url, "full_url", url))).path)
        raise NotInstalledError(
            f"{found.name}: LAVIS asks for {asked}, which is neither a file of {found.name} nor of what it requires",
            mend=f"add the asset that has {asked} to `requires` of {found.name} in the manifest, then: "
            f"assetmgr lock {found.name} && assetmgr pull {found.name}",
        )

    def find(url: str, *_: object, **__: object) -> str:
        return files.get(os.path.basename(urlsplit(url).path)) or refuse(url)

    with (
        _one_at_a_time,
        tempfile.TemporaryDirectory(prefix="assetmgr-lavis-") as folder,
        contextlib.ExitStack() as stack,
    ):
        checkpoints = Path(folder, "checkpoints")
        checkpoints.mkdir()
        for name, path in files.items():
            _show(path, checkpoints / name)

        def change(module: str, **settings: object) -> None:
            there = sys.modules.get(module)
            for setting, value in settings.items():
                if hasattr(there, setting):
                    stack.enter_context(_changed(vars(there), setting, value))

        hub = os.path.join(found.store.root, "hub")
        change("torch.hub", _hub_dir=folder, download_url_to_file=refuse)
        change("torch", load=_load_tensors)
        change("timm.models.hub", download_url_to_file=refuse)
        change("transformers.utils.hub", TRANSFORMERS_CACHE=hub, _is_offline_mode=True)
        change("lavis.models.clip_models.model", download_pretrained=find)
        nobody = SimpleNamespace(request=SimpleNamespace(urlopen=refuse), parse=importlib.import_module("urllib.parse"))
        change("lavis.models.clip_models.pretrained", urllib=nobody)
        paths = sys.modules["lavis"].registry.mapping["paths"]
        stack.enter_context(_changed(paths, "cache_root", os.path.join(found.store.root, "lavis")))
        yield


def _by_name(assets: Sequence[Installed]) -> dict[str, str]:
    """The proved files by the last part of their names: LAVIS knows no more of them. What is a hub's it finds there."""
    return {
        os.path.basename(file.path): asset.store.at(Layout(asset.entry).name(file))
        for asset in assets
        if asset is assets[0] or not asset.entry.repo
        for file in asset.files
    }


def _show(path: str, name: Path) -> None:
    try:
        name.symlink_to(path)
    except OSError:  # as on Windows, without the right to
        os.link(path, name)


@contextlib.contextmanager
def _changed(settings: Any, name: str, value: object) -> Iterator[None]:
    before = settings[name]
    settings[name] = value
    try:
        yield
    finally:
        settings[name] = before


_load = torch.load


def _load_tensors(file: Any, *arguments: Any, **options: Any) -> Any:
    """``torch.load`` of nothing but tensors and plain data, mapped where it can be: a copy in memory less."""
    options["weights_only"] = True
    if isinstance(file, str | os.PathLike) and zipfile.is_zipfile(file):
        options["mmap"] = True
    return _load(file, *arguments, **options)
