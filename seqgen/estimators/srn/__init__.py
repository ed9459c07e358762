"""SRN (Ren et al., BMVC 2019): stacked regression joined by maps made from joints, on depth."""
