"""A sensitivity population: sensitivities and the W^T copies of the weights."""
