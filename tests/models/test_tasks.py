"""Every task of every family gives what plain transformers code gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from assetmgr import models
from assetmgr.errors import UsageError
from tests.models.conftest import MakeModel
from tests.models.tiny import SIDE, SPECIAL, WIDTH, save

if TYPE_CHECKING:
    from assetmgr.models import LoadedModel

pytestmark = pytest.mark.torch

QUESTION = "what is this"
# Words only, as random weights would not write them.
WRITE: dict[str, Any] = {"max_new_tokens": 6, "suppress_tokens": SPECIAL}
CONTEXT = [("what is this", "a cat"), ("is the dog on the mat", "a dog sat")]
TASKS = {
    "blip_caption": ("caption", "generate", "features"),
    "blip_vqa": ("answer", "features"),
    "blip_retrieval": ("features", "match"),
    "clip": ("features", "match"),
    "blip2_opt": ("caption", "answer", "generate", "features"),
    "blip2_t5": ("caption", "answer", "generate", "features"),
    "blip2_retrieval": ("features", "match"),
    "gpt2": ("generate",),
}

Load = Callable[..., "LoadedModel"]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = save(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return folder


@pytest.fixture
def load(model_asset: MakeModel, folders: Callable[[str], Path]) -> Load:
    def loaded(kind: str, options: dict[str, Any] | None = None, **how: Any) -> LoadedModel:
        return models.load(model_asset(folders(kind), options), **({"device": "cpu"} | how))

    return loaded


def picture(seed: int = 0) -> Image.Image:
    import numpy

    pixels = numpy.random.default_rng(seed).integers(0, 255, (SIDE + 9, SIDE + 20, 3), dtype=numpy.uint8)
    return Image.fromarray(pixels)


def plain(loaded: LoadedModel, text: str | None, **generate: Any) -> str:
    """Plain transformers: the processor's inputs, generate, decode."""
    import torch

    inputs = loaded.processor(images=picture(), text=text, return_tensors="pt")
    with torch.no_grad():
        tokens = loaded.model.generate(**inputs, **(WRITE | generate))
    return str(loaded.processor.batch_decode(tokens, skip_special_tokens=True)[0])


def follows(loaded: LoadedModel, whole: str, prompt: str) -> str:
    """What plain code leaves to its caller: the prompt is not the answer."""
    ids = loaded.processor.tokenizer(prompt)["input_ids"]
    return whole.removeprefix(loaded.processor.decode(ids, skip_special_tokens=True)).strip()


@pytest.mark.parametrize("kind", TASKS)
def test_a_model_says_what_it_can_and_refuses_the_rest(load: Load, kind: str, tmp_path: Path) -> None:
    loaded = load(kind)
    assert loaded.tasks == TASKS[kind]
    calls: dict[str, Callable[[], object]] = {
        "caption": lambda: loaded.caption(picture(), max_new_tokens=3),
        "answer": lambda: loaded.answer(picture(), QUESTION, max_new_tokens=3),
        "generate": lambda: loaded.generate(None if kind == "gpt2" else picture(), QUESTION, max_new_tokens=3),
        "features": lambda: loaded.features(picture()),
        "match": lambda: loaded.match(picture(), QUESTION),
        "embed": lambda: loaded.embed(QUESTION),
    }
    for task, call in calls.items():
        if task in loaded.tasks:
            call()
            continue
        with pytest.raises(UsageError, match=f"the-model is a .*: it cannot {task}") as caught:
            call()
        assert caught.value.mend == "what it can: " + ", ".join(TASKS[kind])


@pytest.mark.parametrize("kind", ["blip_caption", "blip2_opt"])
def test_a_caption_is_that_of_plain_transformers(load: Load, kind: str) -> None:
    loaded = load(kind)
    for generate in ({}, {"num_beams": 3}, {"min_new_tokens": 4}):
        assert loaded.caption(picture(), **(WRITE | generate)) == plain(loaded, None, **generate).strip()
    assert loaded.caption(picture(), **WRITE) != ""


def test_t5_captions_from_an_empty_text(load: Load) -> None:
    loaded = load("blip2_t5")
    with pytest.raises(AttributeError):
        plain(loaded, None)
    assert loaded.caption(picture(), **WRITE) == plain(loaded, "").strip() != ""


