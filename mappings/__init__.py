"""From a network to a chip: which core holds which slice of which dyad, by which routes its messages travel, and in which step.

Empty so far. What comes here: chips and their limits as data (each number with its unit and its source), the stages that
partition, place, route and schedule a network, the cost of the result, and a verifier that shares no code with those stages.
"""
