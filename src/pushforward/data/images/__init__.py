"""Images: files, stores of them, and images that stay on disk."""
