"""Does loadgen measure right? Cases with a planted truth, which `python -m benchmarks.calibrate` runs."""
