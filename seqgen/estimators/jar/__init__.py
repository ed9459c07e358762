"""JAR (Zheng et al., BMVC 2021): feature maps of each joint, decoded by one decoder, on RGB."""
