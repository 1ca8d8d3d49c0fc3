"""What a run that goes on tells of its peers: asked and answered over a socket on this machine."""
