"""PyTorch modules of `jaxmnist.models.evolution`, with batch normalisation."""

import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]


class EvolutionV1(nn.Module):
    """Convolutions alone: only max pooling is not linear."""

    def __init__(self, num_classes: int = 10, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(8, 10, 3, padding=1, bias=False)
        self.conv3 = nn.Conv2d(10, 16, 3, padding=1, bias=False)
        self.trans1 = nn.Conv2d(16, 8, 1, bias=False)
        self.conv4 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.conv5 = nn.Conv2d(8, 10, 3, padding=1, bias=False)
        self.conv6 = nn.Conv2d(10, 16, 3, padding=1, bias=False)
        self.trans2 = nn.Conv2d(16, 8, 1, bias=False)
        self.conv7 = nn.Conv2d(8, 16, 3, padding=1, bias=False)
        self.head = nn.Conv2d(16, num_classes, 1, bias=False)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised images `[batch, 1, 28, 28]` to log-probabilities `[batch, num_classes]`."""
        x = self.drop(self.conv1(x))
        x = self.drop(self.conv2(x))
        x = self.drop(self.conv3(x))
        x = F.max_pool2d(self.trans1(x), 2)
        x = self.drop(self.conv4(x))
        x = self.drop(self.conv5(x))
        x = self.drop(self.conv6(x))
        x = F.max_pool2d(self.trans2(x), 2)
        x = self.drop(self.conv7(x))
        x = self.head(x.mean((2, 3), keepdim=True))
        return F.log_softmax(x.flatten(1), dim=1)


class EvolutionV2(nn.Module):
    """Convolution, batch norm, ReLU; each pooling is followed by a 1x1 convolution."""

    def __init__(self, num_classes: int = 10, dropout: tuple[float, float] = (0.1, 0.05)) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 10, 3, padding=1, bias=False), nn.BatchNorm2d(10)
        self.conv3, self.bn3 = nn.Conv2d(10, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.drop1 = nn.Dropout(dropout[0])
        self.trans1, self.trans1_bn = nn.Conv2d(16, 8, 1, bias=False), nn.BatchNorm2d(8)
        self.conv4, self.bn4 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv5, self.bn5 = nn.Conv2d(8, 10, 3, padding=1, bias=False), nn.BatchNorm2d(10)
        self.conv6, self.bn6 = nn.Conv2d(10, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.drop2 = nn.Dropout(dropout[1])
        self.trans2, self.trans2_bn = nn.Conv2d(16, 8, 1, bias=False), nn.BatchNorm2d(8)
        self.conv7 = nn.Conv2d(8, 16, 3, padding=1, bias=False)
        self.head = nn.Conv2d(16, num_classes, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised images `[batch, 1, 28, 28]` to log-probabilities `[batch, num_classes]`."""
        x = self.drop1(F.relu(self.bn1(self.conv1(x))))
        x = self.drop1(F.relu(self.bn2(self.conv2(x))))
        x = self.drop1(F.relu(self.bn3(self.conv3(x))))
        x = F.relu(self.trans1_bn(self.trans1(F.max_pool2d(x, 2))))
        x = self.drop2(F.relu(self.bn4(self.conv4(x))))
        x = self.drop2(F.relu(self.bn5(self.conv5(x))))
        x = self.drop2(F.relu(self.bn6(self.conv6(x))))
        x = F.relu(self.trans2_bn(self.trans2(F.max_pool2d(x, 2))))
        x = self.conv7(x)
        x = self.head(x.mean((2, 3), keepdim=True))
        return F.log_softmax(x.flatten(1), dim=1)


class EvolutionV3(nn.Module):
    """Convolution, batch norm, ReLU; a skip connection over the second of three stages."""

    def __init__(self, num_classes: int = 10, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 10, 3, padding=1, bias=False), nn.BatchNorm2d(10)
        self.conv3, self.bn3 = nn.Conv2d(10, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.trans1 = nn.Conv2d(16, 8, 1, bias=False)
        self.conv4, self.bn4 = nn.Conv2d(8, 10, 3, padding=1, bias=False), nn.BatchNorm2d(10)
        self.conv5, self.bn5 = nn.Conv2d(10, 10, 3, padding=1, bias=False), nn.BatchNorm2d(10)
        self.conv6, self.bn6 = nn.Conv2d(10, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12)
        self.trans2 = nn.Conv2d(12, 8, 1, bias=False)
        self.conv7, self.bn7 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv8, self.bn8 = nn.Conv2d(8, 10, 3, padding=1, bias=False), nn.BatchNorm2d(10)
        self.conv9 = nn.Conv2d(10, 12, 3, padding=1, bias=False)
        self.head = nn.Conv2d(12, num_classes, 1, bias=False)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised images `[batch, 1, 28, 28]` to log-probabilities `[batch, num_classes]`."""
        x = self.drop(F.relu(self.bn1(self.conv1(x))))
        x = self.drop(F.relu(self.bn2(self.conv2(x))))
        x = self.drop(F.relu(self.bn3(self.conv3(x))))
        narrowed = self.trans1(F.max_pool2d(x, 2))
        x = self.drop(F.relu(self.bn4(self.conv4(narrowed))))
        x = self.drop(F.relu(self.bn5(self.conv5(x))))
        x = self.drop(F.relu(self.bn6(self.conv6(x))))
        x = self.trans2(F.max_pool2d(x, 2)) + F.interpolate(narrowed, size=7, mode="nearest")
        x = self.drop(F.relu(self.bn7(self.conv7(x))))
        x = self.drop(F.relu(self.bn8(self.conv8(x))))
        x = self.head(self.conv9(x))
        return F.log_softmax(x.mean((2, 3)), dim=1)
