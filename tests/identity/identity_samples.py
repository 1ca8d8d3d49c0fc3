"""Values and texts that several tests here share. The values are those of the troubleshooting document."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import settings

# For every property test here: the same examples in every run, and no verdict on how fast the machine is.
REPEATABLE = settings(derandomize=True, deadline=None)

NOW = datetime(2026, 1, 15, 12, 0, 0, tzinfo=UTC)

MAC = "00:50:56:9c:34:89"
SHA1 = "e0afbe2e2abeed5a2f9ffc75f059da6a1bf2bfa0"
SHA2 = "6ab919e20afc103d025aaf210c2a9dda151af9403ef52e80a35ae1ecb6d3c177"

# The document's password: three digits of SHA2 missing, and a blank.
BROKEN_SHA2 = "6ab919e20afc103d025aaf210c2a9dda151af9403ef52e35ae1ecb6d3c 177"

AUTH_INFO_ENGLISH = f"""\
[root@mse ~]# cmdshell

cmd> show server-auth-info
AesLog queue high mark: 50000
AesLog queue low mark: 500
----------------
Server Auth Info
----------------
MAC Address: {MAC}
SHA1 Key Hash: {SHA1}
SHA2 Key Hash: {SHA2}
Certificate Type: SSC

cmd> exit
"""

AUTH_INFO_JAPANESE = f"""\
MAC Address :{MAC}
SHA1キーハッシュ:{SHA1}
SHA2キーハッシュ\uff1a {SHA2}
証明書の種類 : SSC
"""

IOS_XE_SESSION = f"""\
3850c(config)#username 0050569c3489 aaa attribute list NMSP
3850c(config)# aaa attribute list NMSP
3850c(config)# attribute type password {SHA2}
3850c(config)# aaa authorization credential-download wcm_loc_serv_cert local
"""

IOS_XE_CONFIGURATION = f"""\
version 16.12
hostname c9800
aaa new-model
!
aaa attribute list WEB
 attribute type inacl 101
!
aaa attribute list NMSP
 attribute type password {SHA2}
!
aaa authorization credential-download wcm_loc_serv_cert local
username admin privilege 15 secret 9 $9$abcdefgh
username guest aaa attribute list WEB
username 0050569c3489 mac aaa attribute list NMSP
username 0050569c9999 mac
!
interface GigabitEthernet1
 description uplink: to the core
 no shutdown
!
end
"""
