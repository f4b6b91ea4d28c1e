"""Decode one image. The only module that imports Pillow, and only when the first image is asked for."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


def decode(path: str) -> Image | str:
    """Decode a whole image file as RGB, or say what is wrong with it.

    Everything is decoded here: Pillow by itself reads the header, and finds a truncated file only when the pixels are
    touched.
    """
    import PIL.Image

    try:
        file = open(path, "rb")  # noqa: SIM115 (closed below; opened apart, so that its errors are not the decoder's)
    except (FileNotFoundError, NotADirectoryError):
        return "no such file"
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        return f"cannot be read: {error.strerror}"
    with file:
        try:
            with PIL.Image.open(file) as image:
                image.load()
                decoded: Image = image.convert("RGB")
                return decoded
        except PIL.Image.DecompressionBombError as error:
            return str(error)
        # What Pillow's decoders raise over bytes that are not what they should be.
        except (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, struct.error) as error:
            return f"cannot be decoded: {str(error).replace(f'{file!r}', 'the file')}"
