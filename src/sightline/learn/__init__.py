"""How a network learns: what training and the search for its parameters share, so that what the search finds is true of training."""
