"""A training in a log file."""

from pipeline.evaluation.training_curve import epoch_line


def test_an_epoch_is_one_line_of_a_log_file() -> None:
    row = {"epoch": 3, "num_clusters": 1069, "num_outliers": 223, "loss": 2.1352, "seconds": 12.4}
    assert epoch_line(row, epochs=20) == "epoch 3 of 20: 1,069 clusters, 223 images in none, loss 2.135, 12 s"
    scored = {**row, "student_mAP": 0.489, "teacher_mAP": 0.5}
    assert epoch_line(scored, epochs=20).endswith(", 12 s, student mAP 48.9, teacher mAP 50.0")
