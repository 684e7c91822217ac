package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The range of ports for servers of tests: below the kernel's own, from which outgoing connections take theirs, and
// below Kubernetes' node ports.
const firstPort, endPort = 10000, 30000

// ports prints TCP ports of the loopback address on which nobody listens, all different, and different from those of
// other programs that count in the same file, as tests/support/ports.rs does.
func ports(args []string) error {
	count := 1
	if len(args) > 0 {
		var err error
		if count, err = strconv.Atoi(args[0]); err != nil {
			return err
		}
	}
	path := filepath.Join(os.TempDir(), fmt.Sprintf("holdfast-ports-%d", os.Getuid()))
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	next, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || next < firstPort || next >= endPort {
		next = firstPort
	}
	for tried := 0; count > 0; tried++ {
		if tried == endPort-firstPort {
			return fmt.Errorf("no free port from %d to %d", firstPort, endPort-1)
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", next)); err == nil {
			l.Close()
			fmt.Println(next)
			count--
		}
		if next++; next == endPort {
			next = firstPort
		}
	}
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err = file.WriteAt([]byte(strconv.Itoa(next)), 0)
	return err
}

// forward listens here and connects from within another network namespace:
// forward LISTEN NAMESPACE-FILE ADDRESS.
func forward(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("usage: labkube forward LISTEN NAMESPACE ADDRESS")
	}
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println("ready", l.Addr())
	for {
		client, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer client.Close()
			server, err := dialFrom(args[1], args[2])
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return
			}
			defer server.Close()
			go pipe(server, client)
			pipe(client, server)
		}()
	}
}

// pipe copies until the sender is done and then says so to the receiver.
func pipe(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.(*net.TCPConn).CloseWrite()
}

// dialFrom connects from a thread that has moved to the namespace. The thread
// is not unlocked, so it ends with the goroutine and serves nobody else.
func dialFrom(namespace, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		f, err := os.Open(namespace)
		if err != nil {
			done <- result{nil, err}
			return
		}
		defer f.Close()
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{nil, err}
			return
		}
		conn, err := net.Dial("tcp", address)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}
