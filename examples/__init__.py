"""From published data to a trained model."""
