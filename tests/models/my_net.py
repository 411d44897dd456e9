"""A network of the user's own, as Flax's tutorials write them: it knows neither masks nor this package."""

import flax.linen as nn


class CNN(nn.Module):
    features: int = 8
    dropout: float = 0.1

    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.Conv(self.features, (3, 3))(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        x = nn.avg_pool(nn.relu(x), (2, 2), strides=(2, 2))
        x = nn.Conv(self.features, (3, 3))(x)
        x = nn.avg_pool(nn.relu(x), (2, 2), strides=(2, 2))
        x = x.reshape((x.shape[0], -1))
        x = nn.Dropout(self.dropout, deterministic=not train)(nn.relu(nn.Dense(16)(x)))
        return nn.Dense(10)(x)


class Plain(nn.Module):
    """Takes images alone."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(x.reshape((x.shape[0], -1)))


class Five(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(5)(x.reshape((x.shape[0], -1)))


class Failing(nn.Module):
    @nn.compact
    def __call__(self, x):
        raise ValueError("this network is not finished")


class Spectral(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = False):
        x = nn.SpectralNorm(nn.Dense(10))(x.reshape((x.shape[0], -1)), update_stats=train)
        self.variable("cache", "seen", lambda: 0.0)
        return x


NOT_A_NETWORK = 3
