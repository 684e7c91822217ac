//! The HTTP face of the server: routes, status codes, forwarding, TLS.
