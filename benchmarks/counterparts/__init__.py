"""A WLC and an MSE with planted behaviour: the independent truth against which loadgen is calibrated.

Nothing of the package `loadgen` is used here, only the standard library, `cryptography` for certificates, and the bytes
as docs/wire-profile.md describes them. What a counterpart really did is the last line that it prints.
"""
