"""What a single picture shows: small models and statistics, each in a file of its own."""
