"""The neural networks. The only package that imports torch: no web process may import it."""
