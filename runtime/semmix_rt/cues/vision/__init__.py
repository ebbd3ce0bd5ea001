"""What single pictures show, measured."""
