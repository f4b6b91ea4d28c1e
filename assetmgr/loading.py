"""The calls that research code makes: `load_model`, LAVIS's `load_model_and_preprocess`, and `load_dataset`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from assetmgr.typed import Typed
from assetmgr.workspace import Check, Workspace

if TYPE_CHECKING:
    import torch

    from assetmgr.datasets import Dataset, VisPath
    from assetmgr.models import LoadedModel


def load_model(
    name: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    quantize: str | None = None,
    into: torch.nn.Module | None = None,
    manifest: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    verify: Check = "quick",
) -> LoadedModel:
    """Load an installed model from proved files, with its processor, without a network.

    Parameters
    ----------
    name
        The asset's name. What is installed is found by its receipt; a manifest is not needed.
    device
        ``auto`` (a CUDA device, then Apple's, then the CPU), or torch's own name: ``cpu``, ``cuda:1``, ``mps``.
    dtype
        ``float32``, ``float16``, ``bfloat16``; ``auto`` takes the manifest's ``load: {dtype: ...}``, else the one that
        the weights were saved in.
    quantize
        ``int8`` or ``nf4``, through bitsandbytes. None takes the manifest's; ``none`` is none whatever it says.
    into
        Your own module, for the weights to go into. It keeps its parameters, and its device and dtype where nothing
        else is said. Names and shapes must fit, all of them.
    manifest, root
        See `Workspace`.
    verify
        ``quick`` proves by stamps (and by hashing what has none), ``full`` hashes every file, ``none`` trusts.

    Returns
    -------
    LoadedModel
        With ``model``, ``processor``, ``device`` and ``dtype``.

    Raises
    ------
    NotInstalledError
        When it is not in the store.
    IntegrityError
        When a file is not what the lock says.
    """
    with Typed.of(manifest, root).errors():
        workspace = Workspace([manifest] if manifest else None, root)
        return workspace.load_model(name, device=device, dtype=dtype, quantize=quantize, into=into, verify=verify)


def load_model_and_preprocess(
    name: str, model_type: str, is_eval: bool = False, device: str | torch.device = "cpu"
) -> tuple[Any, Any, Any]:
    """LAVIS's own call, by LAVIS itself where it is installed: on proved files, offline, and strict about weights.

    Parameters
    ----------
    name, model_type
        LAVIS's names, as `model_zoo` has them: ``"blip_caption", "base_coco"``.
    is_eval
        Whether the model is put into evaluation mode.
    device
        A `torch.device` or its name.

    Returns
    -------
    tuple
        LAVIS's model, and its processors of images and of texts: dicts with ``train`` and ``eval``.

    Raises
    ------
    UnknownAssetError
        When there is no such name or type; with the nearest.
    UsageError
        When LAVIS is not installed here; with the twin of the model that `load_model` loads.
    NotInstalledError
        When the model, or what it requires, is not in the store.
    IntegrityError
        When a file is not what the lock says, or the weights are not those of the model.
    """
    return Workspace().load_model_and_preprocess(name, model_type, is_eval=is_eval, device=device)


def load_dataset(
    name: str,
    *,
    split: str | None = None,
    vis_path: VisPath | None = None,
    missing: Literal["defer", "error", "skip"] = "defer",
    transform: Callable[[dict[str, Any]], Any] | None = None,
    config_name: str | None = None,
    manifest: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    verify: Check = "quick",
) -> dict[str, Dataset] | Dataset:
    """Open an installed dataset from proved files: a dict of split -> map-style dataset, or one split.

    Parameters
    ----------
    name
        The asset's name. What is installed is found by its receipt; a manifest is not needed.
    split
        One split's name: that dataset alone is returned.
    vis_path
        A folder of images to use in place of the asset's own, or a zip or a tar of them, which stays packed; several
        are looked into in order.
    missing
        What to do about images that are not there: ``defer`` raises at the sample, ``error`` before the first sample,
        ``skip`` leaves those rows out.
    transform
        A function that each sample is passed through; what it returns is what an index gives. For spawned workers it
        must be picklable.
    config_name
        Of a dataset that the `datasets` library reads: which of its configurations; else the manifest's
        ``load: {config_name: ...}``, else the dataset's own default.
    manifest, root
        See `Workspace`.
    verify
        ``quick`` proves the annotations, the prepared tables and packed archives of media by their stamps (and by
        hashing what has none); ``full`` hashes every file of the dataset and of what it requires; ``none`` trusts. But
        for ``none``, each image or video is checked against its asset's listing when it is touched.

    Raises
    ------
    NotInstalledError
        When it is not in the store.
    IntegrityError
        When a file is not what the lock says.
    """
    typed = Typed.of(manifest, root)
    with typed.errors():
        loaded = Workspace([manifest] if manifest else None, root).load_dataset(
            name,
            split=split,
            vis_path=vis_path,
            missing=missing,
            transform=transform,
            config_name=config_name,
            verify=verify,
        )
    for dataset in loaded.values() if isinstance(loaded, dict) else [loaded]:
        dataset.typed = typed
    return loaded
