"""PyTorch modules of `jaxmnist.models.first_family`."""

import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]


class First(nn.Module):
    """Convolution, ReLU, batch norm; a 1x1 convolution narrows the map before the only pooling."""

    def __init__(self, num_classes: int = 10, dropout: float = 0.03) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 16, 3, bias=False), nn.BatchNorm2d(16)
        self.conv2, self.bn2 = nn.Conv2d(16, 32, 3, bias=False), nn.BatchNorm2d(32)
        self.trans1 = nn.Conv2d(32, 10, 1, bias=False)
        self.conv3, self.bn3 = nn.Conv2d(10, 16, 3, bias=False), nn.BatchNorm2d(16)
        self.conv4, self.bn4 = nn.Conv2d(16, 16, 3, bias=False), nn.BatchNorm2d(16)
        self.conv5, self.bn5 = nn.Conv2d(16, 16, 3, bias=False), nn.BatchNorm2d(16)
        self.conv6, self.bn6 = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.head = nn.Conv2d(16, num_classes, 1, bias=False)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised images `[batch, 1, 28, 28]` to log-probabilities `[batch, num_classes]`."""
        x = self.drop(self.bn1(F.relu(self.conv1(x))))
        x = self.drop(self.bn2(F.relu(self.conv2(x))))
        x = F.max_pool2d(self.trans1(x), 2)
        x = self.drop(self.bn3(F.relu(self.conv3(x))))
        x = self.drop(self.bn4(F.relu(self.conv4(x))))
        x = self.drop(self.bn5(F.relu(self.conv5(x))))
        x = self.drop(self.bn6(F.relu(self.conv6(x))))
        x = self.head(F.avg_pool2d(x, 6))  # 6x6 to 1x1
        return F.log_softmax(x.flatten(1), dim=1)


class Second(nn.Module):
    """Convolution, ReLU, batch norm; a 1x1 convolution narrows the map before the only pooling."""

    def __init__(self, num_classes: int = 10, dropout: float = 0.1) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 16, 3, bias=False), nn.BatchNorm2d(16)
        self.trans1 = nn.Conv2d(16, 8, 1, bias=False)
        self.conv3, self.bn3 = nn.Conv2d(8, 12, 3, bias=False), nn.BatchNorm2d(12)
        self.conv4, self.bn4 = nn.Conv2d(12, 12, 3, bias=False), nn.BatchNorm2d(12)
        self.conv5, self.bn5 = nn.Conv2d(12, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12)
        self.head = nn.Conv2d(12, num_classes, 1, bias=False)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised images `[batch, 1, 28, 28]` to log-probabilities `[batch, num_classes]`."""
        x = self.drop(self.bn1(F.relu(self.conv1(x))))
        x = self.drop(self.bn2(F.relu(self.conv2(x))))
        x = F.max_pool2d(self.trans1(x), 2)
        x = self.drop(self.bn3(F.relu(self.conv3(x))))
        x = self.drop(self.bn4(F.relu(self.conv4(x))))
        x = self.drop(self.bn5(F.relu(self.conv5(x))))
        x = self.head(F.avg_pool2d(x, 8))  # 8x8 to 1x1
        return F.log_softmax(x.flatten(1), dim=1)


class Third(nn.Module):
    """Convolution, exact GELU, batch norm; two skip connections and attention."""

    def __init__(self, num_classes: int = 10, dropout: float = 0.03) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 10, 3, bias=False), nn.BatchNorm2d(10)
        self.conv2, self.bn2 = nn.Conv2d(10, 14, 3, bias=False), nn.BatchNorm2d(14)
        self.trans1 = nn.Conv2d(14, 10, 1, bias=False)
        self.conv3, self.bn3 = nn.Conv2d(10, 14, 3, bias=False), nn.BatchNorm2d(14)
        self.skip1 = nn.Conv2d(10, 14, 1, bias=False)
        self.conv4, self.bn4 = nn.Conv2d(14, 14, 3, bias=False), nn.BatchNorm2d(14)
        self.conv5, self.bn5 = nn.Conv2d(14, 12, 3, bias=False), nn.BatchNorm2d(12)
        self.skip2 = nn.Conv2d(14, 12, 1, bias=False)
        self.conv6, self.bn6 = nn.Conv2d(12, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12)
        self.head = nn.Conv2d(12, num_classes, 1, bias=False)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised images `[batch, 1, 28, 28]` to log-probabilities `[batch, num_classes]`."""
        x = self.drop(self.bn1(F.gelu(self.conv1(x))))
        x = self.drop(self.bn2(F.gelu(self.conv2(x))))
        pooled = F.max_pool2d(self.trans1(x), 2)
        x = self.drop(self.bn3(F.gelu(self.conv3(pooled))))
        joined = x + self.skip1(F.interpolate(pooled, size=10, mode="nearest"))
        x = self.drop(self.bn4(F.gelu(self.conv4(joined))))
        x = self.drop(self.bn5(F.gelu(self.conv5(x))))
        x = x + self.skip2(F.interpolate(joined, size=6, mode="nearest"))
        x = self.drop(self.bn6(F.gelu(self.conv6(x))))
        x = x * x.mean((2, 3), keepdim=True).sigmoid()  # attention: each map by its own mean
        x = self.head(F.avg_pool2d(x, 6))  # 6x6 to 1x1
        return F.log_softmax(x.flatten(1), dim=1)
