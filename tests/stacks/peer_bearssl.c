// An MSE or a WLC of BearSSL's: shakes hands, says how that went, and leaves.
//   peer client|server KEY CERTIFICATE VERSION any|none [PORT]       both in DER
// It has no verdict that depends on a list: a WLC that trusts nobody knows no authority.
#include <bearssl.h>

#include "peer_socket.h"

static unsigned char io[BR_SSL_BUFSIZE_BIDI];
static br_x509_minimal_context strict;
static br_x509_decoder_context decoder;
static unsigned char certificate_der[8192], key_der[8192];
static br_skey_decoder_context key_decoder;
static br_x500_name no_name = {(unsigned char[]){0x30, 0}, 2};

// What takes any certificate, as br_x509_minimal takes those that it knows.
typedef struct {
    const br_x509_class *vtable;
    int first;
} Anybody;

static void start_chain(const br_x509_class **self, const char *name) {
    (void)name;
    ((Anybody *)self)->first = 1;
}
static void start_certificate(const br_x509_class **self, uint32_t length) {
    (void)length;
    if (((Anybody *)self)->first) br_x509_decoder_init(&decoder, NULL, NULL);
}
static void append(const br_x509_class **self, const unsigned char *data, size_t length) {
    if (((Anybody *)self)->first) br_x509_decoder_push(&decoder, data, length);
}
static void end_certificate(const br_x509_class **self) { ((Anybody *)self)->first = 0; }
static unsigned end_chain(const br_x509_class **self) {
    (void)self;
    return 0;
}
static const br_x509_pkey *public_key(const br_x509_class *const *self, unsigned *usages) {
    (void)self;
    if (usages) *usages = BR_KEYTYPE_KEYX | BR_KEYTYPE_SIGN;
    return br_x509_decoder_get_pkey(&decoder);
}
static const br_x509_class anybody = {sizeof(Anybody), start_chain,     start_certificate, append,
                                      end_certificate, end_chain,       public_key};

static int low_read(void *fd, unsigned char *data, size_t size) {
    ssize_t got = read(*(int *)fd, data, size);
    return got > 0 ? (int)got : -1;
}
static int low_write(void *fd, const unsigned char *data, size_t size) {
    ssize_t put = send(*(int *)fd, data, size, MSG_NOSIGNAL);
    return put > 0 ? (int)put : -1;
}

static size_t whole(const char *path, unsigned char *data) {
    FILE *file = fopen(path, "rb");
    size_t size = fread(data, 1, 8192, file);
    fclose(file);
    return size;
}

int main(int count, char **arguments) {
    (void)count;
    int serves = !strcmp(arguments[1], "server"), trusts = !strcmp(arguments[5], "any");
    unsigned version = BR_TLS10 + (unsigned)(arguments[4][2] - '0');
    br_skey_decoder_init(&key_decoder);
    br_skey_decoder_push(&key_decoder, key_der, whole(arguments[2], key_der));
    br_x509_certificate chain = {certificate_der, whole(arguments[3], certificate_der)};
    const br_rsa_private_key *key = br_skey_decoder_get_rsa(&key_decoder);
    br_ssl_client_context client;
    br_ssl_server_context server;
    br_ssl_engine_context *engine = serves ? &server.eng : &client.eng;
    Anybody judge = {&anybody, 0};
    if (serves) {
        br_ssl_server_init_full_rsa(&server, &chain, 1, key);
        // It asks for a certificate if there is any name that it could be from.
        br_ssl_server_set_trust_anchor_names(&server, &no_name, 1);
        br_x509_minimal_init_full(&strict, NULL, 0);
        br_ssl_engine_set_default_rsavrfy(engine);
    } else {
        br_ssl_client_init_full(&client, &strict, NULL, 0);
        br_ssl_client_set_single_rsa(&client, &chain, 1, key, br_rsa_pkcs1_sign_get_default());
    }
    br_ssl_engine_set_x509(engine, trusts ? &judge.vtable : &strict.vtable);
    br_ssl_engine_set_versions(engine, version, version);
    br_ssl_engine_set_buffer(engine, io, sizeof io, 1);
    int connection = serves ? accepted() : dialled(arguments[6]);
    if (serves)
        br_ssl_server_reset(&server);
    else
        br_ssl_client_reset(&client, NULL, 0);
    br_sslio_context stream;
    br_sslio_init(&stream, engine, low_read, &connection, low_write, &connection);
    br_sslio_flush(&stream);
    patience(connection);
    char byte;
    int got = br_sslio_read(&stream, &byte, 1);
    // Alerts that came are from 256 on.
    printf("%d, error %d\n", got, br_ssl_engine_last_error(engine));
    close(connection);
}
