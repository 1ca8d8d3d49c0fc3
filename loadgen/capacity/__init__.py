"""The search for a limit: `search` (which load next), `evidence` (what its tries say together), `campaign` (did it
hold, what was found; all three pure), `dimension` (what a load is), `probing` (makes it), `result`.
"""
