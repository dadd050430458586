package server

import (
	"io"
	"net"
)

// passingEnds makes of two connections a pair of which each tells the other when it has ended, so that a peer that waits
// for the end of the data gets it while its own direction stays open.
func passingEnds(stream io.ReadWriteCloser, connection net.Conn) (io.ReadWriter, io.ReadWriter) {
	closeWrite := connection.Close
	if half, ok := connection.(interface{ CloseWrite() error }); ok {
		closeWrite = half.CloseWrite
	}
	// Closing a stream ends its writing side only.
	return endTeller{stream, closeWrite}, endTeller{connection, stream.Close}
}

type endTeller struct {
	io.ReadWriter
	tell func() error
}

func (e endTeller) Read(p []byte) (int, error) {
	n, err := e.ReadWriter.Read(p)
	if err != nil {
		_ = e.tell()
	}
	return n, err
}
