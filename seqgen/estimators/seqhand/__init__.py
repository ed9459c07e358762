"""SeqHAND-Net (Yang et al., ECCV 2020): a ResNet and a ConvLSTM that say the parameters of a hand, on RGB clips."""
