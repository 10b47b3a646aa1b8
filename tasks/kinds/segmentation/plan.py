"""What a training of a segmenter can be given: every value with its type, its default and its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from tasks.schemas import Frozen

SIDE_MULTIPLE = 32
"""Networks take pictures whose sides are multiples of this."""


class InputPlan(Frozen):
    """How a picture is prepared, see `pictures.prepare`; stored with the weights, so that use does as training did."""

    channels: dict[str, int] = Field(
        default_factory=dict,
        description="Names -> places from 0 in a picture of several channels; empty: grey or colour as it is.",
    )
    normalise: Literal["percentile", "fixed"] = Field(
        default="percentile", description="By percentiles of the picture, or by the range of its numbers."
    )
    percentiles: tuple[float, float] = Field(default=(1.0, 99.0), description="What becomes 0 and 1.")
    gamma: float = Field(default=1.0, gt=0, description="Power of the normalised values.")
    stain: Literal["none", "macenko", "reinhard"] = Field(
        default="none", description="Normalisation of stained sections in bright field."
    )
    imgsz: int = Field(
        default=512, ge=32, multiple_of=32, description="Side of a tile and of a training crop, in px after scaling."
    )
    scale: float = Field(
        default=1.0, gt=0, description="Pixels that the network sees for each pixel of the picture, along a side."
    )


class PreparedPlan(Frozen):
    """What every recipe of this kind says of its input."""

    imgsz: int = Field(default=512, description="Side of a training crop and of a tile, in pixels after scaling.")
    scale: float = Field(default=1.0, description="Pixels that the network sees for each pixel, along a side.")
    normalise: Literal["percentile", "fixed"] = "percentile"
    percentiles: tuple[float, float] = (1.0, 99.0)
    gamma: float = Field(default=1.0, description="Power of the normalised values.")
    stain_transform: Literal["none", "macenko", "reinhard"] = "none"

    def input_plan(self, channels: Mapping[str, int]) -> InputPlan:
        """How pictures are prepared, with the line's mapping of channels."""
        return InputPlan(
            channels=dict(channels), normalise=self.normalise, percentiles=self.percentiles, gamma=self.gamma,
            stain=self.stain_transform, imgsz=self.imgsz, scale=self.scale,
        )  # fmt: skip


class AugmentationPlan(Frozen):
    """What a training crop may look like as well; see `augmentation.augment`."""

    on: bool = Field(default=True, description="False: crops are cut at random places, and nothing else is done.")
    flip: bool = Field(default=True, description="Mirror both ways: a microscope has no up.")
    turn: bool = Field(default=True, description="Turn by right angles.")
    degrees: float = Field(default=0.0, description="Turn by up to so much either way, resampled.")
    scale: float = Field(default=0.25, description="Shrink or enlarge by up to such a share.")
    brightness: float = Field(default=0.1, description="Add up to so much either way.")
    contrast: float = Field(default=0.2, description="Multiply by up to such a share more or less.")
    gamma: float = Field(default=0.3, description="Raise to a power of up to e to this, either way.")
    blur: float = Field(default=0.1, description="How often a crop is blurred.")
    noise: float = Field(default=0.02, description="Highest deviation of the noise that is added.")
    stain: float = Field(default=0.0, description="Deviation of stain strengths, of stained sections.")
    invert: float = Field(default=0.0, description="How often bright becomes dark.")


class Stage1Plan(Frozen):
    """The finder's training."""

    type: Literal["cellfinder", "image_encoder", "all_backbones"] = Field(
        default="all_backbones",
        description="What learns: 'cellfinder' the finder on a frozen encoder; 'image_encoder' the encoder, too; "
        "'all_backbones' also the mask decoder (on true boxes), so that the shared encoder learns what both need.",
    )
    total_epochs: int = Field(default=60, description="Passes over the training split.")
    learning_rate: float = Field(default=0.001, description="Highest; it rises linearly and falls as half a cosine.")
    patience: int = Field(
        default=0,
        description="Epochs without progress on the validation split, as measured every `val_every`; 0: no early stop.",
    )
    ce_weight: float = Field(default=2.0, description="Of the classes' cross-entropy, in the loss and the matching.")
    l1_weight: float = Field(default=1.0, description="Of the boxes' L1, in the loss and the matching.")
    giou_weight: float = Field(default=2.0, description="Of the boxes' GIoU, in the loss and the matching.")
    dense_weight: float = Field(default=1.0, description="Of the auxiliary one-to-many losses; 0: set matching alone.")


