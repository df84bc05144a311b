"""Neighbours on a plane."""

import numpy as np
import pytest

from mmuda.utils.tsne import _affinities, _squared_distances, tsne


def test_clusters_stay_together_and_apart() -> None:
    rng = np.random.default_rng(0)
    centres = 10 * np.eye(3, 8)
    points = np.concatenate([centre + rng.normal(0, 0.5, (30, 8)) for centre in centres])
    place = tsne(points, perplexity=10, steps=250)
    means = place.reshape(3, 30, 2).mean(1)
    inside = np.linalg.norm(place.reshape(3, 30, 2) - means[:, None], axis=-1).max()
    assert min(np.linalg.norm(means[a] - means[b]) for a, b in ((0, 1), (0, 2), (1, 2))) > 2 * inside
    assert np.array_equal(place, tsne(points, perplexity=10, steps=250))


def test_affinities_have_the_perplexity() -> None:
    points = np.random.default_rng(0).normal(size=(60, 5))
    share = _affinities(_squared_distances(points), 12)
    assert (np.diag(share) == 0).all()
    entropy = -(share * np.log(np.maximum(share, 1e-300))).sum(1)
    np.testing.assert_allclose(np.exp(entropy), 12, rtol=1e-3)


def test_equal_points_and_too_few() -> None:
    assert np.isfinite(tsne(np.ones((20, 3)), steps=50)).all()
    with pytest.raises(ValueError, match='t-SNE of 3 points: give it 4 or more'):
        tsne(np.ones((3, 3)))
