"""Training from a script, on folders of pictures and masks: no lake, no Label Studio, no Airflow.

The names are those of the finetuning scripts that labs had before (`finetune`, `ExperimentConfig`, ...); what runs is
the line's own recipe and training, in a process of its own. See docs/how-to/finetune-segmenters.md.

config      what can be set, under the names that scripts know     folders   pictures and label images on disk
splits      which picture a fold learns from                       fold      one training, resumed where it was
measuring   a fold's model on the pictures kept from it            runner    an experiment and its output tree
search      grid and random search                                 finetune  all of it in one call
"""

from tasks.kinds.segmentation.python.config import ExperimentConfig as ExperimentConfig
from tasks.kinds.segmentation.python.config import Stage1Config as Stage1Config
from tasks.kinds.segmentation.python.config import Stage2Config as Stage2Config
from tasks.kinds.segmentation.python.finetuning import finetune as finetune
from tasks.kinds.segmentation.python.runner import ExperimentRunner as ExperimentRunner
from tasks.kinds.segmentation.python.search import HyperparameterOptimizer as HyperparameterOptimizer
from tasks.kinds.segmentation.python.search import HyperparameterSpace as HyperparameterSpace

__all__ = [
    "ExperimentConfig",
    "ExperimentRunner",
    "HyperparameterOptimizer",
    "HyperparameterSpace",
    "Stage1Config",
    "Stage2Config",
    "finetune",
]
