"""Is one build slower than another? Statistics over whole runs, and what may be compared with what."""
