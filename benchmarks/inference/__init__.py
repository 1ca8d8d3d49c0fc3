"""Layouts and captures by a generator, and how well inference finds the one from the other: `make infer-bench`.

From a seed: `layouts` (with `headers` and `bodies`) invents a device's layout, `site` a place with access points and
stations, `talk` what its sessions say, `packets` what a capture has of that, `making` the files.
"""
