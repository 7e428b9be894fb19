"""Numbers that others have published on the same data: test Recall@20 and NDCG@20."""

__all__ = ['PUBLISHED', 'WHY_NOT_THE_SAME']

PUBLISHED: dict[str, dict[str, tuple[float, float]]] = {
    'baby': {
        'VBPR': (0.0663, 0.0284),
        'LightGCN': (0.0754, 0.0328),
        'MMGCN': (0.0615, 0.0261),
        'GRCN': (0.0833, 0.0363),
        'LATTICE': (0.0850, 0.0370),
        'BM3': (0.0883, 0.0383),
        'MICRO': (0.0929, 0.0407),
        'MGCN': (0.0964, 0.0427),
        'FREEDOM': (0.0992, 0.0424),
    },
    'tiktok': {
        'VBPR': (0.0380, 0.0134),
        'LightGCN': (0.0653, 0.0282),
        'MMGCN': (0.0730, 0.0307),
        'GRCN': (0.0804, 0.0350),
        'LATTICE': (0.0843, 0.0367),
        'BM3': (0.0957, 0.0404),
    },
    'gowalla': {'LightGCN': (0.1830, 0.1554)},
}
WHY_NOT_THE_SAME = {
    'baby': 'Published (MMRec protocol, arXiv 2302.04473 and the papers of the models): other '
    'random 8:1:1 splits of the same interactions, one seed, raw feature vectors, of which '
    'this copy of the data holds only the kNN graphs, and the items of validation left among those '
    'that test ranks, which lowers their numbers a little. What the script of MMRec prints as best '
    'are the options that test prefers.',
    'tiktok': "Published in DiffMM's table (arXiv 2406.11781), with text features beside image and "
    'audio, which this copy lacks.',
    'gowalla': 'Published: arXiv 2002.02126, after 1,000 epochs on all of train; here a tenth of '
    "each user's train interactions is validation and never trained on.",
}
