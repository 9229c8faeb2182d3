"""Weights from other frameworks: declarative rules, strict both ways, and nothing in a file is ever executed."""
