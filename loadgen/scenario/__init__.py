"""What a run shall do: the scenario file, checked (`schema`, `load`), resolved (`plan`), and its due times (`schedule`)."""
