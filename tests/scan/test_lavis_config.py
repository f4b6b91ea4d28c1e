"""A config of LAVIS names its model, its datasets and their files; other tools' YAML is left alone."""

from __future__ import annotations

from assetmgr.scan.finds import Find, Listed, Named, Remark, Repo
from assetmgr.scan.lavis_config import find_configured

MD5 = "a" * 32


def found(text: str) -> list[Find]:
    return find_configured("c.yaml", text)


def test_a_project_names_its_model_and_its_datasets() -> None:
    text = """\
model:
  arch: blip_caption
  model_type: base_coco
  pretrained: "https://example.org/BLIP/model_base.pth"
  finetuned: ${env.root}/x.pth
  opt_model: facebook/opt-2.7b
  llm_model: ./llm
datasets:
  coco_caption: # the builder's name
    vis_processor: {train: {name: blip_image_train}}
  flickr30k:
    data_type: images
run:
  task: captioning
  resume_ckpt_path: null
"""
    assert found(text) == [
        Named("c.yaml:2", "blip_caption/base_coco"),
        Listed(
            "c.yaml:4",
            "model",
            "blip_caption-base_coco-pretrained",
            {"files": [{"url": "https://example.org/BLIP/model_base.pth", "place": "torch"}]},
        ),
        Remark("c.yaml:5", "finetuned: '${env.root}/x.pth' is no URL: a file of your own, or computed"),
        Repo("c.yaml:6", "model", "facebook/opt-2.7b", is_use=True),
        Remark("c.yaml:7", "llm_model: './llm' is no hub repo"),
        Named("c.yaml:9", "coco_caption"),
        Named("c.yaml:11", "flickr30k"),
    ]


def test_a_dataset_with_urls_of_its_own_is_declared_with_its_files() -> None:
    text = f"""\
datasets:
  my_caption:
    data_type: images
    build_info:
      annotations:
        train:
          url: https://example.org/a/train.json
          md5: {MD5.upper()}
          storage: my/annotations/train.json
        val:
          url: [https://example.org/a/val.json, https://example.org/a/more.json?x=1]
          storage: [my/annotations/my_val.json, my/annotations/more.json]
        test:
          url: /export/home/test.json
          storage: /export/home/test.json
      images:
        storage: my/images/
"""
    listed, *remarks = sorted(found(text), key=lambda find: not isinstance(find, Listed))
    place = "lavis/my/annotations"
    assert listed == Listed(
        "c.yaml:2",
        "dataset",
        "my_caption",
        {
            "files": [
                {"url": "https://example.org/a/train.json", "place": place, "md5": MD5},
                {"url": "https://example.org/a/val.json", "path": "my_val.json", "place": place},
                {"url": "https://example.org/a/more.json?x=1", "place": place},
            ],
            "splits": {"train": "train.json", "val": ["my_val.json", "more.json"]},
        },
    )
    assert [find.where for find in remarks] == ["c.yaml:14", "c.yaml:17"]


def test_what_is_not_lavis_or_not_yaml_says_nothing() -> None:
    for text in (
        "",
        "arch: [x86]\ndatasets: {a: {hub: o/a}}\n",
        "datasets:\n  - a\n  - b\n",
        "model: blip\ndatasets: none\n",
        "datasets: {{ template }}\n",
        "arch: &a [*a]\n",
        "version: 1\ndatasets:\n  a: {hub: o/a}\n",
        "datasets: " + "[" * 500,
    ):
        assert found(text) == []


def test_a_model_without_a_type_and_a_name_that_is_none_are_remarks() -> None:
    (first,) = found("model: {arch: blip}\n")
    assert isinstance(first, Remark)
    (second,) = found("datasets: {'${name}': {data_type: images}}\n")
    assert isinstance(second, Remark)


def test_a_dataset_for_which_nothing_is_set_is_named_beside_a_model_alone() -> None:
    datasets = "datasets:\n  coco_caption:\n  nocaps: {}\n  flickr30k: {batch_size: 3}\n  count: 3\n"
    assert found(datasets) == []
    assert found("model: {arch: blip_caption, model_type: base_coco}\n" + datasets) == [
        Named("c.yaml:1", "blip_caption/base_coco"),
        Named("c.yaml:3", "coco_caption"),
        Named("c.yaml:4", "nocaps"),
        Named("c.yaml:5", "flickr30k"),
    ]
