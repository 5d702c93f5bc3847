"""The comparisons that users come for, one study a module."""
