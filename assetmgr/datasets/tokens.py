"""Dialogues as numbers, as LAVIS's processor makes them with GPT-2's tokenizer. The only one that imports tokenizers.

Source: ``GPTDialogueProcessor`` in lavis/processors/gpt_processors.py of LAVIS 1.0.2, with its defaults: the caption
and summary first, then at most three turns, then the question; each text ends with ``<eos>``, and the answer alone is
to be learned.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, NamedTuple

from assetmgr.datasets.annotations import Annotation
from assetmgr.errors import MissingExtraError

# The files of GPT-2 that its tokenizer is made of, in the order in which `Tokens` takes them.
FILES = ("vocab.json", "merges.txt")
TURNS = 3
# In the order in which LAVIS adds them to the vocabulary.
_SPECIAL = ("<bos>", "<eos>", "<speaker1>", "<speaker2>", "<video>", "<cap>", "<pad>")
_IGNORED = -1


class Numbers(NamedTuple):
    """A dialogue as numbers, each list as long as the others."""

    input_ids: list[int]
    token_type_ids: list[int]
    labels: list[int]


class Tokens:
    """GPT-2's tokenizer with LAVIS's tokens.

    Raises
    ------
    IntegrityError
        When its files are not such files.
    MissingExtraError
        When the library is not installed.
    """

    def __init__(self, vocabulary: Annotation, merges: Annotation) -> None:
        if importlib.util.find_spec("tokenizers") is None:
            what = "tokenizers, which makes numbers of its dialogues, is not installed"
            raise MissingExtraError(f"{merges.asset}: {what}", mend="pip install 'assetmgr[video]'")
        import tokenizers

        known = vocabulary.document(dict[str, int])
        try:
            lines = merges.read().decode().split("\n")
        except UnicodeDecodeError as error:
            raise merges.fault(f"not a list of merges: {error}") from None
        pairs: Any = [tuple(line.split()) for line in lines if line and not line.startswith("#version")]
        if any(len(pair) != 2 for pair in pairs):
            raise merges.fault("not a list of merges: a line has not two parts")
        try:
            self._tokenizer: Any = tokenizers.Tokenizer(tokenizers.models.BPE(known, pairs))
        except Exception as error:  # noqa: BLE001 - what the library raises has no other type
            raise merges.fault(f"not the merges of that vocabulary: {error}") from None
        self._tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        # As transformers does with special tokens that are given as plain texts: the blanks around one belong to it.
        texts = ("<|endoftext|>", *_SPECIAL)
        self._tokenizer.add_special_tokens([tokenizers.AddedToken(text, lstrip=True, rstrip=True) for text in texts])
        identity: Any = self._tokenizer.token_to_id
        _, self._end, first, second, self.video, self._caption, _ = map(identity, _SPECIAL)
        self._speakers = (first, second)

    def of(self, texts: Sequence[str]) -> list[list[int]]:
        """The numbers of each text."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def dialogue(self, caption: Sequence[int], said: Sequence[Sequence[int]], answer: Sequence[int]) -> Numbers:
        """A caption, what was said in turns and last asked, and the answer, as one sequence."""
        parts = [[*part, self._end] for part in (caption, *said, answer)]
        types = [self._caption, *(self._speakers[number % 2] for number in range(len(parts) - 1))]
        ids = [token for part in parts for token in part]
        asked = len(ids) - len(parts[-1])
        return Numbers(
            ids,
            [kind for kind, part in zip(types, parts, strict=True) for _ in part],
            [_IGNORED] * asked + parts[-1],
        )
