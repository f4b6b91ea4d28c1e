"""A model in LAVIS's own form: `load_model` names its twin, before anything is fetched."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import assetmgr
from assetmgr.errors import NotInstalledError, UnknownAssetError, UsageError
from assetmgr.models.for_lavis import is_lavis_here

pytestmark = pytest.mark.skipif(is_lavis_here(), reason="LAVIS is installed here")


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ASSETMGR_MANIFEST", raising=False)


@pytest.mark.parametrize(
    ("name", "said", "mend"),
    [
        (
            "blip_caption/base_coco",
            "its twin on the hub is Salesforce/blip-image-captioning-base",
            "assetmgr pull Salesforce/blip-image-captioning-base, then assetmgr.load_model(",
        ),
        (
            "blip_vqa/vqav2",
            "its twin on the hub is Salesforce/blip-vqa-base or Salesforce/blip-vqa-capfilt-large",
            "assetmgr pull Salesforce/blip-vqa-base, ",
        ),
        ("clip/RN50", "it has no twin on the hub", "in LAVIS's environment call "),
    ],
)
def test_a_checkpoint_of_lavis_is_refused_with_its_twin(
    name: str, said: str, mend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSETMGR_ROOT", str(tmp_path))
    with pytest.raises(UsageError) as caught:
        assetmgr.load_model(name)
    assert caught.value.message.startswith(f"{name} is a checkpoint in LAVIS's own form")
    assert said in caught.value.message
    assert caught.value.mend is not None
    assert caught.value.mend.startswith(mend)
    architecture, kind = name.split("/")
    assert f"lavis.models.load_model_and_preprocess('{architecture}', '{kind}')" in caught.value.mend
    assert f"assetmgr run --needs {name} -- python" in caught.value.mend


@pytest.mark.parametrize("name", ["gpt_dialogue/base", "Salesforce/blip-image-captioning-base", "eva_vit_g"])
def test_what_transformers_may_load_is_looked_for_as_ever(name: str, tmp_path: Path) -> None:
    with pytest.raises(NotInstalledError):
        assetmgr.load_model(name, root=tmp_path)


def test_lavis_own_call_names_the_twin_or_the_nearest_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSETMGR_ROOT", str(tmp_path))
    with pytest.raises(UsageError, match="its twin on the hub is Salesforce/blip-image-captioning-base"):
        assetmgr.load_model_and_preprocess("blip_caption", "base_coco", is_eval=True, device="cpu")
    with pytest.raises(UnknownAssetError, match="did you mean 'blip2_t5'"):
        assetmgr.load_model_and_preprocess("blip2_t6", "pretrain_flant5xl")
    with pytest.raises(UnknownAssetError, match="did you mean 'pretrain_flant5xl'"):
        assetmgr.load_model_and_preprocess("blip2_t5", "pretrain_flan_t5xl")


def test_the_call_has_lavis_own_signature() -> None:
    parameters = inspect.signature(assetmgr.load_model_and_preprocess).parameters
    assert list(parameters) == ["name", "model_type", "is_eval", "device"]
    assert (parameters["is_eval"].default, parameters["device"].default) == (False, "cpu")
