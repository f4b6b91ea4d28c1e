"""`load_model`, `load_model_and_preprocess` and `try` by LAVIS itself, in this very process: LAVIS's own answers."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import assetmgr
from assetmgr import models
from assetmgr.errors import IntegrityError, NotInstalledError, UnknownAssetError, UsageError
from assetmgr.models import LoadedModel
from assetmgr.verify import Installed
from tests.datasets.stored import store_asset
from tests.support import Project

pytestmark = pytest.mark.lavis
TEXT = "a large fountain spewing water into the air"


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No manifest in sight, another cache than the store's, and nobody to ask."""
    asked = []

    def connect(self: socket.socket, address: Any) -> None:
        asked.append(address)
        raise OSError("no network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    yield
    assert asked == []
    assert not (tmp_path / "home" / ".cache" / "torch").exists()


@contextlib.contextmanager
def lavis_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """LAVIS without us, on the same files."""
    import lavis.models
    import torch
    import transformers.utils.hub

    with monkeypatch.context() as patch:
        patch.setattr(torch.hub, "_hub_dir", str(root / "torch" / "hub"))
        patch.setattr(transformers.utils.hub, "TRANSFORMERS_CACHE", str(root / "hub"))
        patch.setattr(transformers.utils.hub, "_is_offline_mode", True)
        yield lavis.models.load_model_and_preprocess


def load(stage: Project, name: str, **how: Any) -> LoadedModel:
    return assetmgr.load_model(name, device="cpu", manifest=stage.folder / "assets.yaml", root=stage.root, **how)


def opened(picture: Path) -> Any:
    from PIL import Image

    return Image.open(picture).convert("RGB")


def test_features_are_lavis_own_and_so_is_their_similarity(
    stage: Project, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load(stage, "blip_feature_extractor/base")
    with lavis_alone(stage.root, monkeypatch) as by_itself:
        model, vis, txt = by_itself("blip_feature_extractor", "base", is_eval=True, device="cpu")
    sample = {"image": vis["eval"](opened(picture)).unsqueeze(0), "text_input": [txt["eval"](TEXT)]}
    of = {mode: model.extract_features(sample, mode=mode) for mode in ("multimodal", "image", "text")}
    found = loaded.features(picture, TEXT)
    for mode, name in (
        ("multimodal", "multimodal_embeds"),
        ("image", "image_embeds"),
        ("image", "image_embeds_proj"),
        ("text", "text_embeds"),
        ("text", "text_embeds_proj"),
    ):
        assert getattr(found, name).equal(getattr(of[mode], name))
    similarity = of["image"].image_embeds_proj[:, 0, :] @ of["text"].text_embeds_proj[:, 0, :].t()
    assert loaded.match(picture, TEXT).itc == pytest.approx(float(similarity), abs=1e-6)
    assert loaded.features(text=TEXT).image_embeds is None
    assert loaded.tasks == ("features", "match")
    assert loaded.footprint == sum(tensor.numel() * 4 for tensor in model.parameters()) + sum(
        tensor.numel() * tensor.element_size() for tensor in model.buffers()
    )
    with pytest.raises(UsageError, match="it cannot caption"):
        loaded.caption(picture)
    with pytest.raises(UsageError, match="1 images and 2 texts are not pairs"):
        loaded.features(picture, [TEXT, TEXT])


def test_a_caption_is_lavis_own(stage: Project, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSETMGR_ROOT", str(stage.root))
    model, vis, _ = assetmgr.load_model_and_preprocess("blip_caption", "base_coco", True, "cpu")
    image = vis["eval"](opened(picture)).unsqueeze(0).to("cpu")
    written = model.generate({"image": image}, num_beams=1, max_length=12)
    loaded = load(stage, "blip_caption/base_coco")
    assert [loaded.caption(picture, num_beams=1, max_length=12)] == [text.strip() for text in written]
    assert not loaded.model.training
    assert loaded.generate(picture, "a bowl of", num_beams=1, max_length=12)
    assert loaded.model.prompt == "a picture of "
    with pytest.raises(UsageError, match=r"no option 'num_beam'.*did you mean 'num_beams'"):
        loaded.caption(picture, num_beam=1)
    state = loaded.model.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(tensor.equal(state[name]) for name, tensor in model.state_dict().items())


def test_try_prints_the_answer_alone(stage: Project, picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from assetmgr.cli import main

    line = ["--root", str(stage.root), "try", "blip_vqa/vqav2", "--image", str(picture), "--question", "Which fruit?"]
    assert main([*line, "--json"]) == 0
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert (found["backend"], found["model"], found["outcome"]["task"]) == ("lavis", "BlipVQA", "answer")
    assert isinstance(found["outcome"]["text"], str)
    assert told.err.count("\n") == 1
    loaded = load(stage, "blip_vqa/vqav2")
    assert loaded.answer(picture, "Which fruit?") == found["outcome"]["text"]
    assert loaded.answer(picture, "Which fruit?", answer_list=["apple", "pear"]) in ("apple", "pear")
    with pytest.raises(UsageError, match="knows no earlier questions"):
        loaded.answer(picture, "why?", context=[("what?", "a bowl")])


def test_nothing_of_this_process_is_changed_afterwards(stage: Project) -> None:
    import lavis
    import torch
    import transformers.utils.hub

    def settings() -> list[object]:
        hub = transformers.utils.hub
        return [
            hub.TRANSFORMERS_CACHE,
            hub._is_offline_mode,
            torch.hub.get_dir(),
            torch.load,
            torch.hub.download_url_to_file,
            torch.nn.Module.load_state_dict,
            torch.nn.Module._load_from_state_dict,
            lavis.registry.mapping["paths"]["cache_root"],
            dict(os.environ),
        ]

    before = settings()
    with pytest.raises(UsageError, match="has no type 'bas'"):
        models.load(as_another(stage, {"name": "blip_caption", "model_type": "bas"}))
    assert settings() == before


def as_another(stage: Project, lavis: dict[str, str]) -> Installed:
    found = assetmgr.Workspace([stage.folder / "assets.yaml"], stage.root).installed("blip_caption/base_coco")
    return Installed(found.entry, found.folder, {"load": {"lavis": lavis}}, found.store)


@pytest.fixture
def own(stage: Project, tmp_path: Path) -> Any:
    """Makes a checkpoint of one's own, of another name, out of one of the store's."""
    import torch

    def make(name: str, file: str, change: Any) -> Installed:
        checkpoint = torch.load(stage.root / "torch/hub/checkpoints" / file, weights_only=True)
        change(checkpoint["model"])
        torch.save(checkpoint, tmp_path / "mine.pth")
        architecture, kind = name.split("/")
        use = {"load": {"lavis": {"name": architecture, "model_type": kind}}}
        (tmp_path / "store").mkdir()
        (tmp_path / "store" / "hub").symlink_to(stage.root / "hub")
        content = tmp_path / "mine.pth"
        return store_asset(tmp_path / "store", "mine", {"mine.pth": content}, use, kind="model", origin="files")

    return make


def test_a_checkpoint_that_lacks_a_weight_is_refused(own: Any) -> None:
    def change(weights: dict[str, Any]) -> None:
        del weights["text_decoder.bert.encoder.layer.3.output.dense.weight"]
        weights["visual_encoder.blocks.12.norm1.weight"] = weights["visual_encoder.blocks.11.norm1.weight"]

    found = own("blip_caption/base_coco", "blip_coco_caption_base.pth", change)
    with pytest.raises(IntegrityError) as caught:
        models.load(found, device="cpu")
    said = caught.value.message
    assert "1 missing or of another shape: text_decoder.bert.encoder.layer.3.output.dense.weight" in said
    assert "1 without a place in the model: visual_encoder.blocks.12.norm1.weight" in said
    assert "correct its url" in caught.value.mend


def test_a_weight_of_another_shape_is_refused_where_lavis_leaves_it_out(own: Any) -> None:
    def change(weights: dict[str, Any]) -> None:
        weights["vision_proj.weight"] = weights["vision_proj.weight"][:128]
        weights["itm_head.weight"] = weights["vision_proj.bias"]  # which this model has not, and pretraining leaves
        weights["text_encoder_m.embeddings.LayerNorm.bias"] = weights["vision_proj.bias"]

    found = own("blip_feature_extractor/base", "model_base_capfilt_large.pth", change)
    with pytest.raises(
        IntegrityError, match=r"BlipFeatureExtractor \(base\): 1 missing or of another shape: vision_proj"
    ):
        models.load(found, device="cpu")


def test_what_is_not_pulled_is_told_with_its_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSETMGR_ROOT", str(tmp_path))
    with pytest.raises(NotInstalledError) as caught:
        assetmgr.load_model_and_preprocess("blip_caption", "large_coco")
    assert caught.value.mend == "assetmgr lock blip_caption/large_coco && assetmgr pull blip_caption/large_coco"
    with pytest.raises(UnknownAssetError, match=r"no model 'blip_capton'.*did you mean 'blip_caption'"):
        assetmgr.load_model_and_preprocess("blip_capton", "large_coco")
    with pytest.raises(UnknownAssetError, match=r"no type 'large'.*did you mean 'large_coco'"):
        assetmgr.load_model_and_preprocess("blip_caption", "large")


def test_what_lavis_cannot_do_is_told(stage: Project) -> None:
    with pytest.raises(UsageError, match="LAVIS does not quantise"):
        load(stage, "blip_caption/base_coco", quantize="int8")
