"""The suite around the methods: data, training, sampling, scores, costs, results, and the command `bench`."""

__version__ = "0.1.0"
