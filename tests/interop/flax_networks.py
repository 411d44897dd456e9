"""Plain Flax networks that know nothing of this package."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class Tutorial(nn.Module):
    """The network of Flax's tutorials on MNIST, with fewer features."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(features=8, kernel_size=(3, 3))(x)
        x = nn.relu(x)
        x = nn.avg_pool(x, window_shape=(2, 2), strides=(2, 2))
        x = nn.Conv(features=16, kernel_size=(3, 3))(x)
        x = nn.relu(x)
        x = nn.avg_pool(x, window_shape=(2, 2), strides=(2, 2))
        x = x.reshape((x.shape[0], -1))  # flatten
        x = nn.Dense(features=32)(x)
        x = nn.relu(x)
        return nn.Dense(features=10)(x)


class ManyLayers(nn.Module):
    """Strides, uneven padding, several normalisations, poolings and activations."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(8, (5, 5), strides=2, padding="VALID")(x)
        x = nn.gelu(nn.BatchNorm(use_running_average=not train)(x))
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME")
        x = nn.Conv(8, (3, 3), strides=(2, 1), kernel_dilation=2)(x)
        x = nn.silu(nn.LayerNorm()(x))
        x = nn.tanh(nn.GroupNorm(num_groups=2)(x))
        x = nn.avg_pool(x, (2, 2), padding="SAME", count_include_pad=False)
        x = nn.Dense(16)(x).mean((1, 2))
        x = nn.Dropout(0.5, deterministic=not train)(-x)
        return nn.log_softmax(nn.Dense(10)(x))


class Sine(nn.Module):
    """A network with an operation that programs do not have."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(jnp.sin(x).reshape((x.shape[0], -1)))


class Recurrent(nn.Module):
    """A loop over the rows of the image."""

    @nn.compact
    def __call__(self, x):
        rows = x.squeeze(3).transpose(1, 0, 2)
        state, _ = jax.lax.scan(lambda state, row: (jnp.tanh(state + row), None), rows.max(0), rows)
        return nn.Dense(10)(state)


class Grouped(nn.Module):
    """A convolution in a form that programs do not have."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3))(x)
        return nn.Conv(20, (3, 3), feature_group_count=2)(x).mean((1, 2))[:, :10]
