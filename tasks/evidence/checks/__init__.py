"""What `verify` checks, one file for each part of the world: the chain, the objects, the judging, the registry."""
