// java TLSClient.java PORT: connects to 127.0.0.1 three times with each version of TLS, from one context, and prints a line for each:
// the version, `full` or `resumed`, and the server's greeting. A handshake is a full one if a certificate was looked at in it.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.security.cert.X509Certificate;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509ExtendedTrustManager;

final class TLSClient {
    static final class Looking extends X509ExtendedTrustManager {
        int looks;

        @Override public void checkServerTrusted(X509Certificate[] chain, String type, Socket socket) { looks++; }
        @Override public void checkServerTrusted(X509Certificate[] chain, String type, SSLEngine engine) { looks++; }
        @Override public void checkServerTrusted(X509Certificate[] chain, String type) { looks++; }
        @Override public void checkClientTrusted(X509Certificate[] chain, String type, Socket socket) { throw new IllegalStateException(); }
        @Override public void checkClientTrusted(X509Certificate[] chain, String type, SSLEngine engine) { throw new IllegalStateException(); }
        @Override public void checkClientTrusted(X509Certificate[] chain, String type) { throw new IllegalStateException(); }
        @Override public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
    }

    public static void main(String[] words) throws Exception {
        int port = Integer.parseInt(words[0]);
        for (String version : new String[] {"TLSv1.2", "TLSv1.3"}) {
            Looking looking = new Looking();
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(null, new TrustManager[] {looking}, null);
            for (int number = 0; number < 3; number++) {
                int before = looking.looks;
                try (SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket("127.0.0.1", port)) {
                    socket.setSoTimeout(20_000);
                    socket.setEnabledProtocols(new String[] {version});
                    socket.startHandshake();
                    BufferedReader reader = new BufferedReader(new InputStreamReader(socket.getInputStream(), StandardCharsets.US_ASCII));
                    String greeting = reader.readLine();
                    socket.getOutputStream().write("QUIT\r\n".getBytes(StandardCharsets.US_ASCII));
                    String farewell = reader.readLine();
                    if (!farewell.startsWith("221 ") || reader.readLine() != null) throw new IllegalStateException(farewell);
                    System.out.println(socket.getSession().getProtocol() + (looking.looks > before ? " full " : " resumed ") + greeting);
                }
            }
        }
    }
}
