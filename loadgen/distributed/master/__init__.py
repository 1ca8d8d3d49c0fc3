"""Locust's side, under gevent: `master` (its events, and what a locustfile imports), `command_line`, `local_workers`,
`leader` (run after run), `whole` (the run as the master sees it, free of Locust), `recent` (its last minutes),
`tables` (Locust's, as ours count), `web` (pages and tabs).
"""
