import json
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

from pipeline.clustering import dbscan, jaccard_distance
from pipeline.common.kernels import compiled, over_rows, run

NUM_IMAGES = 12_000  # a byte for each pair would be 144 MB
MORE_MEGABYTES = 60

# Runs the whole step twice, at a small and at a large size, with nothing but warnings as errors around it.
SCRIPT = f"""
import json, re, sys
from pathlib import Path
import numpy as np
from pipeline.clustering import dbscan, jaccard_distance
from pipeline.clustering import candidates, dbscan as _, jaccard, neighbourhoods, neighbours

def peak():
    # Not resource.ru_maxrss, which begins at what the parent process had reached.
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1)) / 1024

def step(num_images):
    rng = np.random.default_rng(0)
    features = np.repeat(rng.standard_normal((num_images // 10, 16), dtype=np.float32), 10, axis=0)
    features += 0.2 * rng.standard_normal(features.shape, dtype=np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    before = peak()
    distance = jaccard_distance(features, k1=20, k2=6, max_distance=0.6)
    labels = dbscan(distance, eps=0.6, min_samples=4)
    return int(labels.max()) + 1, peak() - before

step(500)
clusters, megabytes = step({NUM_IMAGES})
compiled = {{}}
for module in (candidates, sys.modules["pipeline.clustering.dbscan"], jaccard, neighbourhoods, neighbours):
    for name, function in vars(module).items():
        if hasattr(function, "stats"):
            compiled[name] = sum(function.stats.cache_misses.values())
print(json.dumps({{"clusters": clusters, "megabytes": megabytes, "compiled": compiled}}))
"""


@pytest.fixture(scope="module")
def second_process(request):
    """What a process reports that starts after this one has compiled everything."""
    # More than one tile, and more equal images than there are candidates: every function is called.
    features = np.random.default_rng(0).standard_normal((1100, 8), dtype=np.float32)
    features[:60] = features[0]
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    dbscan(jaccard_distance(features, k1=4, k2=2, max_distance=0.6), eps=0.6, min_samples=4)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        cwd=request.config.rootpath,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_second_process_compiles_nothing(second_process):
    assert len(second_process["compiled"]) >= 10
    assert {name: misses for name, misses in second_process["compiled"].items() if misses} == {}


def test_memory_of_the_step_is_not_quadratic(second_process):
    assert second_process["clusters"] > NUM_IMAGES / 20
    assert second_process["megabytes"] < MORE_MEGABYTES


def test_compiled_works_where_nothing_can_be_kept():
    def twice(x):
        return 2 * x

    twice.__code__ = twice.__code__.replace(co_filename="no/such/file.py")
    assert compiled(twice)(21) == 42


def test_modules_with_kernels_open_where_neither_code_nor_home_can_be_written(request, tmp_path):
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(request.config.rootpath / "pipeline", tmp_path / "pipeline", ignore=without)
    for folder in [tmp_path / "pipeline", *(path for path in (tmp_path / "pipeline").rglob("*") if path.is_dir())]:
        (folder / "__pycache__").touch()  # a file in the folder's place, which stops root too
    users = [file for file in (tmp_path / "pipeline").rglob("*.py") if "@compiled" in file.read_text(encoding="utf-8")]
    assert len(users) >= 8
    script = "\n".join(f"import {'.'.join(file.relative_to(tmp_path).with_suffix('').parts)}" for file in users)
    writable = ("XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "PYTHONPATH")
    env = {key: value for key, value in os.environ.items() if key not in writable} | {"HOME": os.devnull}
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_compiled_reorders_sums_on_request_only():
    def total(values):
        result = 0.0
        for value in values:
            result += value
        return result

    values = np.array([1e17, 1.0, -1e17, 1.0] * 8)
    assert compiled(total)(values) == total(values)
    reordered = compiled(reorder_sums=True)(total)
    assert reordered.targetoptions["fastmath"] == {"reassoc"}


def test_over_rows_covers_every_row_once_in_order():
    for threads in (1, 3):
        assert over_rows(lambda start, stop: (start, stop), 10, rows=4, threads=threads) == [(0, 4), (4, 8), (8, 10)]
    assert over_rows(lambda start, stop: (start, stop), 0, rows=4) == []


def test_run_uses_several_threads_and_passes_errors_on():
    both = threading.Barrier(2, timeout=30)  # passes only if two tasks are under way at a time
    run([both.wait, both.wait], threads=2)

    def fail():
        raise ValueError("row 3")

    with pytest.raises(ValueError, match="row 3"):
        run([fail, fail], threads=2)
