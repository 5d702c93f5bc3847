"""The way onto a chip, in the order in which a network goes it.

chip, chip_files, chips/   what a chip has, takes and costs, with sources; as data
copies                     the copies of the weights, and which messages reach them
demand, partition          what slices of dyads take of a core, and how many there have to be
fan_in, packing            what no core can hold is divided; what little is left over shares a core
layouts, traffic, place    which core holds what, so that messages x hops is small
slices, synapses, routes, links, mapping, files
                           what lies where, what is stored with it, where messages go, and all of it together
verify/                    the independent check: shares no code with any other module
counts, raster             the events of a step, for populations and for single neurons
timing, cost               what they take, at the chip's prices
cores, machine             the chip at work: cores with nothing but their own arrays, and packets between them
coded, pipeline            the same with messages in micro-steps, and with a new sample every step
"""
