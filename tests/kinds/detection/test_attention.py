"""Attention before the head, and the overlap in the loss of the boxes: both arrive, and are off by default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tasks.config import RecipeChoice
from tasks.errors import ConfigError
from tasks.kinds.detection.attention import MODULES, attention_in, with_attention
from tasks.kinds.detection.recipe import ARCHITECTURES, load_recipe
from tasks.training.ultralytics_layers import CoordinateAttention, ShuffleAttention
from tasks.training.ultralytics_loading import load_checkpoint
from tasks.training.ultralytics_losses import OverlapLoss
from tests.kinds.detection.small_trainings import make_job, run, set_up
from tests.kinds.detection.test_knobs import losses

STILL = {"hsv_h": 0, "hsv_s": 0, "hsv_v": 0, "scale": 0, "translate": 0, "fliplr": 0, "flipud": 0}


def kinds_of(network: Any) -> list[str]:
    return [type(layer).__name__ for layer in network.model]


@pytest.mark.parametrize(
    ("model", "maps"), [("p3-small.yaml", 1), ("lite0-p2-p4.yaml", 3), ("yolo11n.yaml", 3), ("yolo26n.yaml", 3)]
)
@pytest.mark.parametrize("word", sorted(MODULES))
def test_it_stands_on_each_map_of_the_head_and_nothing_else_moves(
    tmp_path: Path, model: str, maps: int, word: str
) -> None:
    network = set_up(tmp_path, model=model, attention=word).model
    plain = set_up(tmp_path / "plain", model=model, attention="none").model
    before, last = kinds_of(plain)[:-1], kinds_of(plain)[-1]
    assert kinds_of(network) == [*before, *[MODULES[word]] * maps, last]
    sources = [layer.f for layer in network.model[-1 - maps : -1]]
    assert sources == plain.model[-1].f and network.model[-1].f == list(range(len(before), len(before) + maps))
    assert attention_in(network.yaml) == word and attention_in(plain.yaml) is None


def test_it_learns_is_kept_and_can_be_gone_on_with_from_weights(tmp_path: Path) -> None:
    first = make_job(tmp_path, attention="shuffle", lr0=0.02)
    run(first)
    weights = first.folder / "weights.pt"
    kept = load_checkpoint(weights)["model"]
    (attention,) = [layer for layer in kept.model if isinstance(layer, ShuffleAttention)]
    assert attention.channel_weight.abs().max() > 0, "it began at 0, and has learned nothing"

    def started(name: str, **changes: Any) -> Any:
        job = make_job(tmp_path / name, lr0=1e-9, warmup_epochs=0, ema=0, weight_decay=0, epochs=1, **changes)
        run(job.model_copy(update={"weights": weights}))
        return load_checkpoint(job.folder / "weights.pt")["model"]

    for name, changes in (("same", {"attention": "shuffle"}), ("off", {}), ("weights alone", {"model": None})):
        again = started(name, **changes, **({"weights": "a.pt"} if name == "weights alone" else {}))
        assert (attention_in(again.yaml) is None) == (name == "off")
        for mine, same in ((again.model[0], kept.model[0]), (again.model[-1], kept.model[-1])):
            for key, value in mine.named_parameters():
                wanted = same.get_parameter(key).float()
                assert torch.allclose(value.float(), wanted, rtol=2e-3, atol=1e-6), (name, key)
    with pytest.raises(ConfigError, match="cbam cannot be put into weights that were trained with shuffle"):
        started("other", model=None, weights="a.pt", attention="cbam")


def test_coordinate_attention_is_timms() -> None:
    from timm.layers.coord_attn import CoordAttn

    torch.manual_seed(0)
    mine, theirs = CoordinateAttention(48), CoordAttn(48, rd_channels=8, bias=True)
    ours = {"conv1": mine.shared.conv, "bn1": mine.shared.bn, "conv_h": mine.rows, "conv_w": mine.columns}
    for name, layer in ours.items():
        theirs.get_submodule(name).load_state_dict(layer.state_dict(), strict=False)
    theirs.conv1.bias.data.zero_()
    features = torch.randn(2, 48, 7, 12)
    assert torch.allclose(mine(features), theirs(features), atol=1e-6)


def test_shuffle_attention_is_the_papers() -> None:
    """Its authors' own lines, https://github.com/wofmanaf/SA-Net, with our names."""
    torch.manual_seed(0)
    mine = ShuffleAttention(48)
    assert mine.groups == 8 and ShuffleAttention(20).groups == 5
    for parameter in mine.parameters():
        parameter.data.normal_()
    features = torch.randn(2, 48, 7, 12)
    b, _, h, w = features.shape
    x = features.reshape(b * mine.groups, -1, h, w)
    x_0, x_1 = x.chunk(2, dim=1)
    x_n = torch.nn.functional.adaptive_avg_pool2d(x_0, 1)
    x_n = x_0 * torch.sigmoid(mine.channel_weight * x_n + mine.channel_bias)
    x_s = x_1 * torch.sigmoid(mine.place_weight * mine.norm(x_1) + mine.place_bias)
    out = torch.cat([x_n, x_s], dim=1).reshape(b, -1, h, w)
    wanted = out.reshape(b, 2, -1, h, w).permute(0, 2, 1, 3, 4).reshape(b, -1, h, w)
    assert torch.allclose(mine(features), wanted, atol=1e-6)


