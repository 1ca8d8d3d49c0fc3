"""The simulated site (docs/site.md): what a controller has to tell. Sans-I/O, and seeded.

`site` (what there is to tell at the end of each interval) with `floor` (path loss, walks), `population` (one class of
what is heard), `tellers` (everything that is not measured), `devices` (a record of each), `site_directory` (what it
answers from) and `switch`; `stations`: the fixed ones of a WLC without a site.
"""
