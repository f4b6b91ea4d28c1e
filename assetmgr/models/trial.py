"""One trial of a model: which task is meant by what it was given, and what came of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from assetmgr.errors import AssetError, UsageError
from assetmgr.models.pictures import open_picture

if TYPE_CHECKING:
    from assetmgr.models.loaded import LoadedModel

TASKS = ("caption", "answer", "generate", "features", "match", "embed")


@dataclass(frozen=True)
class Given:
    """What a model is tried on.

    Attributes
    ----------
    image
        The path of a picture.
    texts
        Texts: one beside an image; several to embed, or to have features of.
    prompt
        The beginning of a text, or beside a question the form in which it is asked.
    context
        Earlier questions, each with its answer.
    """

    image: str | None = None
    question: str | None = None
    texts: tuple[str, ...] = ()
    prompt: str | None = None
    context: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of it: of each task its own, the others' None.

    Attributes
    ----------
    text
        What was written: a caption, an answer, what follows the prompt.
    itm, itc
        See `assetmgr.models.results.Match`.
    shapes
        Of each kind of features its shape.
    similarities
        Cosine similarities of the texts that were embedded, of each with each.
    """

    task: str
    text: str | None = None
    itm: float | None = None
    itc: float | None = None
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    similarities: tuple[tuple[float, ...], ...] = ()


def check_given(given: Given, task: str | None) -> None:
    """Refuse what no model can be tried on, before one is loaded.

    Raises
    ------
    UsageError
        With the options that lack.
    """
    if given == Given():
        raise UsageError("nothing to try it on", mend="--image PICTURE, --text TEXT, or both")
    if given.image is not None:
        if not os.path.isfile(given.image):
            raise UsageError(f"{given.image}: there is no such picture", mend="--image with the path of a file")
        open_picture(given.image)
    if given.context and given.question is None:
        raise UsageError("--context is what was asked before a question, and there is none", mend="add --question")
    if task is None:
        return
    lacking = [option for option, there in _needs(task, given).items() if not there]
    if lacking:
        raise UsageError(f"{task}: there is no {' and no '.join(lacking)}", mend=f"add {' and '.join(lacking)}")


def choose_task(can: Sequence[str], given: Given) -> str | None:
    """The task that is meant by what is given, of those that a model can do; None where it is none of them."""
    if given.question is not None:
        meant = ["answer"]
    elif given.prompt is not None:
        meant = ["generate"]
    elif given.image is not None and given.texts:
        meant = ["match", "features"]
    elif given.image is not None:
        meant = ["caption", "features"]
    else:
        meant = ["embed", "features"]
    return next((task for task in meant if task in can and all(_needs(task, given).values())), None)


def _needs(task: str, given: Given) -> dict[str, bool]:
    """The options without which a task is none, and whether they are given."""
    image, text = given.image is not None, bool(given.texts)
    needed = {
        "caption": {"--image": image},
        "answer": {"--image": image, "--question": given.question is not None},
        # Some models go on with a text that is about no image.
        "generate": {"--prompt": given.prompt is not None},
        "features": {"--image or --text": image or text},
        "match": {"--image": image, "--text": text},
        "embed": {"--text": text},
    }
    return needed[task]


def attempt(loaded: LoadedModel, given: Given, task: str | None = None) -> Outcome:
    """Have a model do the task, or the one that is meant by what is given.

    Raises
    ------
    UsageError
        When it cannot do that.
    AssetError
        When its library fails over it.
    """
    chosen = task or choose_task(loaded.tasks, given)
    if chosen is None:
        can = ", ".join(f"{one} ({', '.join(_needs(one, Given()))})" for one in loaded.tasks)
        raise UsageError(
            f"{loaded.name} is a {type(loaded.model).__name__}: nothing that it can do is meant by what it is given",
            mend=f"what it can: {can}" if can else "assetmgr.load_model gives its `model` and `processor` as they are",
        )
    if chosen == "match" and len(given.texts) > 1:
        raise UsageError("match: of one image and one text", mend="one --text")
    try:
        return _do(loaded, given, chosen)
    except AssetError:
        raise
    except (RuntimeError, ValueError, TypeError, LookupError, NotImplementedError, AttributeError) as error:
        why = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise AssetError(
            f"{loaded.name}: {chosen} failed in {loaded.backend}: {type(error).__name__}: {why}",
            mend="another --device or --dtype may do (--device cpu --dtype float32 asks the least)",
        ) from error


def _do(loaded: LoadedModel, given: Given, task: str) -> Outcome:
    image: Any = given.image
    if task == "caption":
        return Outcome(task, text=loaded.caption(image))
    if task == "answer":
        return Outcome(
            task, text=loaded.answer(image, given.question or "", context=given.context, prompt=given.prompt)
        )
    if task == "generate":
        return Outcome(task, text=loaded.generate(image, given.prompt or ""))
    if task == "match":
        found = loaded.match(image, given.texts[0])
        return Outcome(task, itm=found.itm, itc=found.itc)
    if task == "embed":
        vectors = loaded.embed(list(given.texts))
        rows = tuple(tuple(float(value) for value in row) for row in (vectors @ vectors.T).tolist())
        return Outcome(task, shapes={"embeds": tuple(vectors.shape)}, similarities=rows)
    texts: Any = given.texts[0] if len(given.texts) == 1 else given.texts or None
    features = loaded.features(image, texts)
    held = {one.name: getattr(features, one.name) for one in fields(features)}
    shapes = {name: tuple(value.shape) for name, value in held.items() if value is not None}
    both = image is not None and len(given.texts) == 1 and "match" in loaded.tasks
    return Outcome(task, shapes=shapes, itc=loaded.match(image, given.texts[0]).itc if both else None)
