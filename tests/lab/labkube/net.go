package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// ports prints free TCP ports of the loopback address, all different.
func ports(args []string) error {
	count := 1
	if len(args) > 0 {
		var err error
		if count, err = strconv.Atoi(args[0]); err != nil {
			return err
		}
	}
	for range count {
		// Every listener stays open until the end, so that no port comes twice.
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		fmt.Println(l.Addr().(*net.TCPAddr).Port)
	}
	return nil
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
