"""A simulated person who labels a whole project, and the ways of working that are compared through it."""
