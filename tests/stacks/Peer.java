// An MSE or a WLC of JSSE's: shakes hands, says how that went, and leaves.
//   java [-Dproviders=CLASS,...] Peer client|server KEYSTORE VERSION any|none [PORT]
import java.io.FileInputStream;
import java.net.InetAddress;
import java.security.KeyStore;
import java.security.Provider;
import java.security.Security;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import javax.net.ssl.*;

public class Peer {
    public static void main(String[] arguments) throws Exception {
        Security.setProperty("jdk.tls.disabledAlgorithms", ""); // TLS 1.0 and 1.1 are among them
        for (String provider : System.getProperty("providers", "").split(",")) { // before the JDK's own
            if (!provider.isEmpty())
                Security.insertProviderAt((Provider) Class.forName(provider).getConstructor().newInstance(), 1);
        }
        char[] password = "secret".toCharArray();
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(new FileInputStream(arguments[1]), password);
        KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
        keys.init(store, password);
        boolean trusts = arguments[3].equals("any");
        X509TrustManager judge = new X509TrustManager() {
            void check() throws CertificateException {
                if (!trusts) throw new CertificateException("nobody is listed");
            }
            public void checkClientTrusted(X509Certificate[] c, String s) throws CertificateException { check(); }
            public void checkServerTrusted(X509Certificate[] c, String s) throws CertificateException { check(); }
            public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
        };
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), new TrustManager[] {judge}, null);
        String[] versions = arguments[2].split(",");
        SSLSocket socket;
        if (arguments[0].equals("server")) {
            InetAddress host = InetAddress.getByName("127.0.0.1");
            SSLServerSocket listener = (SSLServerSocket) context.getServerSocketFactory().createServerSocket(0, 5, host);
            listener.setNeedClientAuth(true);
            listener.setEnabledProtocols(versions);
            System.out.println(listener.getLocalPort());
            socket = (SSLSocket) listener.accept();
        } else {
            socket = (SSLSocket) context.getSocketFactory().createSocket("127.0.0.1", Integer.parseInt(arguments[4]));
            socket.setEnabledProtocols(versions);
        }
        try {
            socket.startHandshake();
            socket.setSoTimeout(500);
            try {
                socket.getInputStream().read(); // TLS 1.3: a refusal comes here
            } catch (java.net.SocketTimeoutException nothing) {
            }
            System.out.println("up");
        } catch (java.io.IOException e) {
            System.out.println(e);
        }
        socket.close();
    }
}
