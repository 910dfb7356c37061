/*
 * OpenSSL's libssl and libcrypto, with functions for what they offer as macros only.
 */
#ifndef COPENSSL_H
#define COPENSSL_H

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

int copenssl_set_server_name(SSL *ssl, const char *name);
/* MOST 0: the newest there is. */
int copenssl_set_versions(SSL_CTX *context, int least, int most);
void copenssl_set_write_modes(SSL_CTX *context);
EVP_PKEY *copenssl_make_rsa(unsigned int bits);
/* A PEM private key from memory; no password is asked for. */
EVP_PKEY *copenssl_read_key(const void *pem, int length);

/* Key agreement, in the order of our preference, names joined by colons. */
int copenssl_set_groups(SSL_CTX *context, const char *names);
int copenssl_set_signatures(SSL_CTX *context, const char *names);
/* Our order, no compression, no renegotiation; no sessions in memory; reads as much as there is, not record by record. */
void copenssl_set_server_modes(SSL_CTX *context);
/* Called with the last argument when a client has said hello. */
void copenssl_set_name_callback(SSL_CTX *context, int (*callback)(SSL *, int *, void *), void *argument);
/* A certificate in PEM, those that vouch for it, and its key from the same text or another: 1, or 0 with OpenSSL's error. */
int copenssl_use_chain(SSL_CTX *context, const void *pem, int length, const void *key_pem, int key_length);
/* Prepares both for a ticket. KEY: 32 octets for AES-256-CBC, then 32 for HMAC-SHA256. */
int copenssl_prepare_ticket(EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, const unsigned char *key, const unsigned char *iv, int sealing);
/* Whether the last error is an end of the connection without TLS's word for it. */
int copenssl_was_cut(void);

#endif
