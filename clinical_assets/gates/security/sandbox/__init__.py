"""A process in which a model is loaded and asked once, and that can reach nothing but the model's own files."""
