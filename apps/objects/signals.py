"""What importing objects must cause above this app: label sets live higher, so they listen."""

from django.dispatch import Signal

# Sent inside the import's transaction. Arguments: image, class_names (list, one str or None per object of the image,
# in ordinal order), imported_by.
objects_imported = Signal()
# Sent after the last image of an import that brought any. Arguments: project, imported_by.
import_finished = Signal()
