"""Runs rungs and records what they cost."""
