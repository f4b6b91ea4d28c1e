"""Decode one image. The only module that imports Pillow, and only when the first image is asked for."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from PIL.Image import Image


def decode(file: BinaryIO) -> Image | str:
    """Decode a whole image file as RGB, or say what is wrong with it.

    Everything is decoded here: Pillow by itself reads the header, and finds a truncated file only when the pixels are
    touched.
    """
    import PIL.Image

    try:
        with PIL.Image.open(file) as image:
            image.load()
            # What convert() does of an RGB image, but for copying the pixels, which takes a third of the whole time.
            decoded: Image = image._new(image.im) if image.mode == "RGB" else image.convert("RGB")
            return decoded
    except PIL.UnidentifiedImageError:
        return "cannot be decoded: no image that Pillow knows"
    except PIL.Image.DecompressionBombError as error:
        return str(error)
    # What Pillow's decoders raise over bytes that are not what they should be.
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, struct.error) as error:
        return f"cannot be decoded: {str(error).replace(f'{file!r}', 'the file')}"
