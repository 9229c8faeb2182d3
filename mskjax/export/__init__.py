"""A trained run for other programs: weights by torch's names, and the whole measurement as StableHLO or ONNX."""
