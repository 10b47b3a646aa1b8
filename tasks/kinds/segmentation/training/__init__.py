"""How segmenters learn: what is learned from a crop, losses, stages, and a training that can be killed and goes on."""
