"""After a run: what its figures are, and what they say. Free of trio and OpenSSL: the Locust master makes results,
too.

`record` (what whoever led a run holds), `outcome` (makes a result of it), `figures` (from what was merged to a
result's), `thresholds`, `asked` (for, against what was done) with `paces` (how fast a stage was), `faults` (errors as
events), `health` (the generator's verdict on itself) with `own` (how much of a figure is ours), `verdict` (of the run,
and why), `missing` (what a layout cannot give), `timeline` with `cores` (its workers' CPU), `result` and `document`
(results as files).
"""
