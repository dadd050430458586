// Lets upstream.go declare functions without a body.
