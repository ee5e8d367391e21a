"""Everything that needs torch for training: model, data, loop, export. Not on the codec's path."""
