"""Networks in flax.linen: `build` makes one by name, `init` its fresh variables."""
