"""LAVIS's documented way to a dataset, and to one with a folder of images elsewhere: nothing here knows of assetmgr."""

import sys

from lavis.datasets.builders import load_dataset

coco_dataset = load_dataset("coco_caption")
print(list(coco_dataset), [len(coco_dataset[split]) for split in coco_dataset])
print(coco_dataset["train"][0])
print(sorted(coco_dataset["val"][0]))
elsewhere = load_dataset("coco_caption", vis_path=sys.argv[1])
print(elsewhere["train"][0]["image"].size, elsewhere["train"].vis_root)
