"""PyTorch module of `jaxmnist.models.flagship`; the sizes of the family differ in their channels."""

import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]


class Flagship(nn.Module):
    """Convolution, batch norm, exact GELU; dilated at the end, and no classifier layer."""

    def __init__(
        self,
        num_classes: int = 10,
        dropout: float = 0.0,
        features: tuple[int, int, int, int, int] = (10, 13, 14, 14, 14),
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, features[0], 3, bias=False), nn.BatchNorm2d(features[0])
        self.conv2, self.bn2 = nn.Conv2d(features[0], features[1], 3, bias=False), nn.BatchNorm2d(features[1])
        self.conv3, self.bn3 = nn.Conv2d(features[1], features[2], 3, bias=False), nn.BatchNorm2d(features[2])
        self.conv4 = nn.Conv2d(features[2], features[3], 3, padding=1, dilation=2, bias=False)
        self.bn4 = nn.BatchNorm2d(features[3])
        self.conv5 = nn.Conv2d(features[3], features[4], 3, padding=1, dilation=2, bias=False)
        self.bn5 = nn.BatchNorm2d(features[4])
        self.conv6 = nn.Conv2d(features[4], num_classes, 3, padding=1, dilation=2, bias=False)
        self.bn6 = nn.BatchNorm2d(num_classes)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised images `[batch, 1, 28, 28]` to log-probabilities `[batch, num_classes]`."""
        x = self.drop(F.gelu(self.bn1(self.conv1(x))))
        x = self.drop(F.gelu(self.bn2(self.conv2(x))))
        x = F.max_pool2d(x, 2)
        x = self.drop(F.gelu(self.bn3(self.conv3(x))))
        x = self.drop(F.gelu(self.bn4(self.conv4(x))))
        x = self.drop(F.gelu(self.bn5(self.conv5(x))))
        x = self.drop(F.gelu(self.bn6(self.conv6(x))))
        return F.log_softmax(x.mean((2, 3)), dim=1)


class FlagshipMixed(nn.Module):
    """Convolution, batch norm, exact GELU; each kernel is a mixture of four fixed filters. No classifier."""

    def __init__(
        self,
        num_classes: int = 10,
        dropout: float = 0.0,
        features: tuple[int, int, int, int, int] = (8, 8, 8, 8, 8),
    ) -> None:
        super().__init__()
        # The weights, [out, in, 2, 2], hold shares of the filters.
        self.conv1, self.bn1 = nn.Conv2d(1, features[0], 2, bias=False), nn.BatchNorm2d(features[0])
        self.conv2, self.bn2 = nn.Conv2d(features[0], features[1], 2, bias=False), nn.BatchNorm2d(features[1])
        self.conv3, self.bn3 = nn.Conv2d(features[1], features[2], 2, bias=False), nn.BatchNorm2d(features[2])
        self.conv4, self.bn4 = nn.Conv2d(features[2], features[3], 2, bias=False), nn.BatchNorm2d(features[3])
        self.conv5, self.bn5 = nn.Conv2d(features[3], features[4], 2, bias=False), nn.BatchNorm2d(features[4])
        self.conv6, self.bn6 = nn.Conv2d(features[4], num_classes, 2, bias=False), nn.BatchNorm2d(num_classes)
        self.drop = nn.Dropout(dropout)

    def mix(self, layer: nn.Conv2d, x: Tensor, dilation: int = 1) -> Tensor:
        """Convolves maps with mixtures of a mean, two slopes and a spot."""
        mean, slope = torch.ones(3, 3) / 3, torch.tensor([-1.0, 0, 1]).expand(3, 3) / 6**0.5
        spot = 3 * (slope**2 + slope.T**2) - 2 / 3
        filters = torch.stack([mean, slope, slope.T, spot]).to(x)
        kernel = torch.einsum("oif,fhw->oihw", layer.weight.flatten(2), filters)
        return F.conv2d(x, kernel, padding=dilation - 1, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised images `[batch, 1, 28, 28]` to log-probabilities `[batch, num_classes]`."""
        x = self.drop(F.gelu(self.bn1(self.mix(self.conv1, x))))
        x = self.drop(F.gelu(self.bn2(self.mix(self.conv2, x))))
        x = F.max_pool2d(x, 2)
        x = self.drop(F.gelu(self.bn3(self.mix(self.conv3, x))))
        x = self.drop(F.gelu(self.bn4(self.mix(self.conv4, x, 2))))
        x = self.drop(F.gelu(self.bn5(self.mix(self.conv5, x, 2))))
        x = self.drop(F.gelu(self.bn6(self.mix(self.conv6, x, 2))))
        return F.log_softmax(x.mean((2, 3)), dim=1)
