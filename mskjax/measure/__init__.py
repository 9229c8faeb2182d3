"""Measurements of muscle masks on the original grid: overlap, distances, area, density, bone removal, cut-offs."""
