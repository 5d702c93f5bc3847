"""Readers and writers that return plain records: names, numbers, arrays; no objects, no code."""
