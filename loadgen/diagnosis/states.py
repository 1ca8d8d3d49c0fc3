"""The handshake states of today's OpenSSL, and the names and numbers that a controller in the field prints for them.

The field's trace comes from OpenSSL 1.0.x, whose state machine had numbers. Today's has none. It reports a state when
that is over (a message that is written, or one that is read when the next has begun to arrive), and what it waits in by
the name of what was last. So there are two tables for each side: what a state that is over was called, and what waiting
after it was called. docs/diagnosis.md tells what has no counterpart.
"""

from __future__ import annotations

from typing import NamedTuple


class FieldState(NamedTuple):
    """A state of OpenSSL 1.0.x (ssl3.h, ssl_stat.c). `number` None: it had none like it."""

    number: int | None
    name: str


_SERVER_FLUSH = FieldState(0x2100, "SSLv3 flush data")
_CLIENT_FLUSH = FieldState(0x1100, "SSLv3 flush data")
_READ_CLIENT_HELLO = FieldState(0x2111, "SSLv3 read client hello B")
_READ_CLIENT_CERTIFICATE = FieldState(0x2180, "SSLv3 read client certificate A")
_READ_CLIENT_KEY_EXCHANGE = FieldState(0x2190, "SSLv3 read client key exchange A")
_READ_CERTIFICATE_VERIFY = FieldState(0x21A0, "SSLv3 read certificate verify A")
_SERVER_READ_FINISHED = FieldState(0x21C0, "SSLv3 read finished A")
_READ_SERVER_HELLO = FieldState(0x1120, "SSLv3 read server hello A")
_READ_SERVER_CERTIFICATE = FieldState(0x1130, "SSLv3 read server certificate A")
_READ_SERVER_KEY_EXCHANGE = FieldState(0x1140, "SSLv3 read server key exchange A")
_READ_CERTIFICATE_REQUEST = FieldState(0x1150, "SSLv3 read server certificate request A")
_READ_SERVER_DONE = FieldState(0x1160, "SSLv3 read server done A")
_CLIENT_READ_FINISHED = FieldState(0x11D0, "SSLv3 read finished A")

OK = FieldState(0x3, "SSL negotiation finished successfully")
# Where the controller of the trace stands between the auth list's answer and its own verdict. Not a state of stock
# 1.0.x, which ends at B; the trace gives the number, and a translated name.
AUTH_LIST = FieldState(0x2182, "SSLv3 read client certificate C")

# A state that is over -> the steps that the field prints for it, in this order. None of them: the field has no such
# step, its work was part of another.
OVER: dict[bool, dict[str, tuple[FieldState, ...]]] = {
    True: {
        "before SSL initialization": (FieldState(0x6000, "before/accept initialization"),),
        "SSLv3/TLS read client hello": (_READ_CLIENT_HELLO,),
        "SSLv3/TLS write server hello": (FieldState(0x2130, "SSLv3 write server hello A"),),
        "SSLv3/TLS write certificate": (FieldState(0x2140, "SSLv3 write certificate A"),),
        "SSLv3/TLS write key exchange": (FieldState(0x2150, "SSLv3 write key exchange A"),),
        "SSLv3/TLS write certificate request": (FieldState(0x2160, "SSLv3 write certificate request A"),),
        # 1.0.x wrote "server done" together with the certificate request; what is left of this state is its flush.
        "SSLv3/TLS write server done": (_SERVER_FLUSH,),
        "SSLv3/TLS read client certificate": (_READ_CLIENT_CERTIFICATE,),
        "SSLv3/TLS read client key exchange": (_READ_CLIENT_KEY_EXCHANGE,),
        "SSLv3/TLS read certificate verify": (_READ_CERTIFICATE_VERIFY,),
        "SSLv3/TLS read change cipher spec": (),  # 1.0.x read it on its way to "finished"
        "SSLv3/TLS read finished": (_SERVER_READ_FINISHED,),
        "SSLv3/TLS write session ticket": (FieldState(0x21F0, "SSLv3 write session ticket A"),),
        "SSLv3/TLS write change cipher spec": (FieldState(0x21D0, "SSLv3 write change cipher spec A"),),
        # Over when it is flushed, which was a step of its own.
        "SSLv3/TLS write finished": (FieldState(0x21E0, "SSLv3 write finished A"), _SERVER_FLUSH),
        "SSL negotiation finished successfully": (OK,),
    },
    False: {
        "before SSL initialization": (FieldState(0x5000, "before/connect initialization"),),
        "SSLv3/TLS write client hello": (FieldState(0x1110, "SSLv3 write client hello A"),),
        "SSLv3/TLS read server hello": (_READ_SERVER_HELLO,),
        "SSLv3/TLS read server certificate": (_READ_SERVER_CERTIFICATE,),
        "SSLv3/TLS read server key exchange": (_READ_SERVER_KEY_EXCHANGE,),
        "SSLv3/TLS read server certificate request": (_READ_CERTIFICATE_REQUEST,),
        "SSLv3/TLS read server done": (_READ_SERVER_DONE,),
        "SSLv3/TLS write client certificate": (FieldState(0x1170, "SSLv3 write client certificate A"),),
        "SSLv3/TLS write client key exchange": (FieldState(0x1180, "SSLv3 write client key exchange A"),),
        "SSLv3/TLS write certificate verify": (FieldState(0x1190, "SSLv3 write certificate verify A"),),
        "SSLv3/TLS write change cipher spec": (FieldState(0x11A0, "SSLv3 write change cipher spec A"),),
        "SSLv3/TLS write finished": (FieldState(0x11B0, "SSLv3 write finished A"), _CLIENT_FLUSH),
        "SSLv3/TLS read server session ticket": (FieldState(0x11E0, "SSLv3 read server session ticket A"),),
        "SSLv3/TLS read change cipher spec": (),
        "SSLv3/TLS read finished": (_CLIENT_READ_FINISHED,),
        "SSL negotiation finished successfully": (OK,),
    },
}

# The state that was over last -> what the field calls waiting, or failing, after it. Of TLS 1.2 and below.
NEXT: dict[bool, dict[str, FieldState]] = {
    True: {
        "before SSL initialization": _READ_CLIENT_HELLO,
        "SSLv3/TLS write server done": _READ_CLIENT_CERTIFICATE,
        "SSLv3/TLS read client certificate": _READ_CLIENT_KEY_EXCHANGE,
        "SSLv3/TLS read client key exchange": _READ_CERTIFICATE_VERIFY,
        "SSLv3/TLS read certificate verify": _SERVER_READ_FINISHED,
        "SSLv3/TLS read change cipher spec": _SERVER_READ_FINISHED,
        "SSL negotiation finished successfully": OK,
    },
    False: {
        "SSLv3/TLS write client hello": _READ_SERVER_HELLO,
        "SSLv3/TLS read server hello": _READ_SERVER_CERTIFICATE,
        "SSLv3/TLS read server certificate": _READ_SERVER_KEY_EXCHANGE,
        "SSLv3/TLS read server key exchange": _READ_CERTIFICATE_REQUEST,
        "SSLv3/TLS read server certificate request": _READ_SERVER_DONE,
        "SSLv3/TLS write finished": _CLIENT_READ_FINISHED,
        "SSLv3/TLS read change cipher spec": _CLIENT_READ_FINISHED,
        "SSL negotiation finished successfully": OK,
    },
}
