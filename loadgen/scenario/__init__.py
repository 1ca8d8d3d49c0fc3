"""What a run shall do: the scenario file (`schema`, `load`), resolved (`plan`), and its due times (`schedule`)."""
