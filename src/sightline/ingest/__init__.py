"""From a folder of images to a dataset version."""
