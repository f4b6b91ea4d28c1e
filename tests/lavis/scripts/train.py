"""LAVIS's own way to train and evaluate, as its train.py does it: nothing here knows of assetmgr."""

import argparse
import sys

import lavis.common.optims
import lavis.runners  # noqa: F401 - registers the runners
import lavis.tasks as tasks
import torch
from lavis.common.config import Config
from lavis.common.logger import setup_logger
from lavis.common.registry import registry

cfg = Config(argparse.Namespace(cfg_path=sys.argv[1], options=None))
setup_logger()
torch.manual_seed(cfg.run_cfg.seed)
task = tasks.setup_task(cfg)
datasets = task.build_datasets(cfg)
model = task.build_model(cfg)
# A head is trained, so that the checkpoint and the optimizer are small.
model.requires_grad_(False)
model.text_decoder.cls.predictions.transform.requires_grad_(True)
runner = registry.get_runner_class(cfg.run_cfg.get("runner", "runner_base"))(
    cfg=cfg, job_id="job", task=task, model=model, datasets=datasets
)
runner.train()
