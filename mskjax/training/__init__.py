"""How any task is learned: state, step, loop, optimiser, sharding, checkpoints, and predicting with a finished run."""