@pytest.mark.parametrize("kind", ["blip2_opt", "blip2_t5"])
def test_a_question_is_asked_in_blip2s_form_with_its_context(load: Load, kind: str) -> None:
    loaded = load(kind)
    asked = f"Question: {QUESTION} Answer:"
    assert loaded.answer(picture(), QUESTION, **WRITE) == follows(loaded, plain(loaded, asked), asked) != ""
    template = "Question: {} Answer: {}."
    prompt = " ".join(template.format(*turn) for turn in CONTEXT) + f" Question: {QUESTION} Answer:"
    with_context = loaded.answer(picture(), QUESTION, context=CONTEXT, **WRITE)
    assert with_context == loaded.generate(picture(), prompt, **WRITE)
    if kind == "blip2_t5":
        assert with_context == plain(loaded, prompt).strip()
    own = loaded.answer(picture(), QUESTION, prompt="the {question}", **WRITE)
    assert own == loaded.generate(picture(), f"the {QUESTION}", **WRITE)


def test_blip_answers_the_bare_question_and_knows_no_context(load: Load) -> None:
    loaded = load("blip_vqa")
    assert loaded.answer(picture(), QUESTION, **WRITE) == plain(loaded, QUESTION).strip() != ""
    with pytest.raises(UsageError, match="knows no context"):
        loaded.answer(picture(), QUESTION, context=CONTEXT)


def test_blip_goes_on_with_a_prompt_and_does_not_repeat_it(load: Load) -> None:
    loaded = load("blip_caption")
    whole = plain(loaded, "a cat sat")
    written = loaded.generate(picture(), "a cat sat", **WRITE)
    assert f"a cat sat {written}" == whole.strip()
    assert written


def test_a_language_model_goes_on_with_a_text(load: Load) -> None:
    import torch

    loaded = load("gpt2")
    inputs = loaded.processor("what is", return_tensors="pt")
    with torch.no_grad():
        tokens = loaded.model.generate(**inputs, max_new_tokens=5)[0, inputs["input_ids"].shape[1] :]
    assert (
        loaded.generate(None, "what is", max_new_tokens=5)
        == loaded.processor.decode(tokens, skip_special_tokens=True).strip()
    )
    with pytest.raises(UsageError, match="reads texts only"):
        loaded.generate(picture(), "what is")


@pytest.mark.parametrize("kind", ["blip_retrieval", "blip2_retrieval"])
def test_match_is_that_of_plain_transformers(load: Load, kind: str) -> None:
    import torch

    loaded = load(kind)
    inputs = loaded.processor(images=picture(), text=QUESTION, return_tensors="pt")
    flag = "use_itm_head" if kind == "blip_retrieval" else "use_image_text_matching_head"
    inputs = {key: value for key, value in inputs.items() if key != "token_type_ids"}
    with torch.no_grad():
        itm, itc = (loaded.model(**inputs, **{flag: head})[0] for head in (True, False))
    found = loaded.match(picture(), QUESTION)
    assert found.itm == pytest.approx(float(itm.softmax(dim=1)[0, 1]), abs=1e-6)
    assert found.itc == pytest.approx(float(itc), abs=1e-6)
    assert found != loaded.match(picture(1), QUESTION)


def test_clip_gives_the_cosine_and_has_no_matching_head(load: Load) -> None:
    import torch

    loaded = load("clip")
    inputs = loaded.processor(images=picture(), text=[QUESTION], return_tensors="pt")
    with torch.no_grad():
        output = loaded.model(**inputs)
    cosine = torch.nn.functional.cosine_similarity(output.image_embeds, output.text_embeds)
    match = loaded.match(picture(), QUESTION)
    assert match.itm is None
    assert match.itc == pytest.approx(float(cosine), abs=1e-6)
    found: Any = loaded.features([picture(), picture(1)], [QUESTION, "a cat"])
    assert torch.allclose(found.image_embeds_proj[0], output.image_embeds[0], atol=1e-6)
    assert torch.allclose(found.text_embeds_proj[0], output.text_embeds[0], atol=1e-6)
    assert found.multimodal_embeds is None
    assert torch.allclose(torch.nn.functional.normalize(found.image_embeds, dim=-1), found.image_embeds_proj, atol=1e-6)


