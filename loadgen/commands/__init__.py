"""What a command does, as functions of typed values: options in, exit code out.

`runner` (`loadgen run`), `searcher` (`capacity`), `pairing` (`ab`) with `target` (a command that is one), `inquiry`
(`status`), `results` (`compare`, `export`: saved ones); `options` and `source` (from options to a scenario that was
read), `watching` (a run as it goes on), `tracing` (its handshakes), `advice` (what to try next), `output` (what is
printed).
"""
