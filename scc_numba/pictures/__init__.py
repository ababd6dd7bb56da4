"""Figures and self-contained HTML pages. Numbers in, pictures out; nothing here runs a kernel."""
