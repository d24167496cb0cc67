"""PatchSorter's engine: images to objects, patches to features, features to a map and to predictions.

A plain Python library without Django. Only `apps.engine.nn` imports torch.
"""
