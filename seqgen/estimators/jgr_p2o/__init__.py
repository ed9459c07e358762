"""JGR-P2O (Fang et al., ECCV 2020): pixels that vote for joints, joints that reason together, on depth."""
