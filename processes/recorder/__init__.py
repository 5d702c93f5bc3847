"""The recorder: the way out of the circuit."""
