"""Sliding-channel convolution in Numba-CUDA, climbed rung by rung."""

__version__ = "0.1.0"
