"""What a kind of line must provide: one protocol, against which every other room is written.

A kind is a folder, and its modules are the parts below, each a protocol that the module itself fulfils:

    __init__.py    USE: what models of the kind are for, in words
    labels.py      `Labels`: the control in Label Studio, and its regions ⇄ objects
    files.py       `Files`: label files of other tools
    checks.py      `Checks`: which objects may be learned from, and the suite that says so
    layout.py      `Layout`: a dataset version on disk, as the trainer reads it
    recipe.py      `Recipes`: the values that a training may be given; recipes/*.yaml beside it
    train.py       `Training`: the training itself, in a subprocess of its own
    predictor.py   `Predictors`: a trained model, loaded
    served.py      `ServedModel`: the model as MLflow serves it
    metrics.py     `Metrics`: predictions and labels to numbers, and the slices they are measured in
    drawing.py     `Drawing`: frames with what was labelled and what was predicted
    exports.py     `Exports`, optional: models for other runtimes
    comparison.py  `Comparison`, optional: where two files of weights begin to differ
    saliency.py    `Saliency`, optional: what of an image speaks for a class
    answers.py     `Answers`, optional: what a person or a program is given of a prediction
    exploration.py `Exploration`, optional: what a person should see of a dataset before it is learned from
    filling.py     `Filling`, optional: what annotators only began, completed by a model
    diagnosis.py   `Diagnosis`, optional: where a model fails, beyond its metrics: labels that it contradicts, threshold

An **object** is what a label says of a frame: a dict that annotations, manifests and predictions carry, and that only
its kind looks into. Two things hold for all kinds: `label` is the name of a class of the line, and `"to_fill": true`
marks what a person only began, for a model to complete (`Filling`). Images are BGR, uint8,
[height, width, 3]; places are pixels from the top left corner of the frame; scores lie in [0, 1].

Parts are imported when they are asked for: to know a kind costs nothing, and a step loads only what it needs. `steps`
picks the kind of a line (`tasks.kinds.kind_of`) and hands it down; the rooms below never choose.
"""

from tasks.kind.checks import Checks, Surroundings
from tasks.kind.diagnosis import Answered, Diagnosis, DoubtfulLabel
from tasks.kind.exploration import THUMBNAIL_PX, Curve, Exploration, Histogram, Part, Section, ShownFrame
from tasks.kind.exports import Comparison, Exports
from tasks.kind.kind import Kind, Words
from tasks.kind.label_files import BadFile, Files, LabelFile, Misplaced
from tasks.kind.labels import Control, Labels, UnfitRegion
from tasks.kind.metrics import Drawing, FrameView, Metrics, PictureLabel, Saliency, Shape
from tasks.kind.objects import Event, Image, Object, Region, Row
from tasks.kind.prediction import Answers, Filling, ModelRef, Predictor, Predictors, Served, ServedModel
from tasks.kind.training import Job, Layout, Recipe, Recipes, Training

__all__ = [
    "THUMBNAIL_PX",
    "Answered",
    "Answers",
    "BadFile",
    "Checks",
    "Comparison",
    "Control",
    "Curve",
    "Diagnosis",
    "DoubtfulLabel",
    "Drawing",
    "Event",
    "Exploration",
    "Exports",
    "Files",
    "Filling",
    "FrameView",
    "Histogram",
    "Image",
    "Job",
    "Kind",
    "LabelFile",
    "Labels",
    "Layout",
    "Metrics",
    "Misplaced",
    "ModelRef",
    "Object",
    "Part",
    "PictureLabel",
    "Predictor",
    "Predictors",
    "Recipe",
    "Recipes",
    "Region",
    "Row",
    "Saliency",
    "Section",
    "Served",
    "ServedModel",
    "Shape",
    "ShownFrame",
    "Surroundings",
    "Training",
    "UnfitRegion",
    "Words",
]
