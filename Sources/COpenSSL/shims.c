/* The macros of OpenSSL as functions. */
#include "COpenSSL.h"
#include <openssl/core_names.h>

int copenssl_set_server_name(SSL *ssl, const char *name) { return (int)SSL_set_tlsext_host_name(ssl, name); }

int copenssl_set_versions(SSL_CTX *context, int least, int most)
{
    return SSL_CTX_set_min_proto_version(context, least) == 1 && SSL_CTX_set_max_proto_version(context, most) == 1;
}

/* What was written in part may be offered again from another place in memory. */
void copenssl_set_write_modes(SSL_CTX *context)
{
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
}

EVP_PKEY *copenssl_make_rsa(unsigned int bits) { return EVP_RSA_gen(bits); }

static int no_password(char *buffer, int size, int writing, void *data)
{
    (void)buffer, (void)size, (void)writing, (void)data;
    return -1;
}

EVP_PKEY *copenssl_read_key(const void *pem, int length)
{
    BIO *memory = BIO_new_mem_buf(pem, length);
    if (memory == NULL) return NULL;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(memory, NULL, no_password, NULL);
    BIO_free(memory);
    return key;
}

int copenssl_set_groups(SSL_CTX *context, const char *names) { return (int)SSL_CTX_set1_groups_list(context, names); }

int copenssl_set_signatures(SSL_CTX *context, const char *names) { return (int)SSL_CTX_set1_sigalgs_list(context, names); }

void copenssl_set_server_modes(SSL_CTX *context)
{
    /* The order of ciphers is ours, but for a client that prefers ChaCha20, whose processor has no AES. */
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(context, 1);
}

void copenssl_set_name_callback(SSL_CTX *context, int (*callback)(SSL *, int *, void *), void *argument)
{
    SSL_CTX_set_tlsext_servername_callback(context, callback);
    SSL_CTX_set_tlsext_servername_arg(context, argument);
}

static int use_certificates(SSL_CTX *context, BIO *memory)
{
    X509 *certificate = PEM_read_bio_X509_AUX(memory, NULL, no_password, NULL);
    if (certificate == NULL) return 0;
    int result = SSL_CTX_use_certificate(context, certificate);
    X509_free(certificate);
    while (result == 1 && (certificate = PEM_read_bio_X509(memory, NULL, no_password, NULL)) != NULL) {
        if (SSL_CTX_add0_chain_cert(context, certificate) != 1) {
            X509_free(certificate);
            result = 0;
        }
    }
    if (result == 1 && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) result = 0;
    /* The end of the text. */
    if (result == 1) ERR_clear_error();
    return result;
}

int copenssl_use_chain(SSL_CTX *context, const void *pem, int length, const void *key_pem, int key_length)
{
    BIO *memory = BIO_new_mem_buf(pem, length);
    if (memory == NULL) return 0;
    int result = use_certificates(context, memory);
    BIO_free(memory);
    if (result != 1) return 0;
    EVP_PKEY *key = copenssl_read_key(key_pem, key_length);
    if (key == NULL) return 0;
    result = SSL_CTX_use_PrivateKey(context, key);
    EVP_PKEY_free(key);
    return result == 1 && SSL_CTX_check_private_key(context) == 1;
}

int copenssl_prepare_ticket(EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, const unsigned char *key, const unsigned char *iv, int sealing)
{
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(key + 32), 32),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, "SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, parameters) == 1 && EVP_CipherInit_ex2(cipher, EVP_aes_256_cbc(), key, iv, sealing, NULL) == 1;
}

int copenssl_was_cut(void)
{
    unsigned long code = ERR_peek_last_error();
    return code == 0 || (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING);
}
