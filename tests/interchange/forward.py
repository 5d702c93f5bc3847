"""Forward passes that share no code with the package's readers."""

import numpy as np


def potentials(network, inputs):
    """Return the readout's potentials, population by population."""
    rates = {network.input: inputs}
    for name in network.order[1:]:
        population = network.population(name)
        drive = sum(p.forward(rates[p.source]) for p in network.incoming[name])
        drive = drive if population.bias is None else drive + population.bias
        rates[name] = drive if name == network.output else population.phi.rate(drive)
    return rates[network.output]


def static(graph, inputs, rate):
    """Return what a NIR graph shows at rest, with `rate(name, node, drive)` for its neurons."""
    import nir

    values, waiting = {}, dict(graph.nodes)
    sources = {name: [a for a, b in graph.edges if b == name] for name in graph.nodes}
    while waiting:
        name = next(one for one in waiting if all(source in values for source in sources[one]))
        node, drive = waiting.pop(name), sum(values[source] for source in sources[name])
        if isinstance(node, nir.Input):
            values[name] = inputs
        elif isinstance(node, (nir.Affine, nir.Linear)):
            values[name] = drive @ node.weight.T + getattr(node, "bias", 0)
        elif isinstance(node, nir.Scale):
            values[name] = drive * node.scale
        elif isinstance(node, nir.NIRGraph):
            values[name] = static(node, drive, rate)
        elif isinstance(node, nir.Output):
            values[name] = output = drive
        else:
            values[name] = rate(name, node, drive)
    return output


def run_onnx(model, inputs):
    """Return the output of an ONNX model, by onnxruntime if there is one, otherwise by onnx.reference."""
    try:
        import onnxruntime
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        session = ReferenceEvaluator(model)
    else:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {model.graph.input[0].name: inputs})[0])
