"""The demonstration's input: a real stained section that comes with scikit-image, and its nuclei."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import data
from skimage.color import rgb2hed
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_local, threshold_otsu
from skimage.morphology import disk, opening
from skimage.segmentation import watershed

NAME = "colon_immunohistochemistry.png"
NEIGHBORHOOD_PX = 51  # about three nuclei: a nucleus is darker than what lies around it
SMALLEST_NUCLEUS_PX = 40
CENTERS_APART_PX = 5


def demonstration_image() -> NDArray[np.uint8]:
    """Colon, hematoxylin and FHL2 antibody with DAB, (512, 512, 3) uint8; from the Human Protein Atlas."""
    image: NDArray[np.uint8] = data.immunohistochemistry()
    return image


def segment_nuclei(image: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Instance ids (h, w) of the nuclei in an image (h, w, 3) stained with hematoxylin and DAB.

    Color deconvolution (Ruifrok and Johnston 2001) gives the hematoxylin; what is above both a global and a local
    threshold is cut at the ridges between the centers of its distance transform.
    """
    hematoxylin = gaussian(rgb2hed(image)[..., 0], 1.0)
    stained = (hematoxylin > threshold_local(hematoxylin, NEIGHBORHOOD_PX)) & (
        hematoxylin > 0.8 * threshold_otsu(hematoxylin)
    )
    stained = ndimage.binary_fill_holes(opening(stained, disk(2)))
    depth = ndimage.distance_transform_edt(stained)
    components, _ = ndimage.label(stained)
    centers = peak_local_max(
        gaussian(depth, 1.0), min_distance=CENTERS_APART_PX, labels=components, exclude_border=False
    )
    seeds = np.zeros(stained.shape, np.int32)
    seeds[tuple(centers.T)] = np.arange(1, len(centers) + 1)
    ids = watershed(-depth, seeds, mask=stained)
    ids[np.bincount(ids.ravel())[ids] < SMALLEST_NUCLEUS_PX] = 0
    _, dense = np.unique(ids, return_inverse=True)
    return dense.reshape(ids.shape).astype(np.uint16)
