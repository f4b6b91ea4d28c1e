"""How a language model that sees is asked: a question, after those that were asked and answered before."""

from __future__ import annotations

from collections.abc import Sequence

# BLIP-2's own form of a question.
QUESTION = "Question: {question} Answer:"


def conversation(question: str, context: Sequence[tuple[str, str]] = (), prompt: str = QUESTION) -> str:
    """The prompt for a question: each earlier turn with its answer and a full stop, then the question.

    >>> conversation("why?", [("which city is this?", "singapore")])
    'Question: which city is this? Answer: singapore. Question: why? Answer:'
    """
    turns = [f"{prompt.replace('{question}', asked)} {answered}." for asked, answered in context]
    return " ".join([*turns, prompt.replace("{question}", question)])
