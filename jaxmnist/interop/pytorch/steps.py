"""PyTorch modules of `jaxmnist.models.steps`; every convolution has a bias."""

import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]


class Step1(nn.Module):
    """Convolution and ReLU, no normalisation; a 3x3 head."""

    def __init__(self, num_classes: int = 10, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.conv3 = nn.Conv2d(16, 32, 3, padding=1)
        self.conv4 = nn.Conv2d(32, 64, 3, padding=1)
        self.conv5 = nn.Conv2d(64, 128, 3, padding=1)
        self.conv6 = nn.Conv2d(128, 128, 3, padding=1)
        self.head = nn.Conv2d(128, num_classes, 3)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised images `[batch, 1, 28, 28]` to log-probabilities `[batch, num_classes]`."""
        x = self.drop(F.relu(self.conv1(x)))
        x = self.drop(F.relu(self.conv2(x)))
        x = self.drop(F.relu(self.conv3(x)))
        x = self.drop(F.relu(self.conv4(x)))
        x = F.max_pool2d(x, 2)
        x = self.drop(F.relu(self.conv5(x)))
        x = self.drop(F.relu(self.conv6(x)))
        x = F.max_pool2d(x, 2)
        x = F.avg_pool2d(self.head(x), 5)  # 5x5 to 1x1
        return F.log_softmax(x.flatten(1), dim=1)


class Step3(nn.Module):
    """Convolution, ReLU, batch norm; a 1x1 convolution narrows the map before the first pooling."""

    def __init__(self, num_classes: int = 10, dropout: float = 0.05) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.trans1 = nn.Conv2d(12, 6, 1)
        self.conv3, self.bn3 = nn.Conv2d(6, 12, 3), nn.BatchNorm2d(12)
        self.conv4, self.bn4 = nn.Conv2d(12, 12, 3), nn.BatchNorm2d(12)
        self.conv5, self.bn5 = nn.Conv2d(12, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.conv6, self.bn6 = nn.Conv2d(12, 12, 3), nn.BatchNorm2d(12)
        self.conv7, self.bn7 = nn.Conv2d(12, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.head = nn.Conv2d(12, num_classes, 1)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised images `[batch, 1, 28, 28]` to log-probabilities `[batch, num_classes]`."""
        x = self.drop(self.bn1(F.relu(self.conv1(x))))
        x = self.drop(self.bn2(F.relu(self.conv2(x))))
        x = F.max_pool2d(self.trans1(x), 2)
        x = self.drop(self.bn3(F.relu(self.conv3(x))))
        x = self.drop(self.bn4(F.relu(self.conv4(x))))
        x = self.drop(self.bn5(F.relu(self.conv5(x))))
        x = F.max_pool2d(x, 2)
        x = self.drop(self.bn6(F.relu(self.conv6(x))))
        x = self.drop(self.bn7(F.relu(self.conv7(x))))
        x = self.head(F.avg_pool2d(x, 3))  # 3x3 to 1x1
        return F.log_softmax(x.flatten(1), dim=1)
