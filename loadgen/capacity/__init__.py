"""The search for a limit: which loads to try, how each is judged, and what was found."""
