"""PyTorch modules of `jaxmnist.models.challenge`."""

import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]


class ChallengeLL(nn.Module):
    """Convolution, batch norm, ReLU; a 1x1 head and two linear layers."""

    def __init__(self, num_classes: int = 10, dropout: float = 0.05) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.conv3, self.bn3 = nn.Conv2d(8, 16, 3, bias=False), nn.BatchNorm2d(16)
        self.conv4, self.bn4 = nn.Conv2d(16, 16, 3, bias=False), nn.BatchNorm2d(16)
        self.conv5, self.bn5 = nn.Conv2d(16, 32, 3, bias=False), nn.BatchNorm2d(32)
        self.head, self.head_bn = nn.Conv2d(32, num_classes, 1, bias=False), nn.BatchNorm2d(num_classes)
        self.fc1 = nn.Linear(num_classes, num_classes, bias=False)
        self.fc2 = nn.Linear(num_classes, num_classes, bias=False)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised images `[batch, 1, 28, 28]` to logits `[batch, num_classes]`."""
        x = self.drop(F.relu(self.bn1(self.conv1(x))))
        x = self.drop(F.relu(self.bn2(self.conv2(x))))
        x = F.max_pool2d(x, 2)
        x = self.drop(F.relu(self.bn3(self.conv3(x))))
        x = self.drop(F.relu(self.bn4(self.conv4(x))))
        x = F.max_pool2d(x, 2)
        x = self.drop(F.relu(self.bn5(self.conv5(x))))
        x = F.relu(self.head_bn(self.head(x)))
        return self.fc2(F.relu(self.fc1(x.mean((2, 3)))))


class ChallengeGAP(nn.Module):
    """Convolution, batch norm, ReLU; a 1x1 head with batch norm and ReLU before the average."""

    def __init__(self, num_classes: int = 10, dropout: float = 0.05) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 12, 3, bias=False), nn.BatchNorm2d(12)
        self.conv2, self.bn2 = nn.Conv2d(12, 12, 3, bias=False), nn.BatchNorm2d(12)
        self.conv3, self.bn3 = nn.Conv2d(12, 12, 3, bias=False), nn.BatchNorm2d(12)
        self.conv4, self.bn4 = nn.Conv2d(12, 12, 3, bias=False), nn.BatchNorm2d(12)
        self.conv5, self.bn5 = nn.Conv2d(12, 24, 3, bias=False), nn.BatchNorm2d(24)
        self.head, self.head_bn = nn.Conv2d(24, num_classes, 1, bias=False), nn.BatchNorm2d(num_classes)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised images `[batch, 1, 28, 28]` to logits `[batch, num_classes]`, never negative."""
        x = self.drop(F.relu(self.bn1(self.conv1(x))))
        x = self.drop(F.relu(self.bn2(self.conv2(x))))
        x = F.max_pool2d(x, 2)
        x = self.drop(F.relu(self.bn3(self.conv3(x))))
        x = self.drop(F.relu(self.bn4(self.conv4(x))))
        x = F.max_pool2d(x, 2)
        x = self.drop(F.relu(self.bn5(self.conv5(x))))
        x = F.relu(self.head_bn(self.head(x)))
        return x.mean((2, 3))


class ChallengeFinal(nn.Module):
    """Convolution, batch norm, ReLU; a bare 1x1 head after the average."""

    def __init__(self, num_classes: int = 10, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 12, 3, bias=False), nn.BatchNorm2d(12)
        self.conv2, self.bn2 = nn.Conv2d(12, 12, 3, bias=False), nn.BatchNorm2d(12)
        self.conv3, self.bn3 = nn.Conv2d(12, 12, 3, bias=False), nn.BatchNorm2d(12)
        self.conv4, self.bn4 = nn.Conv2d(12, 12, 3, bias=False), nn.BatchNorm2d(12)
        self.conv5, self.bn5 = nn.Conv2d(12, 24, 3, bias=False), nn.BatchNorm2d(24)
        self.head = nn.Conv2d(24, num_classes, 1, bias=False)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised images `[batch, 1, 28, 28]` to logits `[batch, num_classes]`."""
        x = self.drop(F.relu(self.bn1(self.conv1(x))))
        x = self.drop(F.relu(self.bn2(self.conv2(x))))
        x = F.max_pool2d(x, 2)
        x = self.drop(F.relu(self.bn3(self.conv3(x))))
        x = self.drop(F.relu(self.bn4(self.conv4(x))))
        x = F.max_pool2d(x, 2)
        x = self.drop(F.relu(self.bn5(self.conv5(x))))
        x = self.head(x.mean((2, 3), keepdim=True))
        return x.flatten(1)
