"""What is learned: a task is a frozen dataclass with init, loss, post_update and evaluate."""
