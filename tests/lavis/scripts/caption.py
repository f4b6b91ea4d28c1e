"""LAVIS's documented way to a caption: nothing here knows of assetmgr."""

import sys

import torch
from lavis.models import load_model_and_preprocess
from PIL import Image

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
raw_image = Image.open(sys.argv[1]).convert("RGB")
model, vis_processors, _ = load_model_and_preprocess(
    name="blip_caption", model_type="base_coco", is_eval=True, device=device
)
image = vis_processors["eval"](raw_image).unsqueeze(0).to(device)
print(model.generate({"image": image}))
# So that the test can tell that it is the checkpoint of the store.
print(float(model.text_decoder.bert.embeddings.word_embeddings.weight[0, 0]))
