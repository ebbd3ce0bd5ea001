"""Training material, the mixing policy, the loss and the trainer."""
