"""What all tests share."""

import os

# Two test processes, or a training beside the tests, must not wait for each other's threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
