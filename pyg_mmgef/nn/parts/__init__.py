"""Parts of models, for models of one's own."""
