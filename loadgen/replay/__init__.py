"""What was recorded, made into a load: a capture's messages, with devices of their own for each endpoint. Sans-I/O.

From the events of a capture to frames that are due, a module a step:

- `places`: where in a frame its MACs, times and our own numbers lie, at any depth;
- `frames`: the messages of a recorded session, read by a wire profile; what does not decode is left out, and counted;
- `sessions`: of these what is played, of each session as columns that grow; `reading`: of a capture, as tracks;
- `recording`: tracks, as they go to workers;
- `macs`: the devices of each endpoint: one to one, and no other endpoint's;
- `ring`: the messages of one endpoint as finished frames, patched as columns when they are sent;
- `answers`: what was answered in the capture, for whoever asks the same;
- `asked`: what MSEs asked in it, for MSEs of ours.
"""
