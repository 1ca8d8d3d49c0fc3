"""From captured streams to a layout: what frames look like, proposed with evidence.

- `frames`: what all steps work on: frames, cut out of streams.
"""
