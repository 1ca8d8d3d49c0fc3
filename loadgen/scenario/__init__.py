"""What a run shall do: the scenario file (`schema`, `reading`), resolved (`plan`), and its due times (`schedule`).

`digest` (which plans are one load), `json_schema` (the schemas for editors), `files` (which others it names),
`authentication` and `datagrams` (what of it cannot be), `sources` (`mse.bind`), `requests` (what MSEs ask), `site`
(`[site]` and `[switch]`) and `site_plan` (resolved, and what to expect of them), `replay_plan` (a capture, and when
its messages are due).
"""
