"""The way onto a chip: partition, placement, routes, schedule, counts and cost, and an independent check of it all."""
