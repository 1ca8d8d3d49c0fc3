"""From captured streams to a layout: what frames look like, proposed with evidence.

- `frames`: what all steps work on: frames, cut out of streams.
- `framing`, `cutting`: where a length lies and what it counts; frames cut out by it, also behind holes.
- `heads`, `columns`, `header`: frames' beginnings as a table, and the fields of the header. `numbering`, `clocks`,
  `checksums`, `orders`: of it, what numbers frames, device times, sums, and the byte order as bodies tell it.
  `leftovers`: what remains: flags, numbers of sessions, the unknown.
  `telling`, `transactions`, `senders`, `walks`: which columns tell messages apart; what is no transaction; the address
  of who speaks; where bodies begin that are elements. `lengths`, `opaque`: what goes with a frame's size, and bytes of
  which every bit is by chance.
- `kinds`: which message is which.
- `inference`: the whole way, from streams to a layout.
- `bodies`: what is in the body of a message: fields, records, elements, from all bodies of its kind.
- `addresses`: MAC addresses of a whole capture, before any field is known.
- `samples`, `costs`, `tiling`, `roles`: of it, tables of rows; what a reading of columns costs in bits; the cheapest
  tiling of columns by fields; what a field is for. `widths`, `masks`: what only all fields of a capture, or three
  messages together, tell: how wide numbers beside zeros are, and where masks of subservices lie.
- `shapes`, `shaping`, `alike`, `pricing`, `choosing`: where a body's parts begin and end; which shapes fit all bodies;
  records of which there are always as many; what each costs; which is taken. `texts`, `lists`, `constants`: shapes that
  a few bodies of one length tell; what runs of bytes that never change are made of. `text_chains`: records that are
  found by the text that each has. `few_elements`: elements in a few bodies.
- `work`: how much may be looked at before a body is left alone; `across`: whether what some sessions show holds for
  others.
- `layout_document`: a layout as data, the shape "layout-1"; `layout_reading` and `layout_writing`: frames by it.
- `from_profile`, `to_profile` (with `to_profile_bodies`, `elements_in_place`): a layout from a wire profile, and one
  from a layout; `naming`: which fields of NMSP a role can be; `profile_text`: its file, with guesses as comments.
- `completing`: what a profile needs beside a layout, read from frames; `hinting`: what the operator knows.
"""
