"""Causal language models over tokens as predictors: the token layer and the engines of it."""
