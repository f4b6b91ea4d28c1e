"""LAVIS's documented way to features: nothing here knows of assetmgr."""

import sys

import torch
from lavis.models import load_model_and_preprocess
from PIL import Image

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
raw_image = Image.open(sys.argv[1]).convert("RGB")
caption = "a large fountain spewing water into the air"
model, vis_processors, txt_processors = load_model_and_preprocess(
    name="blip_feature_extractor", model_type="base", is_eval=True, device=device
)
image = vis_processors["eval"](raw_image).unsqueeze(0).to(device)
text_input = txt_processors["eval"](caption)
sample = {"image": image, "text_input": [text_input]}

features_multimodal = model.extract_features(sample)
features_image = model.extract_features(sample, mode="image")
features_text = model.extract_features(sample, mode="text")
print(list(features_multimodal.multimodal_embeds.shape))
print(list(features_image.image_embeds.shape), list(features_image.image_embeds_proj.shape))
print(list(features_text.text_embeds.shape), list(features_text.text_embeds_proj.shape))
similarity = features_image.image_embeds_proj[:, 0, :] @ features_text.text_embeds_proj[:, 0, :].t()
print(float(similarity))
