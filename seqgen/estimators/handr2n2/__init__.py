"""HandR2N2 (Cheng and Ko, ICCV 2023): a recurrent unit that mends joints, on point clouds."""
