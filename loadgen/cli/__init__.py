"""The command line: parse, call one function, map to an exit code. Heavy imports stay inside the subcommands.

`main` (the group, and where an error becomes an exit code), `arguments` (those that commands share), and a module for
each command: `run`, `plan`, `check`, `capacity`, `ab`, `compare`, `export`, `report`, `status`, `identity`, `profile`,
`schema`, `metrics`, `locust_worker`, `record`, `infer`, `replay`.
"""
