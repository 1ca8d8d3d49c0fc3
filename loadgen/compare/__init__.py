"""Is one build slower than another? Statistics over whole runs, and what may be compared with what.

`metrics` (which figures, and what decides), `statistics` (change and noise), `comparison`, `pairs` (the order of
runs), `result`. Narrow: it knows results and nothing of how they came about, so saved ones and new ones are judged
alike.
"""
