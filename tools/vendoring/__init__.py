"""Build-time conversions of third-party weights into the files the product reads."""
