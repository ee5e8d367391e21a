"""The research instrument: train and measure a grid of models, fit how size pays."""
