"""A forward population: potentials and the forward copies of the weights."""