class Stage2Plan(Frozen):
    """The mask decoder's training; the encoder and the finder are frozen: what is found stays found."""

    total_epochs: int = Field(default=20, description="Passes over the training split.")
    learning_rate: float = Field(default=0.001, description="As of stage 1.")
    patience: int = Field(default=0, description="As of stage 1.")
    focal_weight: float = Field(default=1.0, description="Of the focal loss.")
    focal_gamma: float = Field(default=2.0, description="How much the focal loss looks away from what is easy.")
    dice_weight: float = Field(default=1.0, description="Of the Dice loss.")
    boundary_weight: float = Field(default=0.1, description="Of the boundary loss (Kervadec et al. 2019).")
    hard_mining: Literal["none", "plain", "weighted"] = Field(
        default="none",
        description="Online hard-negative mining: 'plain' learns from the boxes with the highest loss alone, "
        "'weighted' weighs every box by its loss.",
    )
    hard_share: float = Field(default=0.5, description="Which share of the boxes plain mining learns from.")
    true_share: float = Field(default=0.2, description="First share of the epochs, which learns from true boxes.")
    predicted_share: float = Field(default=0.5, description="Last share, which learns from the finder's boxes, too.")
    jitter: float = Field(default=0.1, description="After the first share, edges move by up to such a share of a side.")
    most_boxes: int = Field(default=32, description="Boxes of a crop in a step, drawn at random.")


class PredictOptions(Frozen):
    """How a finished segmenter predicts."""

    min_score: float = Field(default=0.0, description="Cells that score lower are left out; 0: as training chose.")


class TrainingPlan(PreparedPlan):
    """How a segmenter learns: `Recipe.arguments`, complete."""

    model: Literal["two-stage", "star-convex"] = Field(
        default="two-stage", description="Finder and mask decoder; or 32 rays from every place (StarDist's idea)."
    )
    encoder: Literal["tf_efficientnet_lite0", "sam-vit", "tiny"] = Field(
        default="tf_efficientnet_lite0", description="What both stages share; 'tiny' is for tests."
    )
    width: int = Field(default=64, description="Channels of the feature pyramid.")
    stage1: Stage1Plan = Field(default_factory=Stage1Plan)
    stage2: Stage2Plan = Field(default_factory=Stage2Plan, description="Star-convex models have no second stage.")
    augmentation: AugmentationPlan = Field(default_factory=AugmentationPlan)

    batch_size: int = Field(default=4, description="Crops in a step.")
    min_steps: int = Field(default=0, description="Optimizer steps of stage 1 at least: it is prolonged until then.")
    crops_per_picture: int = Field(default=1, description="How often an epoch shows each picture.")
    weight_decay: float = Field(default=0.02, description="On weights, not on biases and norms.")
    encoder_lr: float = Field(default=0.3, description="Factor on the encoder's learning rate.")
    warmup_steps: int = Field(default=30, description="In which a stage's learning rate rises from nothing.")
    lr_final: float = Field(default=0.01, description="Where a stage's learning rate ends, as a share of its highest.")
    clip_norm: float = Field(default=5.0, description="Longest gradient; 0: any.")
    ema: float = Field(default=0.99, description="Decay of the average of weights that is kept; 0: no average.")
    keep: Literal["best", "last"] = Field(default="best", description="Which epoch's weights a stage ends with.")
    val_every: int = Field(default=5, description="Epochs between measurements on the validation split.")
    amp: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        default="auto", description="Precision of the network's arithmetic; auto: bf16 on a GPU, fp32 on a CPU."
    )
    deterministic: bool = True
    cache: bool = Field(default=True, description="Keep prepared pictures in memory, while a quarter of it is free.")
    preeval: bool = Field(default=False, description="Measure on the validation split before training.")
    debug: bool = Field(default=False, description="Record memory, parts of the loss, and pictures of every stage.")
