"""From runs and scans to tables, figures and reports."""
