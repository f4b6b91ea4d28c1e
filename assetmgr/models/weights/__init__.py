"""Weights on disk: pickles that are proved to be nothing but tensors, and safetensors made of them."""
