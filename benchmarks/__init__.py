"""What loadgen costs, next to what people would use instead. `make bench`; docs/performance.md explains the figures."""
