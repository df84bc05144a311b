"""A plane on which points lie beside each other that are neighbours in a space of many dimensions."""

import numpy as np


def tsne(points: np.ndarray, perplexity: float = 30.0, steps: int = 500, seed: int = 0) -> np.ndarray:
    """Exact t-SNE (van der Maaten and Hinton 2008), for some thousand points.

    Args:
        points: (n, d), n at least 4.
        perplexity: About how many neighbours a point has; at most a third of the points are taken.
        steps: Of gradient descent.
        seed: Of the start.

    Returns:
        (n, 2) float64.

    Raises:
        ValueError: There are fewer than 4 points.
    """
    count = len(points)
    if count < 4:
        raise ValueError(f't-SNE of {count} points: give it 4 or more')
    near = _affinities(_squared_distances(points.astype(np.float64)), min(perplexity, (count - 1) / 3))
    near = np.maximum((near + near.T) / (2 * count), 1e-12)
    place = 1e-4 * np.random.default_rng(seed).standard_normal((count, 2))
    velocity, gain = np.zeros_like(place), np.ones_like(place)
    for step in range(steps):
        kernel = 1 / (1 + _squared_distances(place))
        np.fill_diagonal(kernel, 0)
        early = step < steps // 4  # exaggerated, so that clusters form
        force = (near * (4 if early else 1) - kernel / kernel.sum()) * kernel
        gradient = 4 * (force.sum(1)[:, None] * place - force @ place)
        gain = np.where(np.sign(gradient) != np.sign(velocity), gain + 0.2, gain * 0.8).clip(min=0.01)
        velocity = (0.5 if early else 0.8) * velocity - 100 * gain * gradient
        place += velocity
        place -= place.mean(0)
    return place


def _squared_distances(points: np.ndarray) -> np.ndarray:
    squares = (points**2).sum(1)
    return np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0)


def _affinities(distances: np.ndarray, perplexity: float, tries: int = 50) -> np.ndarray:
    """Share (n, n) that each point gives the others, as wide for each row as the perplexity asks, by bisection."""
    others = distances + np.where(np.eye(len(distances), dtype=bool), np.inf, 0)
    others -= others.min(1, keepdims=True)
    low, high = np.zeros((len(others), 1)), np.full((len(others), 1), np.inf)
    sharp = 1 / np.maximum(np.median(distances, 1, keepdims=True), 1e-12)
    for _ in range(tries):
        share = np.exp(-sharp * others)
        share /= share.sum(1, keepdims=True)
        entropy = -(share * np.log(np.maximum(share, 1e-300))).sum(1, keepdims=True)
        wide = entropy > np.log(perplexity)
        low, high = np.where(wide, sharp, low), np.where(wide, high, sharp)
        sharp = np.where(np.isinf(high), 2 * sharp, (low + np.where(np.isinf(high), 0, high)) / 2)
    return share
