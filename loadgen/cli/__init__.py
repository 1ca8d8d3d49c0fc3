"""The command line: parse, call one function, map to an exit code. Heavy imports stay inside the subcommands."""
