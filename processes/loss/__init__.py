"""The loss: turns the readout's potential into dC/du."""
