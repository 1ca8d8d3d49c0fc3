"""Who an endpoint is: keys, certificates, MAC addresses, key hashes and the auth lists of controllers.

`credentials` (made for a run, or read) with `certificates` (what stands in those made here) and `pem` (what is inside
a file), `any_certificate` (read from its own bytes), `keyhash`, `mac`, `authlist` (who is let in), `devices` (what
devices print) with `device_reader` (a whole text) and `device_lines` (one line of it).
"""
