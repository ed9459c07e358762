"""A stored data set and what it was made from: its clips made again, its labels derived again, what is bad mended."""
