package target

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	headLimit = 16 << 10 // of a request's header
	headWait  = 10 * time.Second
	dialWait  = 5 * time.Second
)

// sorter accepts the connections between members of an embedded ensemble and sends each over the link of the two. A member always dials from the same address as all
// others, and says in the header of its first request where it is reached itself.
type sorter struct {
	listener net.Listener
	target   string            // the member
	links    map[string]string // by URL of who dials: the address of the link
	ctx      context.Context   // ends with Close
	cancel   context.CancelFunc
	running  sync.WaitGroup
}

func newSorter(listen, target string, links map[string]string) (*sorter, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("proxy of a member's peers: %w", err)
	}
	s := &sorter{listener: l, target: target, links: links}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.running.Go(s.accept)
	return s, nil
}

func (s *sorter) Close() error {
	s.cancel()
	err := s.listener.Close()
	s.running.Wait()
	return err
}

func (s *sorter) accept() {
	for {
		c, err := s.listener.Accept()
		switch {
		case s.ctx.Err() != nil:
			return
		case err != nil: // as too many open files, which lasts for a moment
			time.Sleep(5 * time.Millisecond)
		default:
			s.running.Go(func() { s.serve(c.(*net.TCPConn)) })
		}
	}
}

func (s *sorter) serve(client *net.TCPConn) {
	defer reset(client)
	defer context.AfterFunc(s.ctx, func() { reset(client) })()
	head, err := readHead(client)
	if err != nil {
		return
	}
	to := s.target // who does not say where it is reached is no member: it asks for the membership, or looks whether the port is open
	if at, ok := s.links[origin(head)]; ok {
		to = at
	}
	ctx, cancel := context.WithTimeout(s.ctx, dialWait)
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
	cancel()
	if err != nil {
		return
	}
	server := conn.(*net.TCPConn)
	defer reset(server)
	defer context.AfterFunc(s.ctx, func() { reset(server) })()
	if _, err := server.Write(head); err != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { pass(server, client) })
	both.Go(func() { pass(client, server) })
	both.Wait()
}

// pass copies until the end, which it passes on; a connection that broke breaks the other.
func pass(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		reset(to)
		reset(from)
		return
	}
	_ = to.CloseWrite()
}

func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// readHead reads up to the end of the first request's header, and perhaps further.
func readHead(c net.Conn) ([]byte, error) {
	if err := c.SetReadDeadline(time.Now().Add(headWait)); err != nil {
		return nil, err
	}
	head := make([]byte, 0, 4<<10)
	buf := make([]byte, 4<<10)
	for !bytes.Contains(head, []byte("\r\n\r\n")) {
		n, err := c.Read(buf)
		head = append(head, buf[:n]...)
		if err != nil {
			return nil, err
		}
		if len(head) > headLimit {
			return nil, fmt.Errorf("the header has more than %d bytes", headLimit)
		}
	}
	return head, c.SetReadDeadline(time.Time{})
}

// origin is the first URL at which who sent the request says to be reached; empty if it does not.
func origin(head []byte) string {
	header, _, _ := bytes.Cut(head, []byte("\r\n\r\n"))
	for line := range bytes.SplitSeq(header, []byte("\r\n")) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(key, []byte("X-PeerURLs")) {
			url, _, _ := bytes.Cut(bytes.TrimSpace(value), []byte(","))
			return string(url)
		}
	}
	return ""
}
