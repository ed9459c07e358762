"""What networks are shown: crops of pictures, cubes of depth, clouds of points; from clips to batches, and back from what networks say to metres."""
