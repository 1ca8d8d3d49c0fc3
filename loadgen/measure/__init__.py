"""What happened: counters, histograms, the generator's own state, and the result that a run leaves behind."""
