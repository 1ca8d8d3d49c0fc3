// An MSE or a WLC of Botan's: shakes hands, says how that went, and leaves.
//   peer client|server KEY CERTIFICATE VERSION any|none [PORT]
#include <botan/auto_rng.h>
#include <botan/certstor.h>
#include <botan/credentials_manager.h>
#include <botan/data_src.h>
#include <botan/pkcs8.h>
#include <botan/tls_client.h>
#include <botan/tls_server.h>
#include <botan/x509cert.h>

#include <algorithm>
#include <iostream>
#include <memory>

#include "peer_socket.h"

namespace tls = Botan::TLS;

class Keys : public Botan::Credentials_Manager {
  public:
    Keys(const std::string& key, const std::string& certificate, bool trusts)
        : m_certificate(certificate), m_trusts(trusts) {
        Botan::DataSource_Stream source(key);
        m_key = Botan::PKCS8::load_key(source);
    }
    std::vector<Botan::Certificate_Store*> trusted_certificate_authorities(const std::string&,
                                                                           const std::string&) override {
        return {&m_nobody};
    }
    std::vector<Botan::X509_Certificate> cert_chain(const std::vector<std::string>& types, const std::string&,
                                                    const std::string&) override {
        bool fits = std::find(types.begin(), types.end(), m_key->algo_name()) != types.end();
        return fits ? std::vector<Botan::X509_Certificate>{m_certificate} : std::vector<Botan::X509_Certificate>{};
    }
    Botan::Private_Key* private_key_for(const Botan::X509_Certificate&, const std::string&,
                                        const std::string&) override {
        return m_key.get();
    }
    bool trusts() const { return m_trusts; }

  private:
    Botan::X509_Certificate m_certificate;
    std::unique_ptr<Botan::Private_Key> m_key;
    Botan::Certificate_Store_In_Memory m_nobody;
    bool m_trusts;
};

class Only : public tls::Policy {
  public:
    explicit Only(const std::string& version) : m_version(version) {}
    bool allow_tls10() const override { return m_version == "1.0"; }
    bool allow_tls11() const override { return m_version == "1.1"; }
    bool allow_tls12() const override { return m_version == "1.2"; }
    bool require_client_certificate_authentication() const override { return true; }
    // CBC, static RSA and SHA-1 are not among what it has by itself.
    std::vector<std::string> allowed_ciphers() const override { return {"AES-128/GCM", "AES-256/GCM", "AES-128"}; }
    std::vector<std::string> allowed_key_exchange_methods() const override { return {"ECDH", "DH", "RSA"}; }
    std::vector<std::string> allowed_signature_methods() const override { return {"ECDSA", "RSA", "IMPLICIT"}; }
    std::vector<std::string> allowed_macs() const override { return {"AEAD", "SHA-256", "SHA-1"}; }
    std::vector<std::string> allowed_signature_hashes() const override { return {"SHA-512", "SHA-256", "SHA-1"}; }
    tls::Protocol_Version version() const { return latest_supported_version(false); }

  private:
    std::string m_version;
};

class Talk : public tls::Callbacks {
  public:
    Talk(int connection, const Keys& keys) : m_connection(connection), m_keys(keys) {}
    void tls_emit_data(const uint8_t data[], size_t size) override {
        while (size > 0) {
            ssize_t sent = send(m_connection, data, size, MSG_NOSIGNAL);
            if (sent <= 0) throw std::runtime_error("the connection has ended while it wrote");
            data += sent, size -= static_cast<size_t>(sent);
        }
    }
    void tls_record_received(uint64_t, const uint8_t[], size_t) override {}
    void tls_alert(tls::Alert alert) override {
        std::cout << "alert " << static_cast<int>(alert.type()) << " " << alert.type_string() << std::endl;
    }
    bool tls_session_established(const tls::Session&) override { return false; }
    void tls_session_activated() override {
        std::cout << "up" << std::endl;
        patience(m_connection);
    }
    void tls_verify_cert_chain(const std::vector<Botan::X509_Certificate>& chain,
                               const std::vector<std::shared_ptr<const Botan::OCSP::Response>>& answers,
                               const std::vector<Botan::Certificate_Store*>& roots, Botan::Usage_Type usage,
                               const std::string& host, const tls::Policy& policy) override {
        if (!m_keys.trusts()) tls::Callbacks::tls_verify_cert_chain(chain, answers, roots, usage, host, policy);
    }

  private:
    int m_connection;
    const Keys& m_keys;
};

int main(int, char** arguments) {
    Botan::AutoSeeded_RNG rng;
    tls::Session_Manager_Noop sessions;
    bool serves = std::string(arguments[1]) == "server";
    Keys keys(arguments[2], arguments[3], std::string(arguments[5]) == "any");
    Only policy(arguments[4]);
    int connection = serves ? accepted() : dialled(arguments[6]);
    Talk talk(connection, keys);
    std::unique_ptr<tls::Channel> peer;
    try {
        if (serves)
            peer.reset(new tls::Server(talk, sessions, keys, policy, rng));
        else
            peer.reset(new tls::Client(talk, sessions, keys, policy, rng, tls::Server_Information(), policy.version()));
        uint8_t data[4096];
        ssize_t got;
        while (!peer->is_closed() && (got = read(connection, data, sizeof data)) > 0)
            peer->received_data(data, static_cast<size_t>(got));
        if (peer->is_active()) peer->close();
    } catch (const std::exception& fault) {
        std::cout << fault.what() << std::endl;
    }
    close(connection);
}
