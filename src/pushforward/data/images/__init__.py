"""Image files, stores of images, and images that stay on disk."""
