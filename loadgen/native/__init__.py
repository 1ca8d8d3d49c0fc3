"""The native turn: what is done for every message of links that are up, in C, in one call for all that are ready, and
without the interpreter's lock. Whatever is unusual is handed back where it stands in its stream, and done in Python,
which can do all of it: the library may be missing ([docs/native.md](../../docs/native.md)).

    native.h   what both sides know: structs, functions, and what each may touch
    receive.c  waiting for links, reading them, taking notifications out of what they brought
    send.c     visiting WLCs that owe something, stamping frames, writing them
    columns.c  durations, counted by bucket
    common.h   what all have
    `columns`  its functions of columns, as functions of numpy's
    `tally`    what it counts of one stage as it comes, in memory of Python's
    `library`  the library as it was built at install, or why there is none

Knows neither NMSP (where fields lie it is told, as a table) nor OpenSSL (whose functions it is given as pointers).
"""
