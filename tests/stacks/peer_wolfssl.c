// An MSE or a WLC of wolfSSL's: shakes hands, says how that went, and leaves.
//   peer client|server KEY CERTIFICATE VERSION any|none [PORT]
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/version.h>

#include "peer_socket.h"

static WOLFSSL_METHOD *method(const char *version, int serves) {
    if (!strcmp(version, "1.1")) return serves ? wolfTLSv1_1_server_method() : wolfTLSv1_1_client_method();
    if (!strcmp(version, "1.2")) return serves ? wolfTLSv1_2_server_method() : wolfTLSv1_2_client_method();
    return serves ? wolfTLSv1_3_server_method() : wolfTLSv1_3_client_method();
}

static int let_in(int ok, WOLFSSL_X509_STORE_CTX *store) {
    (void)ok, (void)store;
    return 1;
}

static int judge(int ok, WOLFSSL_X509_STORE_CTX *store) {
    (void)store;
    return ok;
}

static void tell(WOLFSSL *peer, int result) {
    WOLFSSL_ALERT_HISTORY alerts;
    wolfSSL_get_alert_history(peer, &alerts);
    char words[80];
    wolfSSL_ERR_error_string(wolfSSL_get_error(peer, result), words);
    printf("%s, alert %d\n", words, alerts.last_rx.code);
}

int main(int count, char **arguments) {
    (void)count;
    int serves = !strcmp(arguments[1], "server"), trusts = !strcmp(arguments[5], "any");
    wolfSSL_Init();
    WOLFSSL_CTX *context = wolfSSL_CTX_new(method(arguments[4], serves));
    wolfSSL_CTX_use_certificate_file(context, arguments[3], WOLFSSL_FILETYPE_PEM);
    wolfSSL_CTX_use_PrivateKey_file(context, arguments[2], WOLFSSL_FILETYPE_PEM);
    int asks = serves ? WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
    wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_PEER | asks, trusts ? let_in : judge);
    // Its RSA key exchange is not among what it has by itself.
    if (strcmp(arguments[4], "1.2") < 0) wolfSSL_CTX_set_cipher_list(context, "AES128-SHA:ECDHE-RSA-AES128-SHA");
    int connection = serves ? accepted() : dialled(arguments[6]);
    WOLFSSL *peer = wolfSSL_new(context);
    wolfSSL_set_fd(peer, connection);
    int result = serves ? wolfSSL_accept(peer) : wolfSSL_connect(peer);
    if (result == WOLFSSL_SUCCESS) {
        char byte;
        patience(connection);  // TLS 1.3: a refusal comes here
        result = wolfSSL_read(peer, &byte, 1);
        printf("up, ");
    }
    tell(peer, result);
    wolfSSL_shutdown(peer);
    close(connection);
}
