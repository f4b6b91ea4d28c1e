"""The images that a model is given: PIL's, or files of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Union

from assetmgr.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

# One image: PIL's, or the path of a file.
Picture = Union["Image", str, os.PathLike[str]]


def open_picture(picture: Picture) -> Image:
    """The image in RGB, as LAVIS and the README's code read it: ``Image.open(path).convert("RGB")``.

    Raises
    ------
    UsageError
        When there is no such file, it is no whole image, or this is neither an image nor a path.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise MissingExtraError(
            "Pillow, which reads images, is not installed", mend="pip install 'assetmgr[transformers]'"
        ) from None
    rgb: Image.Image
    if isinstance(picture, Image.Image):
        rgb = picture.convert("RGB")
        return rgb
    if not isinstance(picture, (str, os.PathLike)):
        raise UsageError(f"an image is PIL's, or a path; this is a {type(picture).__name__}")
    path = os.fspath(picture)
    try:
        with Image.open(path) as image:
            rgb = image.convert("RGB")
            return rgb
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UsageError(f"{path}: cannot be read as an image: {why}") from None


def open_pictures(pictures: Picture | Sequence[Picture]) -> list[Image]:
    """One image or several, in RGB. See `open_picture`."""
    if isinstance(pictures, (list, tuple)):
        return [open_picture(picture) for picture in pictures]
    return [open_picture(pictures)]  # type: ignore[arg-type]
