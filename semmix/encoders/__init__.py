"""Encoders that users have on their disk, for imported networks that take their vectors."""
