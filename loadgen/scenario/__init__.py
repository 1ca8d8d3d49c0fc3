"""What a run shall do: the scenario file (`schema`, `reading`), resolved (`plan`), and its due times (`schedule`).

`json_schema` (the schema for editors), `files` (which others it names), `authentication` and `datagrams` (what of it
cannot be), `requests` (what MSEs ask), `site` (`[site]` and `[switch]`) and `site_plan` (resolved, and what to expect
of them).
"""
