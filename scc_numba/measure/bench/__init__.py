"""The benchmark: every rung, every peer and cuBLAS on the layers of real networks, timed on a GPU.

layers      which layers
providers   who computes: rungs, peers, roofs, and `best`
gpu         the device: CUDA events, a flushed L2, the machine's facts
samples     whether what was timed is right
tuning      which tile each rung is timed with
results     the rows, kept one by one, so that an interrupted run goes on where it stopped
work        all of it together
summary     what it comes to: % of cuBLAS, times faster than the best peer
"""
