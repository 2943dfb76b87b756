"""The teacher's schedule and its update."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline.contrast import teacher_decay, update_teacher_

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "schedules.npz")


def test_teacher_decay_matches_golden() -> None:
    found = [teacher_decay(step) for step in range(len(GOLDEN["teacher_alpha"]))]
    np.testing.assert_allclose(found, GOLDEN["teacher_alpha"], atol=1e-7)


def test_teacher_decay_landmarks() -> None:
    assert teacher_decay(98) == 0.999
    assert teacher_decay(99) == 0  # the teacher is the student once
    assert teacher_decay(100) == 0.5  # the mean of two students
    assert teacher_decay(1098) == 0.999
    assert teacher_decay(1097) < 0.999
    assert teacher_decay(10**6, decay=0.99) == 0.99


def test_update_teacher_follows_parameters_not_statistics() -> None:
    student, teacher = (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)) for _ in range(2))
    student(torch.randn(8, 3))  # moves the student's running statistics
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    theirs = {name: value.clone() for name, value in student.state_dict().items()}
    update_teacher_(teacher, student, decay=0.75)
    parameters = dict(teacher.named_parameters())
    for name, value in teacher.state_dict().items():
        if name in parameters:
            torch.testing.assert_close(value, 0.75 * before[name] + 0.25 * theirs[name])
        else:
            torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    for name, value in student.state_dict().items():
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=0)


def test_update_teacher_with_decay_zero_copies_exactly() -> None:
    student, teacher = nn.Linear(3, 3), nn.Linear(3, 3)
    update_teacher_(teacher, student, decay=0.0)
    assert torch.equal(teacher.weight, student.weight)