def test_the_rows_of_a_yaml() -> None:
    plain = yaml.safe_load((ARCHITECTURES / "p3-tiny.yaml").read_text())
    made = with_attention(plain, "cbam", [16])
    assert made["head"] == [[2, 1, "CBAM", [16]], [[3], 1, "Detect", ["nc"]]]
    assert with_attention(made, "cbam", [16]) is made and plain["head"] == [[[2], 1, "Detect", ["nc"]]]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"attention": "self"}, "attention: expected one of none, cbam, coordinate, shuffle, found 'self'"),
        ({"iou_loss": "siou"}, "iou_loss: expected one of ciou, diou, giou, iou, found 'siou'"),
        ({"stages": [{"attention": "cbam"}]}, "attention: cannot be set, it holds for the whole training"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_recipe(RecipeChoice(name="detection-from-scratch", **changes))
    assert fault in str(caught.value)


@pytest.mark.parametrize("overlap", ["diou", "giou", "iou"])
def test_the_overlap_arrives_in_the_loss(tmp_path: Path, overlap: str) -> None:
    plain, trainer = set_up(tmp_path / "plain", **STILL), set_up(tmp_path, **STILL, iou_loss=overlap)
    for network in (trainer.model, trainer.ema.ema):
        assert isinstance(network.criterion.bbox_loss, OverlapLoss)
    usual, other = losses(plain), losses(trainer)
    assert other["box_loss"] != usual["box_loss"]
    assert (other["cls_loss"], other["dfl_loss"]) == pytest.approx((usual["cls_loss"], usual["dfl_loss"]))
    two_heads = set_up(tmp_path / "two", model="yolo26n.yaml", iou_loss=overlap).model.criterion
    assert all(isinstance(each.bbox_loss, OverlapLoss) for each in (two_heads.one2many, two_heads.one2one))


@pytest.mark.parametrize("overlap", ["ciou", "diou", "giou"])
def test_the_overlap_is_torchvisions(overlap: str) -> None:
    from torchvision import ops
    from ultralytics.utils.loss import BboxLoss

    torch.manual_seed(0)
    corner = torch.rand(1, 20, 2) * 8
    boxes = torch.cat([corner, corner + 1 + torch.rand(1, 20, 2) * 8], dim=2)
    other = boxes + torch.randn_like(boxes) * 0.3
    scores, mask = torch.rand(1, 20, 2), torch.ones(1, 20, dtype=torch.bool)
    edges = torch.zeros(1, 20, 4)
    loss, _ = OverlapLoss(BboxLoss(1), overlap)(
        edges, other, edges[0, :, :2], boxes, scores, scores.sum(), mask, torch.tensor([16.0, 16.0]), torch.ones(20, 1)
    )
    reference = {
        "ciou": ops.complete_box_iou_loss, "diou": ops.distance_box_iou_loss, "giou": ops.generalized_box_iou_loss,
    }[overlap]  # fmt: skip
    weight = scores[0].sum(-1)
    assert float(loss) == pytest.approx(float((reference(other[0], boxes[0]) * weight).sum() / scores.sum()), rel=1e-4)
