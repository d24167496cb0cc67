"""What making a project must cause above this app: label sets live higher, so they listen."""

from django.dispatch import Signal

# Sent inside the transaction that creates a project. Arguments: project.
project_created = Signal()
