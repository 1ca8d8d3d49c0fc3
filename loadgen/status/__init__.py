"""What a run that goes on tells of its peers: asked and answered over a socket on this machine.

`answer` (question and answer), `model` (in the public data model's names), `door` (the socket's directory), `asking`
(the side that asks).
"""
