"""PyTorch module of `jaxmnist.models.dilated`."""

import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]


class Dilated(nn.Module):
    """Convolution, batch norm, ReLU; dilated after the only pooling, and no classifier layer."""

    def __init__(self, num_classes: int = 10, dropout: float = 0.03) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 10, 3, bias=False), nn.BatchNorm2d(10)
        self.conv2, self.bn2 = nn.Conv2d(10, 10, 3, bias=False), nn.BatchNorm2d(10)
        self.conv3, self.bn3 = nn.Conv2d(10, 15, 3, bias=False), nn.BatchNorm2d(15)
        self.trans1, self.trans1_bn = nn.Conv2d(15, 10, 1, bias=False), nn.BatchNorm2d(10)
        self.conv4, self.bn4 = nn.Conv2d(10, 10, 3, padding=1, dilation=2, bias=False), nn.BatchNorm2d(10)
        self.conv5, self.bn5 = nn.Conv2d(10, 10, 3, padding=1, dilation=2, bias=False), nn.BatchNorm2d(10)
        self.conv6 = nn.Conv2d(10, num_classes, 3, padding=1, dilation=2, bias=False)
        self.bn6 = nn.BatchNorm2d(num_classes)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Maps normalised images `[batch, 1, 28, 28]` to log-probabilities `[batch, num_classes]`."""
        x = self.drop(F.relu(self.bn1(self.conv1(x))))
        x = self.drop(F.relu(self.bn2(self.conv2(x))))
        x = self.drop(F.relu(self.bn3(self.conv3(x))))
        x = F.max_pool2d(x, 2)
        x = self.drop(F.relu(self.trans1_bn(self.trans1(x))))
        x = self.drop(F.relu(self.bn4(self.conv4(x))))
        x = self.drop(F.relu(self.bn5(self.conv5(x))))
        x = self.drop(F.relu(self.bn6(self.conv6(x))))
        return F.log_softmax(x.mean((2, 3)), dim=1)
