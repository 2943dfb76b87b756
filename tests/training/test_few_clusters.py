"""An epoch that finds too few clusters for a batch stops, and says what each eps would find."""

import copy
from typing import Any

import pytest

from pipeline.common.errors import UserError
from pipeline.model import build
from pipeline.training.trainer import Trainer
from tests.training.small import small_settings


@pytest.mark.parametrize("method", ["dccc", "cluster_contrast", "dccc_cam"])
def test_too_few_clusters_are_one_line_with_the_curve(crowd: Any, method: str) -> None:
    settings = small_settings(method=method, sampler__batch=64, sampler__instances=2, model__bn_group=64)
    student = build("resnet10_w32", bn_group=64)
    teacher = copy.deepcopy(student) if settings.has_teacher else None
    trainer = Trainer(student, teacher, images=crowd.images, cameras=crowd.cameras, settings=settings, shown=False)
    with pytest.raises(
        UserError, match=r"a batch needs 32 .*Clusters by eps, and the share.* 0\.25: \d+ \(\d+%\)"
    ) as told:
        trainer.epoch()
    assert "\n" not in str(told.value)
