"""mskjax: from CT scans and a few muscle outlines to a trusted measurement of skeletal muscle."""

__version__ = "0.1.0"
