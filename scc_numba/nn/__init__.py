"""The operator in PyTorch. Needs the extra `torch`."""
