package profile

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Security is what a member is given so that it serves its clients over TLS only, and serves only some. With TLS the members, and Consul's agents, call each
// other over TLS too, and both sides must present a certificate that CA signed. Consul's gossip is UDP, which TLS does not cover: it has a key of its own,
// which is not set here. The zero value is an open ensemble.
type Security struct {
	// Cert and Key are the PEM files that members serve with, and call each other with, for all of their addresses; CA is the authority that signed them.
	CA, Cert, Key string
	// ClientCerts: clients must present a certificate that CA signed.
	ClientCerts bool
	// ManagementToken, of Consul: nothing is allowed by default, and everything to the bearer of this token.
	ManagementToken string
}

// TLS says whether members serve TLS.
func (s Security) TLS() bool { return s.Cert != "" }

// SecuredMember is Member for an ensemble with security.
func SecuredMember(p Profile, ensemble []Server, i int, s Security) (Command, error) {
	if s.ManagementToken != "" && p.Backend != Consul {
		return Command{}, fmt.Errorf("render member %d: only Consul has tokens", i+1)
	}
	if (s.Cert == "") != (s.Key == "") || s.TLS() && s.CA == "" {
		return Command{}, fmt.Errorf("render member %d: %w", i+1, errors.New("ca, cert and key go together"))
	}
	if s == (Security{}) {
		return Member(p, ensemble, i)
	}
	switch p.Backend {
	case Etcd:
		return securedEtcd(p, ensemble, i, s)
	case ZooKeeper:
		return securedZooKeeper(p, ensemble, i, s)
	case Consul:
		return consulMember(p, ensemble, i, s)
	}
	return Member(p, ensemble, i)
}

func securedEtcd(p Profile, ensemble []Server, i int, s Security) (Command, error) {
	c, err := EtcdMember(p, ensemble, i)
	if err != nil {
		return c, err
	}
	for j, arg := range c.Args {
		c.Args[j] = strings.ReplaceAll(arg, "http://", "https://")
	}
	c.Args = append(c.Args, "--cert-file="+s.Cert, "--key-file="+s.Key,
		"--peer-cert-file="+s.Cert, "--peer-key-file="+s.Key, "--peer-trusted-ca-file="+s.CA, "--peer-client-cert-auth")
	if s.ClientCerts {
		c.Args = append(c.Args, "--client-cert-auth", "--trusted-ca-file="+s.CA)
	}
	return c, nil
}

// securedZooKeeper has no plain client port at all. TLS towards clients needs the Netty connection factory; PEM key stores, in which the key and its certificate
// are one file, need ZooKeeper 3.7. Among members both sides are verified by default, and whoever is called must be named by its certificate.
func securedZooKeeper(p Profile, ensemble []Server, i int, s Security) (Command, error) {
	c, err := ZooKeeperMember(p, ensemble, i)
	if err != nil {
		return c, err
	}
	var both []byte
	for _, file := range []string{s.Key, s.Cert} {
		pem, err := os.ReadFile(file)
		if err != nil {
			return c, fmt.Errorf("render ZooKeeper member %d: %w", i+1, err)
		}
		both = append(both, pem...)
	}
	auth := "none"
	if s.ClientCerts {
		auth = "need"
	}
	dir := ensemble[i].Dir
	config := strings.NewReplacer("clientPort=", "secureClientPort=", "clientPortAddress=", "secureClientPortAddress=").Replace(c.Files[0].Data)
	c.Files[0].Data = config + strings.Join([]string{
		"serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
		"ssl.keyStore.location=" + dir + "/member.pem", "ssl.keyStore.type=PEM",
		"ssl.trustStore.location=" + s.CA, "ssl.trustStore.type=PEM",
		"ssl.clientAuth=" + auth,
		"sslQuorum=true",
		"ssl.quorum.keyStore.location=" + dir + "/member.pem", "ssl.quorum.keyStore.type=PEM",
		"ssl.quorum.trustStore.location=" + s.CA, "ssl.quorum.trustStore.type=PEM",
	}, "\n") + "\n"
	c.Files = append(c.Files, File{Name: "member.pem", Data: string(both)})
	return c, nil
}

// secureConsul adds to a server's or agent's configuration.
func secureConsul(config map[string]any, self Server, s Security) {
	if s.TLS() {
		ports := config["ports"].(map[string]any)
		ports["http"], ports["https"] = -1, self.Client
		files := func(verifyIncoming bool) map[string]any {
			return map[string]any{"ca_file": s.CA, "cert_file": s.Cert, "key_file": s.Key, "verify_incoming": verifyIncoming}
		}
		internal := files(true)
		internal["verify_outgoing"] = true
		config["tls"] = map[string]any{"https": files(s.ClientCerts), "internal_rpc": internal}
	}
	if s.ManagementToken != "" {
		config["acl"] = map[string]any{
			"enabled": true, "default_policy": "deny",
			"tokens": map[string]any{"initial_management": s.ManagementToken, "agent": s.ManagementToken},
		}
	}
}
