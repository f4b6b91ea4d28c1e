"""Which task is meant by what a model is tried on: a table."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from assetmgr.errors import UsageError
from assetmgr.models.trial import Given, check_given, choose_task

BLIP2 = ("caption", "answer", "generate")
RETRIEVAL = ("features", "match")
PHOTO = "photo.png"


@pytest.mark.parametrize(
    ("can", "given", "task"),
    [
        (BLIP2, Given(image=PHOTO), "caption"),
        (BLIP2, Given(image=PHOTO, question="why?"), "answer"),
        (BLIP2, Given(image=PHOTO, question="why?", prompt="Q: {question} A:"), "answer"),
        (BLIP2, Given(image=PHOTO, prompt="a photo of"), "generate"),
        (BLIP2, Given(image=PHOTO, texts=("a cat",)), None),
        (BLIP2, Given(question="why?"), None),
        (RETRIEVAL, Given(image=PHOTO, texts=("a cat",)), "match"),
        (("features",), Given(image=PHOTO, texts=("a cat",)), "features"),
        (RETRIEVAL, Given(image=PHOTO), "features"),
        (RETRIEVAL, Given(texts=("a cat", "a dog")), "features"),
        (("embed",), Given(texts=("a cat", "a dog")), "embed"),
        (("embed",), Given(image=PHOTO), None),
        (("generate",), Given(prompt="Once"), "generate"),
        ((), Given(image=PHOTO), None),
    ],
    ids=str,
)
def test_the_task_is_the_one_that_is_meant(can: tuple[str, ...], given: Given, task: str | None) -> None:
    assert choose_task(can, given) == task


def test_what_no_model_can_be_tried_on_is_told_before_one_is_loaded(tmp_path: Path) -> None:
    photo = tmp_path / PHOTO
    Image.new("RGB", (2, 2)).save(photo)
    for given, task, mend in (
        (Given(), None, "--image PICTURE, --text TEXT, or both"),
        (Given(image=str(tmp_path / "none.png")), None, "--image with the path of a file"),
        (Given(question="why?"), "answer", "add --image"),
        (Given(texts=("a cat",)), "caption", "add --image"),
        (Given(image=str(photo)), "match", "add --text"),
        (Given(image=str(photo)), "generate", "add --prompt"),
    ):
        with pytest.raises(UsageError) as caught:
            check_given(given, task)
        assert caught.value.mend == mend
    check_given(Given(image=str(photo)), "caption")
    photo.write_bytes(b"no picture")
    with pytest.raises(UsageError, match="cannot be read as an image"):
        check_given(Given(image=str(photo)), "caption")