@pytest.mark.parametrize("kind", ["blip_retrieval", "blip2_retrieval"])
def test_features_are_shaped_as_laviss_and_projections_have_length_one(load: Load, kind: str) -> None:
    import torch

    loaded = load(kind)
    found: Any = loaded.features([picture(), picture(1)], [QUESTION, "a cat sat on the mat"])
    seen = 1 + (SIDE // 16) ** 2 if kind == "blip_retrieval" else 4
    long = 8  # [CLS], the words of the longer text, [SEP]
    shapes = {
        "image_embeds": (2, seen, WIDTH),
        "image_embeds_proj": (2, seen, 16),
        "text_embeds": (2, long, WIDTH),
        "text_embeds_proj": (2, long, 16),
        "multimodal_embeds": (2, long if kind == "blip_retrieval" else 4, WIDTH),
    }
    for name, shape in shapes.items():
        part = getattr(found, name)
        assert (name, tuple(part.shape), part.dtype, part.requires_grad) == (name, shape, torch.float32, False)
        if name.endswith("_proj"):
            assert torch.allclose(part.norm(dim=-1), torch.ones(shape[:-1]), atol=1e-5)
    only_image: Any
    only_text: Any
    only_image, only_text = loaded.features(picture()), loaded.features(text=QUESTION)
    assert torch.allclose(only_image.image_embeds[0], found.image_embeds[0], atol=1e-5)
    assert torch.allclose(only_text.text_embeds[0], found.text_embeds[0, :5], atol=1e-5)
    assert only_image.text_embeds is only_image.multimodal_embeds is only_text.image_embeds is None


def test_features_of_a_pair_equal_the_parts_of_plain_transformers(load: Load) -> None:
    import torch

    blip = load("blip_retrieval")
    inputs = blip.processor(images=picture(), text=QUESTION, return_tensors="pt")
    found = blip.features(picture(), QUESTION)
    with torch.no_grad():
        output = blip.model(**{key: inputs[key] for key in ("pixel_values", "input_ids", "attention_mask")})
    assert torch.allclose(found.image_embeds, output.last_hidden_state, atol=1e-6)
    assert torch.allclose(found.multimodal_embeds, output.question_embeds, atol=1e-6)
    blip2 = load("blip2_opt")
    pixels = blip2.processor(images=picture(), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        queries = blip2.model.qformer(
            query_embeds=blip2.model.query_tokens,
            encoder_hidden_states=blip2.model.vision_model(pixels)[0],
        )[0]
    assert torch.allclose(blip2.features(picture()).image_embeds, queries, atol=1e-6)


@pytest.mark.parametrize(
    "how", [{"dtype": "float16"}, {"dtype": "bfloat16"}, {"quantize": "int8"}, {"quantize": "nf4"}], ids=str
)
@pytest.mark.parametrize("kind", ["blip_retrieval", "blip2_retrieval", "clip"])
def test_a_lower_precision_matches_nearly_the_same(load: Load, kind: str, how: dict[str, str]) -> None:
    import torch

    whole, half = load(kind), load(kind, **how)
    expected, found = whole.match(picture(), QUESTION), half.match(picture(), QUESTION)
    near = 0.15 if how.get("quantize") == "nf4" else 0.03
    assert found.itc == pytest.approx(expected.itc, abs=near)
    if kind != "clip":
        assert found.itm == pytest.approx(expected.itm, abs=near)
    found_features: Any = half.features(picture(), QUESTION)
    assert found_features.text_embeds.dtype == torch.float32
    assert half.footprint < whole.footprint


def test_images_are_pils_or_paths_of_them(load: Load, tmp_path: Path) -> None:
    loaded = load("clip")
    file = tmp_path / "ein Bild.png"
    picture().save(file)
    assert loaded.match(str(file), "a cat") == loaded.match(file, "a cat") == loaded.match(picture(), "a cat")
    (tmp_path / "no.png").write_bytes(b"not an image")
    for wrong, complaint in (
        (tmp_path / "none.png", "No such file"),
        (tmp_path / "no.png", "cannot identify image"),
        (tmp_path, "directory"),
        (3, "an image is PIL's, or a path; this is a int"),
    ):
        with pytest.raises(UsageError, match=complaint):
            loaded.match(wrong, "a cat")  # type: ignore[arg-type]


def test_features_of_nothing_or_of_no_pairs_are_refused(load: Load) -> None:
    loaded = load("clip")
    for what in ((), ([], []), ([picture()], ["a", "b"])):
        with pytest.raises(UsageError, match=r"features of what|are no pairs"):
            loaded.features(*what)
    with pytest.raises(UsageError, match="features of images only"):
        load("blip2_opt").features(text="a cat")
