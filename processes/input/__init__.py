"""The input population: shows the clamped samples."""
