"""What a training of a classifier can be given: every value with its type, its default and its meaning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.schemas import Frozen

SYMMETRIES = 8
"""Ways to turn and mirror a square picture without resampling it."""


class PredictOptions(Frozen):
    """How a finished classifier predicts."""

    tta: bool = Field(default=False, description="Look at a picture turned and mirrored in all eight ways.")


class StagePlan(Frozen):
    """One stage of a training: what is trained, for how long, how fast."""

    train: Literal["head", "all"] | int = Field(
        description="'head' (the last layer), 'all', or a number: the head and so many of the last blocks."
    )
    epochs: int
    lr: float


class MoreEncoder(Frozen):
    """A further network whose features a classical head sees, or the first one's again of the same pictures changed."""

    weights: str = Field(description="Installed with us; they say which network it is.")
    contrast: Literal["as-is", "alike"] = Field(
        default="as-is", description="'alike': every picture gets the same mean and deviation first."
    )


class TrainingPlan(Frozen):
    """How a classifier learns: `Recipe.arguments`, complete."""

    model: str = Field(default="tf_efficientnet_lite0", description="The network: a name of timm's, or one of ours.")
    imgsz: int = Field(default=160, description="Side, in pixels, that pictures are scaled to.")
    fit: Literal["pad", "stretch", "crop"] = Field(
        default="pad", description="How a picture that is not square becomes so: margins mirrored, stretched, or cut."
    )
    head: Literal["network", "logistic", "svm-linear", "svm-rbf"] = Field(
        default="network", description="'network' trains end to end; the others classify the frozen network's features."
    )

    epochs: int = Field(default=20, description="Passes over the training split, of the stage that trains all.")
    freeze_epochs: int = Field(default=0, description="Epochs before these that train the head alone.")
    stages: tuple[StagePlan, ...] = Field(
        default=(), description="Instead of `epochs`, `freeze_epochs`, `lr`, `head_lr`: one {train, epochs, lr} each."
    )
    min_steps: int = Field(default=0, description="Optimizer steps at least: the last stage is prolonged until then.")
    batch: int = Field(default=16, description="Pictures in a step.")
    optimizer: Literal["AdamW", "SGD"] = "AdamW"
    lr: float = Field(default=0.001, description="Highest learning rate.")
    head_lr: float = Field(default=0.003, description="The same, while the head is trained alone.")
    lr_final: float = Field(default=0.01, description="Where a stage's learning rate ends, as a share of its highest.")
    layer_decay: float = Field(default=1.0, description="Factor on the learning rate, each layer down from the head.")
    momentum: float = Field(default=0.9, description="Of SGD.")
    weight_decay: float = Field(default=0.02, description="On weights, not on biases and norms.")
    warmup_epochs: float = Field(default=1.0, description="In which a stage's learning rate rises from nothing.")
    clip_norm: float = Field(default=0.0, description="Longest gradient; 0: any.")
    dropout: float = Field(default=0.2, description="Before the last layer; in ours, in the fully connected part.")
    drop_path: float = Field(default=0.0, description="Stochastic depth, where the network has it.")
    ema: float = Field(default=0.0, description="Decay of the average of weights that is kept; 0: no average.")

    loss: Literal["cross-entropy", "focal"] = "cross-entropy"
    focal_gamma: float = Field(default=2.0, description="How much the focal loss looks away from what is easy.")
    class_weights: Literal["none", "balanced"] = Field(default="none", description="Weigh rare classes up in the loss.")
    sampler: Literal["shuffle", "balanced"] = Field(default="shuffle", description="Draw rare classes more often.")
    label_smoothing: float = 0.0
    mixup: float = Field(default=0.0, description="Alpha of the mixing of pairs of pictures; 0: none.")

    flip: bool = Field(default=True, description="Mirror both ways: a microscope has no up.")
    degrees: float = Field(default=180.0, description="Turn by up to so much either way.")
    translate: float = Field(default=0.05, description="Shift by up to such a share of the side.")
    scale: float = Field(default=0.1, description="Shrink or enlarge by up to such a share.")
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.02
    blur: float = Field(default=0.0, description="How often a picture is blurred.")
    erase: float = Field(default=0.0, description="How often a patch is erased.")

    patience: int = Field(default=0, description="Epochs without progress on the validation split; 0: no early stop.")
    monitor: Literal["loss", "accuracy", "balanced_accuracy", "ROC_AUC"] = Field(
        default="loss", description="What progress on the validation split is."
    )
    keep: Literal["best", "last"] = Field(default="best", description="Which epoch's weights are handed over.")

    blocks: int = Field(default=0, description="Frozen features are taken of so many of the last blocks; 0: of all.")
    pooling: Literal["mean", "deviation", "mean+deviation"] = Field(
        default="mean",
        description="What of a block's output is a feature: its mean over a picture, its deviation, or both.",
    )
    window: float = Field(
        default=0.0,
        description="Gaussian about the middle by which pooling weighs places: its deviation in sides; 0: all alike.",
    )
    last_layer: bool = Field(default=True, description="Whether what the network's last layer sees is a feature, too.")
    views: int = Field(default=4, description="In how many of its eight symmetries a classical head sees a picture.")
    average_views: bool = Field(
        default=False, description="Average a picture's features over these symmetries; else each is a row of its own."
    )
    more_encoders: tuple[MoreEncoder, ...] = Field(
        default=(), description="Further networks whose features stand in the same row: {weights, contrast} each."
    )
    C: float = Field(default=0.01, description="Of a classical head: the smaller, the smoother.")
    gamma: float = Field(default=0.0, description="Of svm-rbf, in units of 1 / (features x variance); 0: 1.")
    pca: int = Field(default=0, description="Principal components that a classical head sees; 0: the features.")
    calibration: Literal["none", "platt"] = Field(
        default="none",
        description="Of an SVM: 'platt' makes its scores log odds, by those of training pictures that it did not see.",
    )

    amp: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        default="auto", description="Precision of the network's arithmetic; auto: bf16 on a GPU, fp32 on a CPU."
    )
    deterministic: bool = True
    cache: bool = Field(default=True, description="Keep the scaled pictures in memory.")
    workers: int = Field(default=0, description="Processes that augment; a CPU needs none.")

    def staged(self) -> tuple[StagePlan, ...]:
        """The stages, spelt out."""
        if self.stages:
            return self.stages
        head = (StagePlan(train="head", epochs=self.freeze_epochs, lr=self.head_lr),) if self.freeze_epochs else ()
        return (*head, StagePlan(train="all", epochs=self.epochs, lr=self.lr))
