"""The command ``pyg-mmgef``: from tables and pictures to a trained recommender."""
