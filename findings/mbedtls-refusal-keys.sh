#!/usr/bin/env bash
# Mbed TLS 4.1.0 (as the wheel of nng-ssl 0.2.0 carries it): a TLS 1.3 server that asks for a certificate and does not take it
# has sent its Finished by then, after which records are under the keys of application data (RFC 8446, 4.4.4). Its alert is
# under those of the handshake. So a client on OpenSSL reads "decryption failed or bad record mac", and not that it was
# refused. With TLS 1.2 the same server's alert arrives: unknown_ca. Upstream knows it as issue 10877.
set -euo pipefail

for tool in cc openssl; do
  command -v "$tool" > /dev/null || { echo "$tool is not there"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --quiet --disable-pip-version-check nng-ssl==0.2.0
flags=$("$work/venv/bin/python" - <<'END'
from importlib.metadata import files
from pathlib import Path

folders = {file.name: Path(file.locate()).resolve().parent for file in files("nng-ssl")}
print(f"-I{folders['net_sockets.h'].parent} -L{folders['libmbedtls.a']} -lmbedtls -lmbedx509 -ltfpsacrypto")
END
)
cd "$work"
for name in server client; do
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$name.key" -out "$name.crt" -subj "/CN=$name" -days 1 2> /dev/null
done

cat > server.c <<'END'
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <psa/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>

/* Takes one connection; on stdout the version of the library and its port. Trusts nobody but itself. */
int main(int count, char **words) {
    int old = count > 1 && !strcmp(words[1], "1.2");
    mbedtls_ssl_protocol_version version = old ? MBEDTLS_SSL_VERSION_TLS1_2 : MBEDTLS_SSL_VERSION_TLS1_3;
    mbedtls_ssl_config config;
    mbedtls_ssl_context tunnel;
    mbedtls_x509_crt certificate;
    mbedtls_pk_context key;
    mbedtls_net_context listener, peer;
    struct sockaddr_in address;
    socklen_t size = sizeof address;

    psa_crypto_init();
    mbedtls_ssl_config_init(&config);
    mbedtls_ssl_init(&tunnel);
    mbedtls_x509_crt_init(&certificate);
    mbedtls_pk_init(&key);
    if (mbedtls_x509_crt_parse_file(&certificate, "server.crt") || mbedtls_pk_parse_keyfile(&key, "server.key", NULL)) return 1;
    mbedtls_ssl_config_defaults(&config, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
    mbedtls_ssl_conf_min_tls_version(&config, version);
    mbedtls_ssl_conf_max_tls_version(&config, version);
    mbedtls_ssl_conf_own_cert(&config, &certificate, &key);
    mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_chain(&config, &certificate, NULL);
    if (mbedtls_ssl_setup(&tunnel, &config) || mbedtls_net_bind(&listener, "127.0.0.1", "0", MBEDTLS_NET_PROTO_TCP)) return 1;
    getsockname(listener.fd, (struct sockaddr *)&address, &size);
    printf("%s %d\n", MBEDTLS_VERSION_STRING_FULL, ntohs(address.sin_port));
    fflush(stdout);
    if (mbedtls_net_accept(&listener, &peer, NULL, 0, NULL)) return 1;
    mbedtls_ssl_set_bio(&tunnel, &peer, mbedtls_net_send, mbedtls_net_recv, NULL);
    int result = mbedtls_ssl_handshake(&tunnel);
    mbedtls_net_free(&peer);
    return result != MBEDTLS_ERR_X509_CERT_VERIFY_FAILED;
}
END
# shellcheck disable=SC2086
cc -include mbedtls/version.h -o server server.c $flags

said() {
  mkfifo "port.$1"
  timeout 30 ./server "$1" > "port.$1" &
  read -r name number version port < "port.$1"
  echo "$name $number $version, TLS $1" >&2
  sleep 2 | timeout 20 openssl s_client -connect "127.0.0.1:$port" -cert client.crt -key client.key 2>&1 |
    sed -n 's/.*SSL routines:[^:]*:\([^:]*\):.*/\1/p' || true
  wait $! || { echo "the server did not refuse" >&2; exit 1; }
}

openssl version
old=$(said 1.2)
new=$(said 1.3)
echo "TLS 1.2, the client reads: $old"
echo "TLS 1.3, the client reads: $new"
[ "$old" = "tlsv1 alert unknown ca" ] && [ "$new" = "decryption failed or bad record mac" ] || { echo "behaviour changed"; exit 1; }
