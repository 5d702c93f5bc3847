"""A core of a chip: slices of dyads, with all that they hold, in one process."""
