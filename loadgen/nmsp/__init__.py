"""The protocol, sans-I/O: no socket, no clock, no log. Bytes and time come in as arguments.

`services` (23 subservices, the mask), `records` and `messages`, `catalogue` (who sends which, and what answers it),
`dialogue_document` (who says what in which order, as a file has it) with `dialogue` (checked and compiled), `opaque`
(messages known as bytes alone) with `opaque_check`, `session` (the gate that plays by the dialogue).

`profile_document` (the wire profile's file) with `profile_check`, `field_check` and `framing_check` (all that can be
wrong with it), `profile` (compiled) of `parts` (fields, records, elements, into `struct` and numpy dtypes), `framing`
(header, trailer, how long a frame is), `checksum` and `device_time`; `layout` (one as rows, two as differences),
`fields` (units and labels), `carried` (what a layout carries that is ours).

`codec` (one message), `ring` and `bulk` (notifications of a layout that is a table, many at once, sent and received:
framing is inseparable from finding runs of equal frames; `table`: where their parts lie, for the native turn),
`any_bulk` (of any other) with `shapes` (frames like one that was seen) and `walk` (all others, side by side), `sums`
(the checksums of many frames); `places` (where a body's values are, for whoever changes some of them).
"""
