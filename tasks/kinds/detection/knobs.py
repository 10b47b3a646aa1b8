"""What each value of a detector's training is: its unit and a sentence, beside its range and its default.

The site's page about detectors is written from this. Ranges are those that recipes are checked by.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from tasks.kinds.detection.allowed import ARGUMENTS, MOST_STAGES
from tasks.kinds.detection.augmentation import AUGMENTATIONS
from tasks.training.microscope import MICROSCOPE, NONE
from tasks.training.ultralytics_allowed import ALLOWED, FROZEN_PARTS, OPTIMIZERS, PRECISIONS
from tasks.training.ultralytics_arguments import argument_defaults
from tasks.training.ultralytics_knobs import ATTENTION, BOXES, OVERLAPS, WEIGHTS, Knobs


class Knob(NamedTuple):
    """A value that a recipe may set, for people."""

    name: str
    range: str
    unit: str
    default: str
    meaning: str


_MEANING: dict[str, tuple[str, str]] = {
    "epochs": ("epochs", "Passes over the training frames; `min_steps` may raise it."),
    "batch": ("frames", "Frames in a batch; -1 or a share below 1 lets ultralytics fill so much of a GPU's memory."),
    "nbs": ("frames", "Nominal batch: nbs / batch batches are accumulated to one optimizer step. Of its own size: no "
            "accumulation."),
    "imgsz": ("px", "Longer side that frames are scaled to, a multiple of 32."),
    "optimizer": ("", "`auto` chooses optimizer, rate and momentum by the length of the training; then `lr0`, "
                  "`momentum` and `warmup_bias_lr` are refused."),
    "lr0": ("per step", "Highest learning rate: about 0.01 for SGD, 0.001 to 0.004 for AdamW."),
    "lrf": ("of lr0", "Where the rate ends."),
    "cos_lr": ("", "The rate falls as half a cosine; else along a line."),
    "momentum": ("", "Of SGD, MuSGD and RMSProp; of the Adam family the first beta."),
    "weight_decay": ("", "Pulls weights towards 0, not biases and norms; ultralytics scales it by batch x accumulated "
                     "batches / nbs."),
    "warmup_epochs": ("epochs", "In which the rate rises from 0; at most all but the last."),
    "warmup_momentum": ("", "Momentum that the warm-up begins with; refused with the Adam family, which has none."),
    "warmup_bias_lr": ("per step", "Rate that biases begin the warm-up with; it falls to lr0 meanwhile."),
    "box": ("weight", "Of the boxes' loss (1 - overlap, see `iou_loss`)."),
    "cls": ("weight", "Of the classes' loss (cross-entropy of each class by itself)."),
    "dfl": ("weight", "Of the loss of the edges' distributions (Li et al. 2020); L1 where a head has none (YOLO26)."),
    "focal_gamma": ("power", "Focal loss of the classes: abs(target - probability)^gamma x cross-entropy, the quality "
                    "focal loss of Li et al. 2020; 0: none. Ours: ultralytics dropped `fl_gamma`."),
    "iou_loss": ("", "Overlap in the boxes' loss: CIoU, DIoU (Zheng et al. 2020), GIoU (Rezatofighi et al. 2019) or "
                 "plain IoU. Ours: ultralytics fixes it. Places are assigned by CIoU whatever it is."),
    "cls_pw": ("power", "Weighs classes by their frequency to the power of minus this, in the classes' loss."),
    "class_weights": ("", "Of the classes' loss, class by class: `balanced` by inverse frequency (as `cls_pw: 1`), "
                      "`effective` by the effective number of objects (Cui et al. 2019), or by name, "
                      "`{impurity: 5}`, the others 1. Ours."),
    "class_beta": ("", "Of `effective`: 0 weighs all alike, the nearer to 1 the more like `balanced`. Ours."),
    "repeat_threshold": ("share", "Frames of a class come oftener that is in a smaller share of the frames than this: "
                         "t of repeat-factor sampling (Gupta et al. 2019), sqrt(t / share) times as often. An epoch "
                         "keeps its length. 0: each frame once. Ours."),
    "balanced_batches": ("", "Each batch has a frame of every class that it has room for, the rarest first. Ours."),
    "hsv_h": ("of the circle", "Hue, by up to so much either way."),
    "hsv_s": ("share", "Saturation, by up to so much either way."),
    "hsv_v": ("share", "Brightness, by up to so much either way."),
    "degrees": ("degrees", "Turned by up to so much either way; boxes grow to hold the turned ones. 180: all round."),
    "translate": ("of the side", "Shifted by up to so much either way."),
    "scale": ("share", "Enlarged or shrunk by up to such a share; or two factors, [0.8, 2]."),
    "shear": ("degrees", "Sheared by up to so much, along both axes."),
    "perspective": ("per px", "Tilted by up to so much; 0.001 is much. A microscope looks straight down: 0."),
    "flipud": ("probability", "Upside down."),
    "fliplr": ("probability", "Mirrored left to right."),
    "bgr": ("probability", "Red and blue change places."),
    "mosaic": ("probability", "Four frames in one; refused with `rect: true`, as are the next two."),
    "mixup": ("probability", "Two frames laid over each other."),
    "cutmix": ("probability", "A part of another frame in its place."),
    "copy_paste": ("share", "Such a share of another frame's objects is pasted where they cover nothing, as bright as "
                   "their new surroundings. Ours: ultralytics pastes outlines only."),
    "copy_paste_classes": ("", "Whose objects: all; rare, of classes with less than half of the commonest's boxes; or "
                           "names. Else than all, the other frame is one that has some. Ours."),
    "microscope": ("", "A word, or how often each happens to a frame, `{rotate: 0.5, noise: 0.2, strength: 1}`; see "
                   "below. By albumentations, with boxes fitted again. Ours."),
    "close_mosaic": ("epochs", "The last so many see no mosaic, mixup, cutmix and copy-paste."),
    "multi_scale": ("of imgsz", "Each batch is scaled by up to so much either way."),
    "rect": ("", "Frames keep their shape, not padded to a square, where all have the same."),
    "freeze": ("layers", "The first so many, or a list, learn nothing; in words, all of the architecture's backbone, "
               "or all but its last layer."),
    "ema": ("decay", "Of the average of weights that is validated and kept; 0: none, the weights themselves. Ours: "
            "ultralytics fixes it."),
    "ema_tau": ("steps", "The decay rises as 1 - exp(-steps / this): a short training hardly averages anything. Ours: "
                "ultralytics fixes it."),
    "clip_norm": ("norm", "Longest gradient; 0: any. Ours: ultralytics fixes it."),
    "amp": ("", "Precision of the network's arithmetic; `auto` is bf16 on a GPU, fp32 on a CPU. What asks for half "
            "precision on a CPU is refused."),
    "patience": ("epochs", "Ends a training without a better epoch for so long; 0: never. Never before `min_steps`, "
                 "and in the last stage alone."),
    "deterministic": ("", "The same again gives the same, to the bit on a CPU."),
    "max_det": ("boxes", "Of an image, at most, when the model predicts."),
    "conf": ("score", "Boxes below it are left out when the model predicts."),
    "iou": ("IoU", "The weaker of two boxes that overlap more is dropped when the model predicts."),
    "time": ("hours", "Ends the training after so long; not with `min_steps` or `stages`."),
    "fraction": ("share, or frames", "Trains on a part of the training frames."),
    "cache": ("", "Keeps decoded frames in memory or on the disk."),
    "workers": ("processes", "That load frames, on a GPU; on a CPU there are none."),
    "compile": ("", "Compiles the network first, by torch."),
    "channels_last": ("", "Memory format; on a CPU it is on unless this says false."),
    "attention": ("", "Put between neck and head, on each map that the head looks at: CBAM (Woo et al. 2018), "
                  "coordinate attention (Hou et al. 2021), shuffle attention (Zhang and Yang 2021). Ours."),
    "teacher": ("", "A finished detector to learn from beside the labels, named as `weights` are; see below. Ours: "
                "ultralytics' `distill_model` knows features alone."),
    "denoiser": ("", "What every frame goes through before the detector, in training and ever after: a version that "
                 "`nightscope denoiser train` made, or named as `weights` are; see below. Ours."),
    "distill_classes": ("weight", "Of the teacher's scores, where it is sure. Ours."),
    "distill_boxes": ("weight", "Of the teacher's boxes, where it is sure. Ours."),
    "distill_features": ("weight", "Of where the features are large that the teacher's head looks at. Ours."),
    "distill_temperature": ("", "Teacher's and student's scores and edges are softened by it; 1: as they are. Ours."),
    "average_last": ("epochs", "The model is the mean of the weights of so many last epochs; 0: it is one epoch's. "
                     "Ours."),
    "members": ("detectors", "So many are trained, each by the next seed, and make one model; see below. Ours."),
    "fusion": ("", "What of the members becomes one: their boxes, by weighted boxes fusion, or their weights. Ours."),
    "prune": ("share", "Of the channels of each group, taken out of `weights` before it learns on; see below. Ours."),
    "cls_remap": ("", "With `weights`: takes over what they know of classes of the same name."),
    "val": ("", "Measures on the validation split after each epoch."),
    "plots": ("", "Draws curves and samples."),
    "verbose": ("", "Writes more into the log."),
    "augmentation": ("", "Short for values from `hsv_h` to `copy_paste`; what is said by name wins over it."),
    "stages": ("", "One after the other, each with what it says otherwise; see below."),
}  # fmt: skip

_RANGES = {
    "batch": "1 to 1024, -1, or a share below 1",
    "optimizer": ", ".join(f"`{name}`" for name in OPTIMIZERS),
    "scale": "0 to 1, or two numbers from 0.01 to 10",
    "freeze": f"0 to 1000, a list, {' or '.join(f'`{part}`' for part in FROZEN_PARTS)}",
    "amp": ", ".join(f"`{name}`" for name in PRECISIONS),
    "iou_loss": ", ".join(f"`{word}`" for word in OVERLAPS),
    "attention": ", ".join(f"`{word}`" for word in ATTENTION),
    "teacher": "a file's name, or a blob's oid",
    "denoiser": "a version such as `speckle/1`, a .safetensors' name, or a blob's oid",
    "fusion": f"`{BOXES}`, `{WEIGHTS}`",
    "fraction": "above 0 to 1, or 2 to 10000000",
    "cache": "`ram`, `disk` or false",
    "compile": "true, false, or a mode of torch's",
    "class_weights": "`none`, `balanced`, `effective`, or 0.001 to 1000 by name",
    "copy_paste_classes": "`all`, `rare`, or a list of names",
    "microscope": ", ".join(f"`{word}`" for word in (NONE, *MICROSCOPE)) + ", or 0 to 1 by name",
    "augmentation": ", ".join(f"`{word}`" for word in AUGMENTATIONS),
    "stages": f"1 to {MOST_STAGES}",
}


def knobs() -> Iterator[Knob]:
    """Every value that a recipe may set of the training, in the order of this file."""
    defaults = {**argument_defaults(), **Knobs().model_dump()}
    for name, (unit, meaning) in _MEANING.items():
        yield Knob(name, _range_of(name), unit, _spelt("auto" if name == "amp" else defaults.get(name)), meaning)


def _range_of(name: str) -> str:
    if name in _RANGES:
        return _RANGES[name]
    bounds: dict[str, Any] = getattr(ALLOWED.get(name) or ARGUMENTS[name], "keywords", {})
    return f"{_spelt(bounds['least'])} to {_spelt(bounds['most'])}" if bounds else "true or false"


def _spelt(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.10g}" if isinstance(value, int | float) else str(value)
