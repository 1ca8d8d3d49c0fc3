// An MSE or a WLC of Go's: shakes hands, says how that went, and leaves.
//
//	peer client|server KEY CERTIFICATE VERSION any|none [PORT]
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	role, key, certificate, version, trust := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		panic(err)
	}
	number := map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
	config := &tls.Config{
		Certificates: []tls.Certificate{pair}, InsecureSkipVerify: trust == "any", ServerName: "wlc", RootCAs: x509.NewCertPool(),
		MinVersion: number[version], MaxVersion: number[version],
		ClientAuth: tls.RequireAnyClientCert, ClientCAs: x509.NewCertPool(),
	}
	if trust == "none" {
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	var connection *tls.Conn
	if role == "server" {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		fmt.Println("port", listener.Addr().(*net.TCPAddr).Port)
		accepted, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		connection = tls.Server(accepted, config)
	} else {
		dialed, err := net.Dial("tcp", "127.0.0.1:"+os.Args[6])
		if err != nil {
			panic(err)
		}
		connection = tls.Client(dialed, config)
	}
	if err := connection.Handshake(); err != nil {
		fmt.Println(err)
		return
	}
	connection.SetReadDeadline(time.Now().Add(500 * time.Millisecond)) // TLS 1.3: a refusal comes here
	_, err = connection.Read(make([]byte, 1))
	fmt.Println("up", err)
	connection.Close()
}
