// An MSE or a WLC of Pike's: shakes hands, says how that went, and leaves.
//   pike peer.pike client|server KEY CERTIFICATE VERSION any|none [PORT]       both in DER
import SSL.Constants;

int hear(int level, int description) {
    write("alert %d\n", description);
    return level;
}

class Context {
    inherit SSL.Context;
    //! To a server that names no issuer it shows none by itself.
    array(CertificatePair) find_cert_issuer(array(string) names) {
        return values(cert_chains_issuer)[0];
    }
}

class Client {
    inherit SSL.ClientConnection;
    int(-1..1) handle_alert(int level, int description) {
        hear(level, description);
        return ::handle_alert(level, description);
    }
}

class Server {
    inherit SSL.ServerConnection;
    int(-1..1) handle_alert(int level, int description) {
        hear(level, description);
        return ::handle_alert(level, description);
    }
}

int main(int count, array(string) arguments) {
    string role = arguments[1], trust = arguments[5];
    Context context = Context();
    context->min_version = context->max_version = PROTOCOL_TLS_1_0 + (int)(arguments[4] / ".")[1];
    Standards.ASN1.Types.Object key = Standards.ASN1.Decode.simple_der_decode(Stdio.read_file(arguments[2]));
    context->add_cert(Standards.PKCS.parse_private_key(key), ({ Stdio.read_file(arguments[3]) }), ({ "*" }));
    context->verify_certificates = context->require_trust = trust == "none";
    Stdio.File connection = Stdio.File();
    if (role == "server") {
        context->auth_level = AUTHLEVEL_require;
        Stdio.Port port = Stdio.Port(0, 0, "127.0.0.1");
        write("port %s\n", (port->query_address() / " ")[1]);
        connection = port->accept();
    } else {
        connection->connect("127.0.0.1", (int)arguments[6]);
    }
    SSL.Connection peer = role == "server" ? Server(context) : Client(context);
    int ended, up;
    while (!ended) {
        string out;
        while (stringp(out = peer->to_write()) && sizeof(out)) connection->write(out);
        if (!up && (peer->state & CONNECTION_handshaking) == 0) {
            write("up\n");
            up = 1;
        }
        // Nobody has more to say, once the handshake is over.
        if (!connection->peek(up ? 0.5 : 30.0)) break;
        string data = connection->read(4096, 1);
        ended = !data || data == "" || intp(peer->got_data(data));
    }
    string last;
    while (stringp(last = peer->to_write()) && sizeof(last)) connection->write(last);
    connection->close();
    return 0;
}
