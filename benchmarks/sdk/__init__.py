"""What the researcher's side costs: round trips, small calls, efficiency, a run of a million units, starting up."""
