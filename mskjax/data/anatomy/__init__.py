"""The anatomy that phantom scans are made of: random patients and the shapes of their muscles, bones and organs."""
