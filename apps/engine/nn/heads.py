"""Layers after the backbone."""

import torch
from torch import nn


class ProjectionHead(nn.Sequential):
    """The layers after the features that only the loss sees (Chen et al. 2020, section 4.2).

    The paper's finding, and why this is apart from the features: the layer before it describes the objects better than
    what the loss is computed on.
    """

    def __init__(self, feature_dim: int, projection_dim: int, *, hidden_layers: int) -> None:
        layers: list[nn.Module] = []
        for _ in range(hidden_layers):
            layers += [
                nn.Linear(feature_dim, feature_dim, bias=False),
                nn.BatchNorm1d(feature_dim),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers, nn.Linear(feature_dim, projection_dim))


class LinearClassifier(nn.Linear):
    """Logits (n, classes) from features (n, feature_dim); row k of the weights is for `class_values[k]`."""

    def __init__(self, feature_dim: int, class_values: tuple[int, ...]) -> None:
        super().__init__(feature_dim, len(class_values))
        self.class_values = class_values
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def take_over(self, other: "LinearClassifier") -> None:
        """Copy from `other` the rows of the classes that both have, so that fine-tuning goes on where it was."""
        with torch.no_grad():
            for row, value in enumerate(self.class_values):
                if value in other.class_values:
                    self.weight[row] = other.weight[other.class_values.index(value)]
                    self.bias[row] = other.bias[other.class_values.index(value)]
