// An MSE or a WLC of Mbed TLS 4's: shakes hands, says how that went, and leaves.
//   peer client|server KEY CERTIFICATE VERSION any|none [PORT]
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>
#include <psa/crypto.h>

#include "peer_socket.h"

static int let_in(void *nothing, mbedtls_x509_crt *certificate, int depth, uint32_t *flags) {
    (void)nothing, (void)certificate, (void)depth;
    *flags = 0;
    return 0;
}

int main(int count, char **arguments) {
    (void)count;
    int serves = !strcmp(arguments[1], "server"), trusts = !strcmp(arguments[5], "any");
    mbedtls_ssl_protocol_version version =
        !strcmp(arguments[4], "1.3") ? MBEDTLS_SSL_VERSION_TLS1_3 : MBEDTLS_SSL_VERSION_TLS1_2;
    mbedtls_ssl_config config;
    mbedtls_ssl_context peer;
    mbedtls_x509_crt certificate;
    mbedtls_pk_context key;
    psa_crypto_init();
    mbedtls_ssl_config_init(&config);
    mbedtls_ssl_init(&peer);
    mbedtls_x509_crt_init(&certificate);
    mbedtls_pk_init(&key);
    mbedtls_x509_crt_parse_file(&certificate, arguments[3]);
    mbedtls_pk_parse_keyfile(&key, arguments[2], NULL);
    mbedtls_ssl_config_defaults(&config, serves ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT,
                                MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
    mbedtls_ssl_conf_min_tls_version(&config, version);
    mbedtls_ssl_conf_max_tls_version(&config, version);
    mbedtls_ssl_conf_own_cert(&config, &certificate, &key);
    mbedtls_ssl_conf_authmode(&config, MBEDTLS_SSL_VERIFY_REQUIRED);
    // Somebody has to be known, or it does not look at a certificate at all.
    mbedtls_ssl_conf_ca_chain(&config, &certificate, NULL);
    if (trusts) mbedtls_ssl_conf_verify(&config, let_in, NULL);
    mbedtls_ssl_setup(&peer, &config);
    if (!serves) mbedtls_ssl_set_hostname(&peer, NULL);
    mbedtls_net_context connection = {serves ? accepted() : dialled(arguments[6])};
    mbedtls_ssl_set_bio(&peer, &connection, mbedtls_net_send, mbedtls_net_recv, NULL);
    int result = mbedtls_ssl_handshake(&peer);
    if (!result) {
        unsigned char byte;
        patience(connection.fd);  // TLS 1.3: a refusal comes here
        do
            result = mbedtls_ssl_read(&peer, &byte, 1);
        while (result == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET);
        printf("up, ");
    }
    printf("-0x%04x, alert %d\n", -(unsigned)result, peer.MBEDTLS_PRIVATE(in_fatal_alert_type));
    mbedtls_ssl_close_notify(&peer);
    mbedtls_net_free(&connection);
}
